"""Upload protocol `multipart`: the DICOM file is one part of a form (multipart/form-data, RFC 7578).

Owns the request. It must not know what an answer means (acceptance). Errors that leave it: see `upload`.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence

from moichord.apis.bodies import BytesBody, ChainedBody
from moichord.apis.http import Client
from moichord.apis.upload import Instance, Parcel, Stored
from moichord.apis.upload.acceptance import Acceptance

# What would end a quoted name, written as browsers do: HTML, "multipart/form-data encoding algorithm".
_QUOTED = {'"': "%22", "\r": "%0D", "\n": "%0A"}


def new_boundary() -> str:
    """A boundary (RFC 2046 5.1.1) of 160 random bits: no image holds it, so that none has to be searched for it."""
    return f"moichord-{secrets.token_hex(20)}"


class MultipartUpload:
    """An `Uploader`: one form per image, its fields first."""

    takes_whole_samples = False

    def __init__(
        self,
        client: Client,
        acceptance: Acceptance,
        *,
        file_field: str,
        make_boundary: Callable[[], str] = new_boundary,
    ) -> None:
        self._client = client
        self._acceptance = acceptance
        self._file_field = file_field
        self._make_boundary = make_boundary

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        (instance,) = parcel.instances
        boundary = self._make_boundary()
        described = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Idempotency-Key": parcel.idempotency_key,
        }
        form = form_data(instance, self._file_field, parcel.fields, boundary)
        answer = self._client.send(form, {**described, **parcel.headers})
        return self._acceptance.judge(answer, parcel, now=self._client.clock.now())


def form_data(instance: Instance, file_field: str, fields: Mapping[str, str], boundary: str) -> ChainedBody:
    """The form as a body: `fields` as texts in UTF-8, then the image as a file (RFC 7578 section 4)."""
    texts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head = (
        f"{texts}--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{_quoted(file_field)}"; filename="{_quoted(instance.file_name)}"\r\n'
        "Content-Type: application/dicom\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return ChainedBody((BytesBody(head.encode()), instance.body, BytesBody(tail.encode())))


def _quoted(name: str) -> str:
    return re.sub('["\r\n]', lambda found: _QUOTED[found[0]], name)
