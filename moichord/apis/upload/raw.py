"""Upload protocol `raw`: the DICOM file is the request's body (Orthanc's POST /instances, or any plain endpoint).

Owns the request. It must not know what an answer means (acceptance). Errors that leave it: see `upload`.
"""

from collections.abc import Mapping

from moichord.apis.bodies import Body, Progress
from moichord.apis.http import Client
from moichord.apis.upload import Stored
from moichord.apis.upload.acceptance import Acceptance


class RawUpload:
    """An `Uploader`: one request per image, nothing around the bytes."""

    def __init__(self, client: Client, acceptance: Acceptance, *, content_type: str) -> None:
        self._client = client
        self._acceptance = acceptance
        self._content_type = content_type

    def send(
        self,
        body: Body,
        idempotency_key: str,
        *,
        maybe_stored: bool,
        accept_already_stored: bool,
        file_name: str,  # noqa: ARG002  # the bytes travel without a name
        progress: Progress | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        described = {"Content-Type": self._content_type, "Idempotency-Key": idempotency_key}
        answer = self._client.send(body, {**described, **(headers or {})}, progress=progress)
        return self._acceptance.judge(
            answer,
            now=self._client.clock.now(),
            maybe_stored=maybe_stored,
            accept_already_stored=accept_already_stored,
        )
