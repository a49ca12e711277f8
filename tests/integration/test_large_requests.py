"""Requests of minutes through the real daemon: an archive that is cut by a kill, the question before a gigabyte, the
limit of the line, and large samples that keep no small one waiting."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moichord.apis.bandwidth import CREDIT_SECONDS
from moichord.apis.preflight import LARGE
from moichord.sample import LONG_REQUEST, Api, State, Step
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_large_image
from tests.fault_server import FaultServer, Peer, Script, Seen, reply
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon, receipt_of

SAMPLE = "LARGE-1"
MIB = 1 << 20


# An archive of all images, and the daemon killed while it is sent


class ArchiveServer:
    """Takes archives as Orthanc does; the first one is cut or never answered, as the script of its connection says."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def answering(self, peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            peer.send(reply(200, json.dumps(self.store(seen)).encode()))

    def stored_but_never_answered(self, peer: Peer) -> None:
        seen = peer.request()
        assert seen is not None
        self.store(seen)
        peer.stall()

    def cut(self, peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        peer.body(seen, 1000)
        peer.stall()

    def store(self, seen: Seen) -> list[dict[str, str]]:
        said = []
        with zipfile.ZipFile(io.BytesIO(bytes(seen.body))) as archive:
            assert archive.testzip() is None
            for name in archive.namelist():
                said.append({"ID": name, "Status": "AlreadyStored" if name in self.stored else "Success"})
                self.stored[name] = archive.read(name)
        return said


@pytest.mark.parametrize(("script", "already_stored"), [("stored_but_never_answered", True), ("cut", False)])
def test_an_archive_that_a_kill_leaves_without_an_answer_is_sent_again_whole_under_the_same_key(
    script: str, already_stored: bool, make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    original = samples.small_sample(originals / SAMPLE)
    archives = ArchiveServer()
    first: Script = getattr(archives, script)
    with FaultServer(first, archives.answering) as server:
        daemon = make_daemon({"upload": {"protocol": "zip", "url": server.url}}).start()
        samples.drop(original, daemon.inbox)
        assert server.reached.wait(30)
        daemon.kill()
        assert images_of(daemon) == [(True, False)] * 3, "begun, and none acknowledged"
        daemon.start()
        folder = daemon.wait_until_done(SAMPLE)
        one, again = server.requests
    assert one.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert again.body.startswith(one.body)
    receipt = receipt_of(folder)
    assert [image["already_stored"] for image in receipt["images"]] == [already_stored] * 3
    arrived, received = judges.by_uid(archives.stored), judges.by_uid(samples.files_in(original))
    assert arrived.keys() == received.keys()
    for image in receipt["images"]:
        content = arrived[image["sop_instance_uid"]]
        judges.assert_untouched_part_is_true(image["untouched"], received[image["sop_instance_uid"]], content)
        assert (folder / image["path"]).read_bytes() == content
    assert len(apis.requests.calls(Api.ANALYTICS)) == 1


def images_of(daemon: Daemon) -> list[tuple[bool, bool]]:
    submission = daemon.newest(SAMPLE)
    assert submission is not None
    return [(image.upload_began, image.acknowledged_at is not None) for image in daemon.detail(submission).images]


# The question before a large image


def test_a_key_that_is_refused_is_found_out_before_a_large_image_is_sent(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    (originals / SAMPLE).mkdir()
    write_large_image(originals / SAMPLE / "0.dcm", LARGE // MIB + 1)
    daemon = make_daemon(U_KEY="no longer valid").start()
    samples.drop(originals / SAMPLE, daemon.inbox)
    daemon.wait_for(lambda: daemon.is_in(SAMPLE, State.WAITING), "the refusal to hold the sample")
    assert daemon.stop() == 0
    assert set(uploads(apis)) == {("OPTIONS", 401)}
    refused = len(uploads(apis))
    daemon.environ["U_KEY"] = apis.keys[Api.UPLOAD]
    daemon.start()  # what is believed down is asked at once
    daemon.wait_until_done(SAMPLE)
    assert uploads(apis)[refused:] == [("OPTIONS", 404), ("POST", 200)], "as Orthanc answers"


def uploads(apis: StandInApis) -> list[tuple[str, int | None]]:
    return [(one.method, one.status) for one in apis.requests.all() if one.api is Api.UPLOAD]


# The limit of the line


def test_uploads_together_take_no_more_than_the_limit(make_daemon: MakeDaemon, originals: Path) -> None:
    images, limit = 3, 4 * MIB
    (originals / SAMPLE).mkdir()
    for number in range(images):
        write_large_image(originals / SAMPLE / f"{number}.dcm", 2)
    daemon = make_daemon({"upload": {"bandwidth_limit": f"{limit}B"}}).start()
    samples.drop(originals / SAMPLE, daemon.inbox)
    daemon.wait_until_done(SAMPLE)
    submission = daemon.newest(SAMPLE)
    assert submission is not None
    upload = daemon.detail(submission).steps[Step.UPLOAD]
    assert upload.started_at is not None
    assert upload.finished_at is not None
    # Never less, however fast the machine; how close it comes is measured with a clock that tests move (bandwidth).
    assert upload.finished_at - upload.started_at >= images * 2 * MIB / limit - CREDIT_SECONDS - 0.1


# Large samples and a small one


@contextmanager
def held(apis: StandInApis, prefix: str) -> Iterator[set[str]]:
    """The image server has what belongs to these samples, and answers only at the end: their PatientIDs."""
    let_go = threading.Event()
    patients: set[str] = set()

    def hold(received: Received) -> bool:
        patient_id = received.patient_id or ""
        if received.method == "POST" and patient_id.startswith(prefix):
            patients.add(patient_id)
            assert let_go.wait(60)
        return False

    apis.fail_for(hold)  # none fails, since it says so of none
    try:
        yield patients
    finally:
        let_go.set()


def test_six_large_samples_under_way_keep_no_small_one_waiting(
    daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    large = [f"LARGE-{number}" for number in range(6)]
    for name in large:
        (originals / name).mkdir()
        write_large_image(originals / name / "0.dcm", LONG_REQUEST // MIB)
    small = samples.small_sample(originals / "SMALL")
    with held(apis, "LARGE-") as under_way:
        for name in large:
            samples.drop(originals / name, daemon.inbox)
        apis.requests.wait_for(lambda log: len({call.sample_id for call in log.calls(Api.METADATA)}) == 6, 60)
        daemon.wait_for(lambda: len(under_way) == 3, "as many large images as may be under way at once")
        samples.drop(small, daemon.inbox)
        daemon.wait_until_done("SMALL")
        assert {daemon.is_in(name, State.PROCESSING) is not None for name in large} == {True}
    for name in large:
        daemon.wait_until_done(name)
