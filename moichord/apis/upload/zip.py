"""Upload protocol `zip`: all images of a sample in one request, all or nothing (Orthanc's POST /instances takes it).

Owns the request. It must not know how an archive is made (zip_archive), nor what an answer means (acceptance). Errors
that leave it: see `upload`.
"""

from collections.abc import Sequence

from moichord.apis.http import Client
from moichord.apis.upload import Parcel, Stored
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.zip_archive import ZipArchive


class ZipUpload:
    """An `Uploader`: one archive per sample."""

    takes_whole_samples = True

    def __init__(self, client: Client, acceptance: Acceptance) -> None:
        self._client = client
        self._acceptance = acceptance

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        archive = ZipArchive([(instance.file_name, instance.body) for instance in parcel.instances])
        described = {"Content-Type": "application/zip", "Idempotency-Key": parcel.idempotency_key}
        answer = self._client.send(archive, {**described, **parcel.headers})
        return self._acceptance.judge(answer, parcel, now=self._client.clock.now())
