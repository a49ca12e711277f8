"""Every upload protocol, plain and over TLS: dropped samples arrive at real servers, tagged and otherwise unaltered."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moichord.apis.bodies import BytesBody
from moichord.apis.http import Client, Deadlines, Endpoint, Tls
from moichord.apis.upload import Instance, Parcel
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.stow_rs import FOUND, StowRsUpload
from moichord.apis.upload.zip import ZipUpload
from moichord.apis.upload.zip_archive import ZipArchive
from moichord.errors import ApiRefusal
from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from tests.builders import image_bytes, new_uid
from tests.integration import certificate as certificates
from tests.integration import image_servers, judges, samples
from tests.integration.certificate import Certificate
from tests.integration.conftest import RECORD, MakeDaemon
from tests.integration.daemon import receipt_of
from tests.integration.orthanc import Orthanc

pytestmark = [pytest.mark.needs("Orthanc", "nginx", "dcmdump")]


@dataclass(frozen=True)
class Target:
    """A server as the daemon is told of it, and what it holds of a patient."""

    upload: dict[str, Any]
    key: str
    files_of: Callable[[str], dict[str, bytes]]
    status: int = 200
    images: int = 3
    fields: dict[str, dict[str, str]] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["plain", "TLS"])
def certificate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Certificate | None:
    return certificates.make(tmp_path_factory.mktemp("certificate")) if request.param == "TLS" else None


@pytest.fixture(scope="module")
def origin(
    certificate: Certificate | None, orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Orthanc's address; for TLS that of a proxy before it, since Debian's build resets every TLS connection."""
    if certificate is None:
        yield orthanc.url
        return
    with image_servers.tls_before(tmp_path_factory.mktemp("proxy"), certificate, orthanc.url) as address:
        yield address


@pytest.fixture
def target(
    request: pytest.FixtureRequest, certificate: Certificate | None, orthanc: Orthanc, origin: str, tmp_path: Path
) -> Iterator[Target]:
    with ExitStack() as stack:
        match request.param:
            case "raw":
                upload = {"url": f"{origin}/instances", "content_type": "application/dicom"}
                yield Target(upload, orthanc.key, orthanc.files_of)
            case "zip":
                yield Target({"url": f"{origin}/instances", "protocol": "zip"}, orthanc.key, orthanc.files_of)
            case "stow-rs":
                yield Target(
                    {"url": f"{origin}/dicom-web/studies", "protocol": "stow-rs"}, orthanc.key, orthanc.files_of
                )
            case "raw PUT":
                folder = tmp_path / "nginx"
                folder.mkdir()
                url, kept = stack.enter_context(image_servers.dav(folder, certificate))
                # All images of a server go to one address, so that this one can keep one.
                yield Target(
                    {"url": url, "method": "PUT"}, image_servers.KEY, lambda _: samples.files_in(kept), 201, images=1
                )
            case "multipart":
                forms = stack.enter_context(image_servers.form_application(certificate))
                upload = {
                    "url": forms.url,
                    "protocol": "multipart",
                    "file_field": "image",
                    "fields": {"sample": "{sample_id}", "attempt": "{attempt_number}"},
                }
                yield Target(upload, image_servers.KEY, lambda _: forms.files, fields=forms.fields)


@pytest.mark.parametrize("target", ["raw", "zip", "stow-rs", "raw PUT", "multipart"], indirect=True)
def test_a_dropped_sample_arrives_as_it_was(
    target: Target,
    certificate: Certificate | None,
    make_daemon: MakeDaemon,
    apis: StandInApis,
    originals: Path,
    tmp_path: Path,
) -> None:
    way = target.upload.get("protocol", target.upload.get("method", "raw"))
    sample_id = f"{way}-{'plain' if certificate is None else 'TLS'}"
    apis.records[sample_id] = RECORD
    original = samples.small_sample(originals / sample_id, images=target.images)
    tls = {} if certificate is None else {"tls": {"ca_file": str(certificate.ca_file)}}
    upload = {**target.upload, **tls, "key": {"env": "IMAGE_KEY"}}
    daemon = make_daemon({"upload": upload}, IMAGE_KEY=target.key).start()

    samples.drop(original, daemon.inbox)
    folder = daemon.wait_until_done(sample_id)

    images, arrived = samples.files_in(original), judges.by_uid(target.files_of(f"{sample_id}-001"))
    expected = judges.expected_tags(sample_id, RECORD)
    assert arrived.keys() == judges.by_uid(images).keys()
    for uid, received in judges.by_uid(images).items():
        judges.assert_tagged(arrived[uid], expected)
        judges.assert_pixels_untouched(received, arrived[uid], tmp_path)
    judges.assert_receipt_is_true(
        receipt_of(folder),
        originals=images,
        arrived=arrived,
        in_done=samples.files_in(folder),
        expected=expected,
        status=target.status,
    )
    assert all(fields == {"sample": sample_id, "attempt": "1"} for fields in target.fields.values())


# What the servers answer when not all is well


def client(orthanc: Orthanc, certificate: Certificate | None, url: str) -> Client:
    tls = Tls() if certificate is None else Tls(ca_file=str(certificate.ca_file))
    headers = {"Authorization": orthanc.key}
    return Client(Endpoint(Api.UPLOAD, url, "POST", Deadlines(connect=10, read=30), headers=headers, tls=tls))


def made(uid: str, patient_id: str = "P1") -> BytesBody:
    return BytesBody(image_bytes(sop_instance_uid=uid, patient_id=patient_id))


def test_what_orthanc_has_is_found_there_and_not_sent_again(
    orthanc: Orthanc, origin: str, certificate: Certificate | None
) -> None:
    uploader = StowRsUpload(client(orthanc, certificate, f"{origin}/dicom-web/studies"))
    uid = new_uid()

    def send(patient_id: str, *, maybe_stored: bool) -> Any:
        one = Instance(made(uid, patient_id), uid, maybe_stored=maybe_stored, patient_id=patient_id)
        (stored,) = uploader.send(Parcel([one], "key"))
        return stored

    assert not send("S1-001", maybe_stored=True).already_stored
    again = send("S1-001", maybe_stored=True)
    assert (again.already_stored, again.reply) == (True, {"note": FOUND})
    assert not send("S1-002", maybe_stored=True).already_stored, "another patient's copy is not ours"


def test_what_orthanc_cannot_read_is_refused(orthanc: Orthanc, origin: str, certificate: Certificate | None) -> None:
    one = Instance(BytesBody(b"no image"), new_uid())
    with pytest.raises(ApiRefusal, match="400"):
        StowRsUpload(client(orthanc, certificate, f"{origin}/dicom-web/studies")).send(Parcel([one], "key"))


def test_an_archive_of_which_orthanc_cannot_read_one_is_refused(
    orthanc: Orthanc, origin: str, certificate: Certificate | None
) -> None:
    uid = new_uid()
    images = [Instance(BytesBody(b"no image"), new_uid()), Instance(made(uid), uid)]
    uploader = ZipUpload(client(orthanc, certificate, f"{origin}/instances"), Acceptance(frozenset({200})))
    with pytest.raises(ApiRefusal, match="speaks of 1 images and was sent 2"):
        uploader.send(Parcel(images, "key"))


@pytest.mark.needs("unzip")
def test_unzip_finds_nothing_wrong_with_an_archive(tmp_path: Path) -> None:
    stream = ZipArchive([("a.dcm", made(new_uid())), ("b.dcm", BytesBody(b""))]).open()
    file = tmp_path / "sample.zip"
    with file.open("wb") as out:
        while block := stream.read(1000):
            out.write(block)
    told = subprocess.run(["unzip", "-t", str(file)], capture_output=True, text=True, check=True)
    assert "No errors detected" in told.stdout
