"""Upload protocol `raw`: the DICOM file is the request's body (Orthanc's POST /instances, or any plain endpoint).

Owns the request. It must not know what an answer means (acceptance). Errors that leave it: see `upload`.
"""

from collections.abc import Sequence

from moichord.apis.http import Client
from moichord.apis.upload import Parcel, Stored
from moichord.apis.upload.acceptance import Acceptance


class RawUpload:
    """An `Uploader`: one request per image, nothing around the bytes."""

    takes_whole_samples = False

    def __init__(self, client: Client, acceptance: Acceptance, *, content_type: str) -> None:
        self._client = client
        self._acceptance = acceptance
        self._content_type = content_type

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        (instance,) = parcel.instances
        described = {"Content-Type": self._content_type, "Idempotency-Key": parcel.idempotency_key}
        answer = self._client.send(instance.body, {**described, **parcel.headers})
        return self._acceptance.judge(answer, parcel, now=self._client.clock.now())
