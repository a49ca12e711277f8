"""Faults from below: disks that refuse a sync, are full, broken or read-only, and renames across mounts.

The daemon holds, says why, once, and goes on by itself when that is mended; nothing is lost, and no sample fails.

System calls are made to fail by strace, in the running daemon and for one path where only that is to fail; letting go
of the daemon mends them. A folder becomes read-only by a remount.
"""

import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moichord.clock import SystemClock
from moichord.queue.database import Database
from moichord.queue.requests import Requests
from moichord.queue.views import Views
from moichord.sample import Api, State
from moichord.sandbox.stand_in import StandInApis
from tests.integration import samples
from tests.integration.conftest import MakeDaemon, apis, listeners, make_daemon, originals
from tests.integration.daemon import Daemon, receipt_of

__all__ = ["apis", "listeners", "make_daemon", "originals"]  # fixtures

pytestmark = pytest.mark.needs("strace", "root")

IMAGES = 3
TIMESTAMP = re.compile(r"^\S+ (\S+ )?")


@contextmanager
def failing(daemon: Daemon, call: str, error: str, *paths: Path, when: str = "1+") -> Iterator[None]:
    """While this lasts, `call` fails in the daemon, all of them or those that concern one of `paths`."""
    strace = shutil.which("strace")
    assert strace is not None
    which = [option for path in paths for option in ("-P", str(path))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    tracer = subprocess.Popen(
        [strace, "-f", "-p", str(daemon._running.pid), *which, *inject], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    try:
        lines = iter(tracer.stderr.readline, "")
        assert any("attached" in line for line in lines), "strace did not attach"
        threading.Thread(target=tracer.stderr.read, daemon=True).start()
        yield
    finally:
        tracer.terminate()
        tracer.wait(30)


@pytest.fixture
def mounted() -> Iterator[Callable[[Path], None]]:
    """Mounts a file system in memory; all are unmounted at the end."""
    places: list[Path] = []

    def mount(place: Path) -> None:
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "moichord-test", place], check=True)
        places.append(place)

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, how: str) -> None:
    """`how` is "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)


def drop(daemon: Daemon, folder: Path, *names: str) -> None:
    for name in names:
        samples.drop(samples.small_sample(folder / name, IMAGES), daemon.inbox)


def said(daemon: Daemon, words: str) -> list[str]:
    return [TIMESTAMP.sub("", line).strip() for line in daemon.log.splitlines() if words in line]


def assert_said_once(daemon: Daemon, words: str) -> None:
    """Every thread and every sample that meets a fault may say it, each once."""
    lines = Counter(said(daemon, words))
    assert lines, f"nothing was said of {words!r}"
    assert max(lines.values()) == 1, lines


def assert_all_is_well(daemon: Daemon, apis: StandInApis, folder: Path, *names: str) -> None:
    """All samples are done, with all they had, and nothing is left over; each request was answered well once."""
    for name in names:
        done = daemon.wait_until_done(name)
        daemon.wait_for(lambda name=name: len(daemon.places_of(name)) == 1, f"{name} to be in one place")
        assert samples.files_in(done).keys() == samples.files_in(folder / name).keys()
        assert receipt_of(done)["attempt_number"] == 1
    daemon.wait_for(lambda: [path.name for path in daemon.work.iterdir()] == [".moichord-state"], "work to be empty")
    assert list(daemon.inbox.iterdir()) == []
    assert list(daemon.failed.iterdir()) == []
    left = [path for place in (daemon.work, daemon.done) for path in place.rglob(".moichord-*")]
    assert left == [daemon.work / ".moichord-state"]
    assert len(apis.instances) == IMAGES * len(names)
    for api, each in ((Api.UPLOAD, IMAGES), (Api.ANALYTICS, 1)):
        keys = [request.idempotency_key for request in apis.requests.calls(api)]
        assert len(keys) == len(set(keys)) == each * len(names)
    assert "Traceback" not in daemon.log


def test_no_sync_succeeds_and_everything_holds_until_one_does(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    """One sample is about to be taken, one to be changed, one to be filed."""
    daemon = make_daemon({"workers": 2}).start()
    last = apis.hold(Api.ANALYTICS)
    drop(daemon, originals, "FILED")
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    first = apis.hold(Api.METADATA)
    drop(daemon, originals, "CHANGED")
    apis.requests.wait_for(lambda log: log.in_flight(Api.METADATA) == 1)
    with failing(daemon, "fsync", "EIO"):
        first.set()
        last.set()
        drop(daemon, originals, "TAKEN")
        daemon.wait_for(lambda: "cannot be made durable" in daemon.log, "a word about what was taken")
        for name in ("CHANGED", "FILED"):
            held = daemon.wait_until(name, State.WAITING)
            assert held.reason is not None
            assert "The disk does not do what it should: Input/output error" in held.reason
        told = daemon.command("status", "CHANGED").stdout
        assert "Input/output error" in told
    assert_all_is_well(daemon, apis, originals, "FILED", "CHANGED", "TAKEN")
    assert_said_once(daemon, "cannot be made durable")
    assert_said_once(daemon, "The disk does not do what it should")


@pytest.mark.parametrize(("call", "error"), [("pwrite64", "ENOSPC"), ("fdatasync", "EIO")])
def test_a_state_that_cannot_be_written_holds_everything(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, call: str, error: str
) -> None:
    daemon = make_daemon({"workers": 2}).start()
    gate = apis.hold(Api.ANALYTICS)
    drop(daemon, originals, "A1")
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    before = len(apis.requests)
    with failing(daemon, call, error, daemon.state, daemon.root / "state.db-wal"):
        gate.set()
        drop(daemon, originals, "A2")
        for consequence in ("samples wait until that ends", "nothing is taken until that ends"):
            daemon.wait_for(lambda words=consequence: said(daemon, words), consequence)
        assert len(apis.requests) == before + 1, "only the request in flight is answered"
        assert [daemon.places_of(name) for name in ("A1", "A2")] == [
            [str(path.relative_to(daemon.root)) for path in daemon.work.glob("*/A1")],
            ["inbox/A2"],
        ]
    names = "A1", "A2"
    for name in names:
        daemon.wait_until_done(name)
    # The answer of analytics could not be written: unknown outcomes are repeated under the same key.
    calls = apis.requests.calls(Api.ANALYTICS)
    assert len({call.idempotency_key for call in calls}) == 2
    assert len(calls) <= 3
    assert len(apis.instances) == len(apis.requests.calls(Api.UPLOAD)) == IMAGES * 2
    assert list(daemon.failed.iterdir()) == []
    assert_said_once(daemon, "The state could not be written")
    assert "Traceback" not in daemon.log


def test_a_rename_across_mounts_into_done_becomes_a_verified_copy(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon().start()
    gate = apis.hold(Api.ANALYTICS)
    drop(daemon, originals, "A1")
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    # The copy comes to its name by a second rename.
    with failing(daemon, "renameat2", "EXDEV", daemon.done / "A1", when="1"):
        before = next(daemon.work.glob("*/A1")).stat().st_ino
        gate.set()
        assert_all_is_well(daemon, apis, originals, "A1")
    assert (daemon.done / "A1").stat().st_ino != before


def test_a_sample_that_cannot_be_renamed_into_work_stays_and_says_why(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon().start()
    with failing(daemon, "renameat2", "EXDEV", daemon.inbox / "A1"):
        drop(daemon, originals, "A1", "A2")
        daemon.wait_until_done("A2")
        waiting = daemon.wait_for(lambda: daemon.arrival("A1"), "A1 to be seen")
        daemon.wait_for(lambda: "cannot take" in (daemon.arrival("A1") or waiting).reason, "the reason")
        assert "moichord cannot take this folder: Invalid cross-device link" in daemon.command("status").stdout
        assert daemon.places_of("A1") == ["inbox/A1"]
    # Mounts are mended in the unit file, and the daemon starts anew.
    assert daemon.stop() == 0
    daemon.start()
    assert_all_is_well(daemon, apis, originals, "A1", "A2")
    assert_said_once(daemon, "not taken")


def test_done_that_becomes_read_only_is_waited_for(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, mounted: Callable[[Path], None]
) -> None:
    daemon = make_daemon()
    mounted(daemon.done)
    daemon.start()
    drop(daemon, originals, "A1")
    daemon.wait_until_done("A1")
    remount(daemon.done, "ro")
    drop(daemon, originals, "A2")
    held = daemon.wait_until("A2", State.WAITING)
    assert held.held_by == "disk:done"
    daemon.wait_for(lambda: len(apis.requests.calls(Api.ANALYTICS)) == 2, "all that needs no disk to be done")
    notice = f"the folder done cannot be written ({daemon.done})"
    daemon.wait_for(lambda: notice in " ".join(daemon.command("status").stdout.split()), "status to say so")
    remount(daemon.done, "rw")
    assert_all_is_well(daemon, apis, originals, "A1", "A2")
    assert_said_once(daemon, "cannot be written")
    assert_said_once(daemon, "the folder done can be used again")


def test_an_inbox_that_becomes_read_only_with_its_work_is_waited_for(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, mounted: Callable[[Path], None]
) -> None:
    daemon = make_daemon()
    share = daemon.root / "share"
    mounted(share)
    daemon.configure({"folders": {"inbox": str(share / "inbox")}})
    daemon.inbox.mkdir()
    daemon.start()
    gate = apis.hold(Api.METADATA)
    drop(daemon, originals, "A1")
    apis.requests.wait_for(lambda log: log.in_flight(Api.METADATA) == 1)
    # Its writer is not ready yet: were it settled now, its taking would race the remount.
    arriving = daemon.inbox / "A2"
    arriving.mkdir()
    remount(share, "ro")
    daemon.wait_for(lambda: said(daemon, "the folder work cannot be written"), "a word about the folder work")
    gate.set()
    held = daemon.wait_until("A1", State.WAITING)
    assert held.held_by == "disk:work"
    daemon.wait_for(lambda: "cannot be written" in daemon.command("status").stdout, "status to say so")
    assert apis.requests.calls(Api.UPLOAD) == ()
    remount(share, "rw")
    samples.small_sample(originals / "A2", IMAGES)
    for file in (originals / "A2").iterdir():
        shutil.copyfile(file, arriving / file.name)
    assert_all_is_well(daemon, apis, originals, "A1", "A2")
    assert_said_once(daemon, "cannot be written")


def test_a_state_that_is_read_only_at_the_start_is_said_and_nothing_is_lost(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, mounted: Callable[[Path], None]
) -> None:
    """A running daemon keeps its state open, so that it cannot be remounted: there, its writes fail (above)."""
    daemon = make_daemon()
    place = daemon.root / "disk"
    mounted(place)
    daemon.configure({"state": str(place / "state.db")})
    daemon.state = place / "state.db"
    database = Database(daemon.state)
    daemon._views, daemon._requests = Views(database), Requests(database, SystemClock())
    daemon.start()
    apis.hold(Api.ANALYTICS)
    drop(daemon, originals, "A1")
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    daemon.kill()
    database.close()  # what is open cannot be remounted
    remount(place, "ro")
    refused = daemon.command("run")
    assert refused.returncode == 75, "which starts it again until it succeeds"
    assert f"The state {daemon.state} cannot be written: Read-only file system" in " ".join(refused.stderr.split())
    remount(place, "rw")
    apis.mend()
    daemon.start()
    daemon.wait_until_done("A1")
    assert len({request.idempotency_key for request in apis.requests.calls(Api.ANALYTICS)}) == 1
    assert len(apis.requests.calls(Api.UPLOAD)) == IMAGES


def test_a_full_disk_of_inbox_and_work_is_waited_for_and_a_half_written_copy_is_not_taken(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, mounted: Callable[[Path], None]
) -> None:
    """Nothing is reserved here, so that the disk really fills: one sample is to be changed, one is still written."""
    daemon = make_daemon()
    share = daemon.root / "share"
    mounted(share)
    daemon.configure({"folders": {"inbox": str(share / "inbox")}})
    daemon.inbox.mkdir()
    daemon.start()
    gate = apis.hold(Api.ANALYTICS)
    drop(daemon, originals, "A1")
    apis.requests.wait_for(lambda log: log.in_flight(Api.ANALYTICS) == 1)
    samples.small_sample(originals / "A2", IMAGES)
    filler = share / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while file.write(b"\1" * 4096):
            pass
    with pytest.raises(OSError, match="No space"):
        shutil.copytree(originals / "A2", daemon.inbox / "A2", copy_function=shutil.copyfile)
    gate.set()
    held = daemon.wait_until("A1", State.WAITING)
    assert "No space left on device" in (held.reason or "")
    daemon.wait_for(lambda: daemon.arrival("A2"), "the half-written copy to be seen")
    filler.unlink()
    daemon.wait_until_done("A1")
    shutil.copytree(originals / "A2", daemon.inbox / "A2", copy_function=shutil.copyfile, dirs_exist_ok=True)
    assert_all_is_well(daemon, apis, originals, "A1", "A2")
