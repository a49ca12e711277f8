"""Disks and shares that fail, samples that crash the daemon, and whose folders they are: with real file systems."""

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.sample import FAILED_NAME, Api, State
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.house import Called, House, Says, house
from tests.integration import samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon

GIB = 2**30


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def look(lab: House) -> None:
    lab.rooms.housekeeping.look()


def full(*names: str) -> Callable[[Path], int]:
    """Free bytes, by the last name of the path: none where one of these lies."""
    return lambda path: 0 if path.name in names else 100 * GIB


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "moichord.storage"]


# Too little space


def test_little_space_for_the_state_lets_nothing_begin_and_ends_by_itself(
    lab: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lab.drop("S1")
    lab.free = lambda _: 0
    look(lab)
    lab.run(7 * 86400)
    look(lab)
    assert lab.calls == []
    assert lab.state("S1") is State.READY
    assert "nothing new begins" in lab.sentences()[0].text
    samples.small_sample(lab.root / "inbox" / "NEW")
    for _ in range(5):
        lab.rooms.intake.look()
        lab.clock.advance(60)
    (arriving,) = lab.views.overview().receiving
    assert "has less than" in arriving.reason

    lab.free = full()
    look(lab)
    lab.run(60)
    assert lab.state("S1") is State.DONE
    lab.rooms.intake.look()
    lab.run(60)
    assert lab.state("NEW") is State.DONE
    said = alarms(caplog)
    assert len([one for one in said if "the state" in one and "less than" in one]) == 1
    assert said[-4:].count("the state can be used again") == 1


def test_a_sample_under_way_stops_before_its_next_request_when_space_runs_out(lab: House) -> None:
    def fill(called: Called) -> None:
        if called.api is Api.METADATA:
            lab.free = full(lab.root.name)
            lab.rooms.storage.look()

    lab.script = fill
    lab.drop("S1")
    lab.run(60)
    assert [called.api for called in lab.calls] == [Api.METADATA]
    held = lab.newest("S1")
    assert (held.state, held.held_by) == (State.WAITING, "disk:state")
    assert "watch.min_free_space" in (held.reason or "")
    lab.free, lab.script = full(), lambda _: None
    look(lab)
    lab.run(60)
    assert lab.state("S1") is State.DONE
    assert len(lab.calls_to(Api.METADATA)) == 1


@pytest.mark.parametrize("place", ["work", "done"])
def test_little_space_for_filing_holds_the_filing_alone(lab: House, place: str) -> None:
    lab.script = lambda called: Says(404) if called.sample_id == "BAD" and called.api is Api.METADATA else None
    lab.free = full(place)
    look(lab)
    lab.drop("S1", "S2", "BAD")
    lab.run(3600)
    for name in ("S1", "S2"):
        held = lab.newest(name)
        assert (held.state, held.held_by) == (State.WAITING, f"disk:{place}")
    assert len(lab.calls_to(Api.ANALYTICS)) == 2, "all that needs no space is done"
    assert lab.state("BAD") is State.FAILED
    events = len(lab.views.history(None, None))
    for _ in range(100):
        look(lab)
        lab.run(3600)
    assert len(lab.views.history(None, None)) == events, "waiting writes nothing"

    lab.free = full()
    look(lab)
    lab.run(60)
    assert {lab.state("S1"), lab.state("S2")} == {State.DONE}
    assert len(lab.calls_to(Api.UPLOAD)) == len(lab.calls_to(Api.ANALYTICS)) == 2


def test_time_without_space_is_nobodys_own(lab: House) -> None:
    lab.drop("S1")
    lab.script = lambda called: Says(503) if called.api is Api.METADATA else None
    lab.run(5)
    lab.free = lambda _: 0
    look(lab)
    lab.run(10 * 86400)
    lab.free = full()
    look(lab)
    lab.run(60)
    assert lab.state("S1") is State.WAITING, "ten days are more than give_up_after"


def test_held_samples_go_on_after_a_restart(lab: House) -> None:
    lab.free = full("done")
    look(lab)
    lab.drop("S1")
    lab.run(60)
    lab.close()
    lab.free = full()
    lab.start()
    look(lab)
    lab.run(60)
    assert lab.state("S1") is State.DONE


# Folders that are not there


@pytest.mark.parametrize(("missing", "held", "other"), [("done", "GOOD", "BAD"), ("failed", "BAD", "GOOD")])
def test_a_missing_folder_holds_those_that_go_there_and_no_others(
    lab: House, missing: str, held: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    lab.script = lambda called: Says(404) if called.sample_id == "BAD" and called.api is Api.METADATA else None
    (lab.root / missing).rmdir()
    look(lab)
    lab.drop("GOOD", "BAD")
    lab.run(86400)
    look(lab)
    assert lab.state(other) in (State.DONE, State.FAILED)
    waiting = lab.newest(held)
    assert (waiting.state, waiting.held_by) == (State.WAITING, f"disk:{missing}")
    assert f"the folder {missing} is not there" in " ".join(one.text for one in lab.sentences()).lower()
    assert len([one for one in alarms(caplog) if "is not there" in one]) == 1, "said once"

    (lab.root / missing).mkdir()
    look(lab)
    lab.run(60)
    assert (lab.state("GOOD"), lab.state("BAD")) == (State.DONE, State.FAILED)
    told = (lab.root / "failed" / "BAD" / FAILED_NAME).read_text()
    assert "does not know the sample" in told, "why it failed is its own reason"


def test_a_cancelled_sample_waits_for_failed_and_keeps_no_other_request_waiting(lab: House) -> None:
    lab.script = lambda _: Says(503)
    lab.drop("S1", "S2")
    lab.run(10)
    (lab.root / "failed").rename(lab.root / "away")
    for name in ("S1", "S2"):
        lab.rooms.attendant._desk.requests.ask_cancel(lab.newest(name))
    for _ in range(3):
        lab.rooms.attendant.look()
    assert lab.state("S1") is not State.CANCELLED
    (lab.root / "away").rename(lab.root / "failed")
    lab.rooms.attendant.look()
    assert {lab.state("S1"), lab.state("S2")} == {State.CANCELLED}
    assert sorted(path.name for path in (lab.root / "failed").iterdir()) == ["S1", "S2"]


def test_a_retry_waits_for_a_share_that_is_not_mounted(lab: House) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("S1")
    lab.run(60)
    (lab.root / "failed").rename(lab.root / "away")
    lab.script = lambda _: None
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest("S1"), None)
    lab.rooms.attendant.look()
    assert lab.state("S1") is State.FAILED
    (lab.root / "away").rename(lab.root / "failed")
    lab.rooms.attendant.look()
    lab.run(60)
    assert lab.state("S1") is State.DONE


def test_work_that_is_gone_lets_nothing_begin(lab: House) -> None:
    lab.drop("S1")
    (lab.root / "work").rename(lab.root / "away")
    look(lab)
    lab.run(86400)
    assert lab.calls == []
    (lab.root / "work").mkdir()  # what an unmounted share leaves
    look(lab)
    lab.run(60)
    assert lab.calls == []
    (lab.root / "work").rmdir()
    (lab.root / "away").rename(lab.root / "work")
    look(lab)
    lab.run(60)
    assert lab.state("S1") is State.DONE


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a small file system in memory; all are unmounted at the end."""
    places: list[Path] = []

    def mount(place: Path, size: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "moichord-test", place], check=True)
        places.append(place)

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.mark.needs("root")
@pytest.mark.parametrize("place", ["done", "failed"])
def test_nothing_is_filed_beside_a_share_that_is_not_mounted(
    lab: House, mounted: Callable[[Path, str], None], place: str
) -> None:
    if place == "failed":
        lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    folder = lab.root / place
    mounted(folder, "20m")
    look(lab)
    lab.drop("S1")
    lab.run(60)
    assert [path.name for path in folder.iterdir()] == ["S1"]
    subprocess.run(["umount", folder], check=True)
    lab.drop("S2")
    lab.run(60)  # the last look was before: the move itself finds out
    assert list(folder.iterdir()) == []
    assert lab.newest("S2").held_by == f"disk:{place}"
    look(lab)
    assert f"the share of the folder {place} is not mounted" in lab.rooms.storage.notices[0]
    mounted(folder, "20m")
    look(lab)
    lab.run(60)
    assert [path.name for path in folder.iterdir()] == ["S2"]


# Full for real


@pytest.fixture
def careless() -> Iterator[House]:
    """A house that does not look at the free space, so that it meets the full disk."""
    with house({"watch": {"settle_time": "1s", "min_free_space": "0B"}}) as made:
        yield made


@pytest.mark.needs("root")
@pytest.mark.parametrize("place", ["done", "failed"])
def test_a_full_disk_of_a_finished_folder_holds_and_loses_nothing(
    careless: House, mounted: Callable[[Path, str], None], place: str
) -> None:
    lab, folder = careless, careless.root / place
    if place == "failed":
        lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    mounted(folder, "200k")
    (folder / "filler").write_bytes(bytes(196 * 1024))
    lab.drop("S1", images=8)
    lab.run(600)
    assert (lab.state("S1"), lab.newest("S1").held_by) == (State.WAITING, "disk")
    assert [path.name for path in folder.iterdir()] == ["filler"], "half a copy does not stay"
    (folder / "filler").unlink()
    lab.run(600)
    assert lab.state("S1") is (State.DONE if place == "done" else State.FAILED)
    assert len(list((folder / "S1").glob("*.dcm"))) == 8


@pytest.mark.needs("root")
def test_a_full_disk_of_the_state_holds_and_loses_nothing(
    mounted: Callable[[Path, str], None], make_daemon: MakeDaemon, originals: Path
) -> None:
    """The daemon itself, whose threads all meet the full disk."""
    daemon = make_daemon()
    place = daemon.root / "small"
    place.mkdir()
    mounted(place, "2m")
    daemon.keep_state_in(place)
    daemon.configure({"state": str(daemon.state)})
    daemon.start()
    filler = place / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    names = [f"S-{number}" for number in range(6)]
    for name in names:
        samples.drop(samples.small_sample(originals / name), daemon.inbox)
    daemon.wait_for(lambda: "could not be written" in daemon.log, "a word about the full disk")
    filler.unlink()
    for name in names:
        daemon.wait_until_done(name)
    assert "Traceback" not in daemon.log


# Poison, and whose folders they are


def test_a_sample_that_crashes_the_daemon_twice_is_set_aside_and_the_others_go_on(
    make_daemon: MakeDaemon, apis: StandInApis, listeners: list[Callable[[Received], None]], originals: Path
) -> None:
    daemon = make_daemon({"workers": 2})

    def crash(received: Received) -> None:
        if received.api is Api.METADATA and received.sample_id == "POISON":
            os.kill(daemon._running.pid, signal.SIGABRT)

    listeners.append(crash)
    for name in ("POISON", "GOOD"):
        samples.drop(samples.small_sample(originals / name), daemon.inbox)
    for _ in range(2):
        daemon.start()
        assert daemon.wait_until_ended() == -signal.SIGABRT
    daemon.start()
    folder = daemon.wait_until_failed("POISON")
    daemon.wait_until_done("GOOD")
    assert (folder / FAILED_NAME).read_text().startswith("moichord broke off twice while processing this sample.\n")
    assert samples.files_in(folder) == samples.files_in(originals / "POISON")


def test_a_daemon_with_another_state_is_refused_and_told_how_to_adopt(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon().start()
    samples.drop(samples.small_sample(originals / "A1"), daemon.inbox)
    daemon.wait_until_done("A1")
    apis.fail_for(lambda received: received.api is Api.METADATA, status=503)
    samples.drop(samples.small_sample(originals / "B1"), daemon.inbox)
    daemon.wait_until("B1", State.WAITING)
    daemon.stop()
    apis.mend()

    lost = _lose_state(daemon)
    refused = daemon.command("run")
    assert refused.returncode == 78
    assert "belongs to another state" in refused.stderr
    assert "run --adopt-work" in refused.stderr
    adopting = subprocess.Popen(
        daemon._command("run", "--adopt-work"), cwd=daemon.root, env=daemon._environment(), stderr=subprocess.DEVNULL
    )
    try:
        daemon.keep_state_in(daemon.state.parent)
        daemon.wait_for(lambda: daemon.state.exists() and _ended(daemon, "B1"), "B1 to be done")
        assert [one.attempt_number for one in daemon.submissions("B1")] == [1]
        samples.drop(originals / "A1", daemon.inbox)
        daemon.wait_until_done("A1", attempt=2)
    finally:
        adopting.send_signal(signal.SIGTERM)
        assert adopting.wait(60) == 0
    assert lost


def _lose_state(daemon: Daemon) -> list[Path]:
    files = sorted(daemon.root.glob("state.db*"))
    for file in files:
        file.unlink()
    return files


def _ended(daemon: Daemon, sample_id: str) -> bool:
    newest = daemon.newest(sample_id)
    return newest is not None and newest.state is State.DONE


@pytest.mark.parametrize("folder", ["done", "failed"])
def test_a_folder_that_is_missing_at_a_later_start_is_waited_for(
    make_daemon: MakeDaemon, originals: Path, folder: str
) -> None:
    daemon = make_daemon().start()
    daemon.stop()
    place = daemon.done if folder == "done" else daemon.failed
    place.rmdir()
    daemon.start(says="waiting for it")
    samples.drop(samples.small_sample(originals / "A1"), daemon.inbox)
    place.mkdir()
    daemon.wait_until_done("A1")


def test_a_folder_that_is_missing_at_the_first_start_is_a_mistake_of_the_configuration(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon()
    daemon.done.rmdir()
    refused = daemon.command("run")
    assert refused.returncode == 78
    assert "folders.done" in refused.stderr
