"""What the configuration changes about where samples lie and when they are taken."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.sample import Api, State
from moichord.sandbox.stand_in import StandInApis
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon, receipt_of

SAMPLE = "SET-1"


@pytest.fixture
def original(originals: Path) -> Path:
    folder = samples.small_sample(originals / SAMPLE)
    (folder / "slide.xml").write_text("<slide/>")
    return folder


def sent_files(apis: StandInApis) -> dict[str, bytes]:
    """What the image server holds, by SOP Instance UID."""
    return judges.by_uid({i.identity.orthanc_id: i.file.read_bytes() for i in apis.instances if i.file})


def assert_receipt_is_true_of_what_was_sent(folder: Path, original: Path, apis: StandInApis) -> None:
    for image in receipt_of(folder)["images"]:
        received, sent = (original / image["path"]).read_bytes(), sent_files(apis)[image["sop_instance_uid"]]
        judges.assert_untouched_part_is_true(image["untouched"], received, sent)
        assert image["sha256_sent"] == judges.sha256(sent)


def test_archived_as_original_the_images_in_done_are_those_that_were_received(
    make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    daemon = make_daemon({"archive": {"images": "original"}}).start()
    samples.drop(original, daemon.inbox)

    folder = daemon.wait_until_done(SAMPLE)

    assert samples.files_in(folder) == samples.files_in(original)
    assert_receipt_is_true_of_what_was_sent(folder, original, apis)


def test_archived_as_none_the_images_are_deleted_and_the_rest_is_kept(
    make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    daemon = make_daemon({"archive": {"images": "none"}}).start()
    gate = apis.hold(Api.ANALYTICS)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    (in_work,) = daemon.work.glob(f"*/{SAMPLE}")
    assert samples.files_in(in_work) == samples.files_in(original), "nothing is deleted before analytics"
    gate.set()

    folder = daemon.wait_until_done(SAMPLE)

    assert samples.files_in(folder) == {"slide.xml": b"<slide/>"}
    assert_receipt_is_true_of_what_was_sent(folder, original, apis)


def test_without_analytics_a_sample_is_done_when_its_images_are_stored(
    make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    daemon = make_daemon({"analytics": {"enabled": False}}).start()
    samples.drop(original, daemon.inbox)

    receipt = receipt_of(daemon.wait_until_done(SAMPLE))

    assert receipt["analytics"] is None
    assert apis.requests.calls(Api.ANALYTICS) == ()
    assert len(apis.instances) == 3


def test_a_ready_marker_replaces_the_waiting_but_not_the_completeness(make_daemon: MakeDaemon, originals: Path) -> None:
    daemon = make_daemon({"watch": {"ready_marker": "*.ready", "settle_time": "10m", "scan_interval": "100ms"}}).start()
    original = samples.small_sample(originals / SAMPLE)
    whole = (original / "image-2.dcm").read_bytes()
    (original / "image-2.dcm").write_bytes(whole[:-50])
    (original / "scan.READY").touch()

    folder = samples.drop(original, daemon.inbox)
    daemon.wait_for(lambda: daemon.arrival(SAMPLE), "the sample to be seen")
    arrival = daemon.arrival(SAMPLE)
    assert arrival is not None
    assert arrival.reason.startswith("still arriving: image-2.dcm is incomplete")
    (folder / "image-2.dcm").write_bytes(whole)

    done = daemon.wait_until_done(SAMPLE)  # long before the settle time
    assert (done / "scan.READY").exists()


def test_without_its_mount_marker_the_share_counts_as_gone_and_nothing_is_taken(
    make_daemon: MakeDaemon, apis: StandInApis, original: Path, another_is_taken: Callable[[], None]
) -> None:
    daemon = make_daemon({"watch": {"mount_marker": ".mounted"}})
    samples.drop(original, daemon.inbox)
    marker, gone = daemon.inbox / ".mounted", "the share is gone: .mounted is missing"
    daemon.start(says=gone)
    daemon.wait_for(lambda: is_noticed(daemon, gone), "status to say so")
    another_is_taken()
    assert (daemon.inbox / SAMPLE).exists()
    assert len(apis.requests) == 0

    marker.touch()
    daemon.wait_until_done(SAMPLE)
    assert daemon.log.count(gone) == 1, "said once"
    daemon.wait_for(lambda: not is_noticed(daemon, gone), "status to forget it")

    marker.unlink()
    daemon.wait_for(lambda: is_noticed(daemon, gone), "the share to be missed again")
    samples.drop(original, daemon.inbox)
    another_is_taken()
    assert len(daemon.submissions(SAMPLE)) == 1
    marker.touch()
    daemon.wait_until_done(SAMPLE, attempt=2)
    assert marker.exists()
    assert daemon.log.count(gone) == 2


def is_noticed(daemon: Daemon, problem: str) -> bool:
    return any(problem in notice for notice in daemon.overview().notices)


def test_a_daemon_that_waits_for_its_share_can_be_stopped(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon({"watch": {"mount_marker": ".mounted"}}).start(says="the share is gone")

    assert daemon.stop() == 0


@pytest.fixture
def other_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A folder that lies on a file system of its own."""
    folder = tmp_path / "other"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on_the_other(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place


@pytest.mark.needs("root")
def test_done_on_another_file_system_gets_the_complete_sample(
    other_filesystem: Path, make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    done = on_the_other(other_filesystem, "done")
    daemon = make_daemon({"folders": {"done": str(done)}}).start()
    assert done.stat().st_dev != daemon.inbox.stat().st_dev
    samples.drop(original, daemon.inbox)

    folder = daemon.wait_until_done(SAMPLE)

    assert folder == done / SAMPLE
    assert_complete(daemon, folder, apis, original)


def assert_complete(daemon: Daemon, folder: Path, apis: StandInApis, original: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {*samples.files_in(original), "moichord-receipt.json"}
    sent = sent_files(apis)
    for image in receipt_of(folder)["images"]:
        assert (folder / image["path"]).read_bytes() == sent[image["sop_instance_uid"]]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert daemon.wait_for(lambda: daemon.places_of(SAMPLE) in ([], [f"done/{SAMPLE}"]), "work to be empty")


@pytest.mark.needs("root")
def test_failed_on_another_file_system_gets_the_sample_as_received_and_retry_brings_it_back(
    other_filesystem: Path, make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    failed = on_the_other(other_filesystem, "failed")
    daemon = make_daemon({"folders": {"failed": str(failed)}}).start()
    apis.records[SAMPLE] = {}
    samples.drop(original, daemon.inbox)
    daemon.wait_until_failed(SAMPLE)
    assert samples.files_in(failed / SAMPLE) == samples.files_in(original)
    del apis.records[SAMPLE]

    assert daemon.command("retry", SAMPLE).returncode == 0
    daemon.wait_for(lambda: not daemon.is_in(SAMPLE, State.FAILED), "the retry to begin")

    assert_complete(daemon, daemon.wait_until_done(SAMPLE), apis, original)
    assert list(failed.iterdir()) == []


@pytest.fixture
def share_of_done(make_daemon: MakeDaemon, apis: StandInApis, originals: Path) -> Iterator[Daemon]:
    """A daemon that stopped after it had filed a sample in done, a share; at its next start the share is missing."""
    daemon = make_daemon()
    mount(daemon.done)
    try:
        daemon.start()
        samples.drop(samples.small_sample(originals / "BEFORE", images=1), daemon.inbox)
        daemon.wait_until_done("BEFORE")
        assert daemon.stop() == 0
        unmount(daemon.done)
        samples.drop(samples.small_sample(originals / SAMPLE, images=1), daemon.inbox)
        yield daemon
    finally:
        daemon.close()
        subprocess.run(["umount", "--lazy", str(daemon.done)], check=False, capture_output=True)


def mount(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.needs("root")
def test_a_share_that_is_missing_when_the_machine_boots_is_waited_for_although_its_mount_point_is_there(
    share_of_done: Daemon, apis: StandInApis
) -> None:
    daemon = share_of_done.start()
    held = daemon.wait_until(SAMPLE, State.WAITING)
    assert held.held_by == "disk:done"
    assert len(apis.requests.calls(Api.ANALYTICS)) == 2, "all that needs no disk is done"
    checked = daemon.command("check", "--offline")
    assert (checked.returncode, f"is not mounted ({daemon.done})" in " ".join(checked.stdout.split())) == (1, True)
    assert list(daemon.done.iterdir()) == []
    mount(daemon.done)
    assert daemon.wait_until_done(SAMPLE).parent == daemon.done


@pytest.mark.needs("root")
def test_a_folder_that_was_moved_on_purpose_is_accepted_by_a_command(share_of_done: Daemon) -> None:
    daemon = share_of_done.start()
    held = daemon.wait_until(SAMPLE, State.WAITING)
    assert "moichord check --accept-folders" in (held.reason or "")
    accepted = daemon.command("check", "--offline", "--accept-folders")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    daemon.wait_until_done(SAMPLE)
    assert daemon.stop() == 0
    daemon.start()
    # What the daemon before has published last stands until the new one publishes.
    daemon.wait_for(lambda: not is_noticed(daemon, "is not mounted"), "the share to be no concern any more")


def test_a_second_daemon_may_not_adopt_the_work_of_one_that_runs(make_daemon: MakeDaemon, original: Path) -> None:
    daemon = make_daemon().start()
    other = make_daemon({"folders": daemon.settings["folders"]}, name="other")
    assert other.command("run").returncode == 78
    refused = other.command("run", "--adopt-work")
    assert refused.returncode == 75
    assert f"another moichord daemon, which holds {daemon.state}.lock" in " ".join(refused.stderr.split())
    samples.drop(original, daemon.inbox)
    daemon.wait_until_done(SAMPLE)
