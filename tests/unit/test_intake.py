"""From the inbox into work: what is taken and when, why the rest stays, and what survives which trouble."""

import errno
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from moichord.errors import StateUnwritable
from moichord.inbox.intake import REST, SOONEST, Intake, IntakeRules, sample_id_of
from moichord.inbox.scanner import Scanner
from moichord.inbox.seen import WatchRules
from moichord.inbox.settling import SettleRule
from moichord.inbox.taking import TRY_RENAME_AGAIN_AFTER
from moichord.queue.arrivals import Arrivals
from moichord.sample import State, Submission
from moichord.spool import NotTaken, Spool
from moichord.watching import inspect_image
from tests.builders import image_bytes
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, opened

SAMPLE_ID = re.compile(r"^(?P<sample_id>[A-Za-z0-9][A-Za-z0-9._-]{0,58})$")
SETTLE, SCAN, TIMEOUT = 60.0, 10.0, 1200.0
IMAGE = image_bytes()
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only looked for


class FakeDoorbell:
    """Remembers which samples it is to listen to; its health is the test's."""

    def __init__(self) -> None:
        self.samples: frozenset[str] = frozenset()
        self.problem: str | None = None
        self.well = True
        self.rebuilt = 0

    def watch_sample(self, name: str) -> bool:
        self.samples |= {name}
        return True

    def unwatch_sample(self, name: str) -> None:
        self.samples -= {name}

    def healthy(self) -> bool:
        return self.well

    def rebuild(self) -> None:
        self.rebuilt += 1
        self.well = True


class Lab:
    """An intake with a real inbox, a real state, and a clock that only the test moves."""

    def __init__(self, root: Path, queue: Queue, clock: FakeClock, **rules: str | None) -> None:
        self.root, self.queue, self.clock = root, queue, clock
        self.rules = rules
        self.inbox = root / "inbox"
        for name in ("inbox", "done", "failed"):
            (root / name).mkdir(exist_ok=True)
        self.spool = FragileSpool(
            Spool(self.inbox, root / "work", root / "done", root / "failed", queue.state_uuid), self
        )
        self.spool.whole.prepare()
        self.arrivals = FragileArrivals(queue.arrivals)
        self.doorbell = FakeDoorbell()
        self.rings = 0
        self.meanwhile: Callable[[], None] | None = None
        self.intake = self.new_intake()

    def new_intake(self, *, restored: bool = True) -> Intake:
        """What a restart makes."""
        watch = WatchRules(ready_marker=self.rules.get("ready_marker"), mount_marker=self.rules.get("mount_marker"))
        settle = SettleRule(SETTLE, TIMEOUT, ready_marker=self.rules.get("ready_marker"))
        intake = Intake(
            Scanner(self.inbox, watch, inspect_image, lambda name: sample_id_of(name, SAMPLE_ID) is not None),
            self.doorbell,  # type: ignore[arg-type]
            self.arrivals,  # type: ignore[arg-type]
            self.queue.requests,
            self.spool,  # type: ignore[arg-type]
            self.clock,
            IntakeRules(SAMPLE_ID, settle, SCAN),
            taken=self._ring,
        )
        if restored:
            intake.restore()
        return intake

    def _ring(self) -> None:
        self.rings += 1

    def drop(self, name: str = "A123", *files: str) -> Path:
        folder = self.inbox / name
        folder.mkdir()
        for file in files or ("image.dcm",):
            (folder / file).write_bytes(IMAGE)
        return folder

    def look_for(self, seconds: float) -> None:
        """Looks as the daemon's thread would, for as long as this."""
        end = self.clock.monotonic() + seconds
        while True:
            wait = self.intake.look()
            left = end - self.clock.monotonic()
            if left <= 0:
                return
            self.clock.advance(min(wait, left))

    def settle(self) -> None:
        self.look_for(SETTLE)

    def reason(self, name: str = "A123") -> str:
        return self.queue.arrivals.load()[name].reason

    def receiving(self) -> set[str]:
        return set(self.queue.arrivals.load())

    def taken(self, sample_id: str = "A123") -> Submission | None:
        """The newest submission; its folder must then be in work, and nowhere else."""
        newest = self.queue.views.newest(sample_id)
        if newest is not None and newest.state is State.READY:
            assert self.spool.where(newest.uuid, newest.folder_name) == {"work"}
        return newest

    def files_of(self, submission: Submission) -> dict[str, bytes]:
        folder = self.spool.folder(submission.uuid, submission.folder_name)
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class FragileSpool:
    """A real spool whose moves fail as the test says."""

    def __init__(self, whole: Spool, lab: Lab) -> None:
        self.whole = whole
        self.refusing: dict[str, NotTaken] = {}
        self.not_durable: OSError | None = None
        self.before: Callable[[], None] = lambda: None

    def __getattr__(self, name: str):
        return getattr(self.whole, name)

    def take(self, chosen):
        self.before()
        wanted = [(name, uuid) for name, uuid in chosen if name not in self.refusing]
        results = self.whole.take(wanted)
        if self.not_durable is not None:
            raise self.not_durable
        return results | {uuid: self.refusing[name] for name, uuid in chosen if name in self.refusing}


class FragileArrivals:
    """Real rows that cannot be written when the test says so."""

    def __init__(self, whole: Arrivals) -> None:
        self.whole = whole
        self.unwritable: set[str] = set()

    def __getattr__(self, name: str):
        if name in self.unwritable:
            raise StateUnwritable("The state cannot be written: the disk is full.")
        return getattr(self.whole, name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def new_lab(clock: FakeClock) -> Iterator[Callable[..., Lab]]:
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=place, prefix="moichord-test-") as name,
        opened(Path(name) / "state.db", clock) as queue,
    ):
        yield lambda **rules: Lab(Path(name), queue, clock, **rules)


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    return new_lab()


# When a sample is taken


def test_a_sample_is_taken_once_it_has_settled_and_the_workers_are_told(lab: Lab) -> None:
    lab.drop()
    lab.look_for(SETTLE - 1)
    assert (lab.taken(), lab.rings, lab.reason()) == (None, 0, "waiting 1 s more without a change")
    lab.look_for(1)
    taken = lab.taken()
    assert taken is not None
    assert (taken.state, taken.attempt_number, taken.image_count, taken.size) == (State.READY, 1, 1, len(IMAGE))
    assert (lab.rings, lab.receiving(), list(lab.inbox.iterdir())) == (1, set(), [])


def test_it_looks_again_when_time_alone_may_change_the_verdict_and_else_at_the_scan_interval(lab: Lab) -> None:
    assert lab.intake.look() == SCAN
    lab.drop()
    lab.look_for(SETTLE - 3)
    assert lab.intake.look() == pytest.approx(3)


def test_many_that_settle_together_are_taken_together(lab: Lab) -> None:
    for number in range(20):
        lab.drop(f"S{number}")
    lab.settle()
    assert all(lab.taken(f"S{number}") for number in range(20))
    assert lab.rings == 1


def test_a_paused_daemon_takes_nothing_and_says_so_until_it_is_resumed(lab: Lab) -> None:
    lab.queue.requests.pause()
    lab.drop()
    lab.look_for(3 * SETTLE)
    assert (lab.taken(), lab.reason()) == (None, "moichord is paused")
    lab.queue.requests.resume()
    lab.intake.look()
    assert lab.taken()


def test_a_second_drop_waits_until_the_first_has_left_work(lab: Lab) -> None:
    lab.drop()
    lab.settle()
    first = lab.taken()
    assert first is not None
    lab.drop()
    lab.look_for(3 * SETTLE)
    assert lab.reason() == "an earlier submission of A123 is still being processed"
    lab.queue.finish(lab.queue.claim())
    lab.intake.look()
    second = lab.taken()
    assert second is not None
    assert (second.attempt_number, second.uuid == first.uuid) == (2, False)


def test_two_folders_of_one_sample_are_taken_one_after_the_other(lab: Lab) -> None:
    for name in ("A123", "A123.attempt-002", "A123.attempt-002.2"):
        lab.drop(name)
    for left in (2, 1, 0):
        lab.settle()
        lab.intake.look()
        assert len(lab.receiving()) == len(list(lab.inbox.iterdir())) == left
        assert all("of A123 is still being processed" in a.reason for a in lab.queue.arrivals.load().values())
        lab.queue.finish(lab.queue.claim())
    assert [s.attempt_number for s in lab.queue.views.submissions_of("A123")] in ([1, 2, 3], [3, 2, 1])


@pytest.mark.parametrize("name", ["a b", "-x", "sample,1", "ü", "x" * 60, "bad\udcff"])
def test_a_badly_named_folder_stays_with_the_reason_and_others_are_taken(lab: Lab, name: str) -> None:
    lab.drop(name)
    lab.drop()
    lab.look_for(2 * SETTLE)
    assert lab.taken()
    assert "its name is not a sample ID" in lab.reason(name)
    (lab.inbox / name).rename(lab.inbox / "B77")
    lab.settle()
    assert lab.taken("B77")
    assert lab.receiving() == set()


def test_what_can_never_be_whole_is_taken_and_doomed(lab: Lab) -> None:
    (lab.drop() / "link.dcm").symlink_to("/etc/passwd")
    lab.settle()
    taken = lab.taken()
    assert taken is not None
    assert taken.doomed == "link.dcm: a symbolic link, which is never followed: put the file itself into the folder"


def test_a_folder_that_somebody_takes_away_is_forgotten(lab: Lab) -> None:
    folder = lab.drop()
    lab.look_for(SETTLE / 2)
    shutil.rmtree(folder)
    lab.settle()
    assert (lab.receiving(), lab.taken()) == (set(), None)


def test_with_a_ready_marker_a_sample_is_taken_at_once_and_its_folder_is_listened_to_until_then(new_lab) -> None:
    lab = new_lab(ready_marker="COMPLETE")
    folder = lab.drop()
    lab.drop("bad name")
    lab.look_for(2 * SETTLE)
    assert (lab.reason(), lab.doorbell.samples) == ("waiting for COMPLETE", {"A123"})
    (folder / "COMPLETE").touch()
    lab.intake.look()
    assert lab.taken()
    assert lab.doorbell.samples == frozenset()


# How scanners copy. Each function is a copy in steps; after each but the last the sample must not be taken, however
# long the pause.

Copy = Callable[[Path], Iterator[None]]
LONG = 3 * SETTLE


def in_pieces(folder: Path) -> Iterator[None]:
    with (folder / "image.dcm").open("wb", buffering=0) as file:
        for start in range(0, len(IMAGE), len(IMAGE) // 3 + 1):
            yield
            file.write(IMAGE[start : start + len(IMAGE) // 3 + 1])


def preallocated_with_zeros(folder: Path) -> Iterator[None]:
    """fallocate, and what Windows does over SMB: the full size first, then the data."""
    path = folder / "image.dcm"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(IMAGE))
    yield
    with path.open("r+b") as file:
        file.write(IMAGE)


def sparse_and_filled_from_its_end(folder: Path) -> Iterator[None]:
    path = folder / "image.dcm"
    with path.open("wb") as file:
        file.truncate(len(IMAGE))
    half = len(IMAGE) // 2
    for start, end in ((half, len(IMAGE)), (0, half)):
        yield
        with path.open("r+b") as file:
            file.seek(start)
            file.write(IMAGE[start:end])


def with_old_times(folder: Path) -> Iterator[None]:
    """robocopy and rsync -t: every piece carries the time of the original."""
    path = folder / "image.dcm"
    for end in (200, len(IMAGE) - 1, len(IMAGE)):
        path.write_bytes(IMAGE[:end])
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if end < len(IMAGE):
            yield


def under_a_temporary_name(folder: Path) -> Iterator[None]:
    for name in (".image.dcm.Xy7", "image.dcm.part", "~image.dcm"):
        (folder / name).write_bytes(IMAGE)
        yield
        (folder / name).rename(folder / "image.dcm")


def in_a_temporary_folder(folder: Path) -> Iterator[None]:
    (folder / ".incoming").mkdir()
    (folder / ".incoming" / "image.dcm").write_bytes(IMAGE)
    yield
    (folder / ".incoming" / "image.dcm").rename(folder / "image.dcm")
    (folder / ".incoming").rmdir()


def an_empty_file_for_each_first(folder: Path) -> Iterator[None]:
    names = ("image.dcm", "image-2.dcm")
    for name in names:
        (folder / name).touch()
    for name in names:
        yield
        (folder / name).write_bytes(IMAGE)


def interrupted_and_begun_again(folder: Path) -> Iterator[None]:
    (folder / "image.dcm").write_bytes(IMAGE[:-7])
    yield
    (folder / "image.dcm").unlink()
    (folder / "image.dcm").write_bytes(IMAGE[:300])
    yield
    (folder / "image.dcm").write_bytes(IMAGE)


COPIES: list[Copy] = [
    in_pieces,
    preallocated_with_zeros,
    sparse_and_filled_from_its_end,
    with_old_times,
    under_a_temporary_name,
    in_a_temporary_folder,
    an_empty_file_for_each_first,
    interrupted_and_begun_again,
]


@pytest.mark.parametrize("copy", COPIES, ids=lambda copy: copy.__name__)
def test_a_copy_that_pauses_is_never_taken_early_and_arrives_whole(lab: Lab, copy: Copy) -> None:
    folder = lab.inbox / "A123"
    folder.mkdir()
    steps = 0
    for _ in copy(folder):
        lab.look_for(LONG)
        assert lab.taken() is None, lab.reason()
        steps += 1
    assert steps
    lab.look_for(SETTLE - 1)
    assert lab.taken() is None
    lab.look_for(1)
    taken = lab.taken()
    assert taken is not None
    assert taken.doomed is None
    assert set(lab.files_of(taken).values()) == {IMAGE}


def test_files_that_come_one_after_another_within_the_settle_time_are_one_sample(lab: Lab) -> None:
    folder = lab.drop()
    for number in range(10):
        lab.look_for(SETTLE - 1)
        (folder / f"{number}.dcm").write_bytes(IMAGE)
    lab.look_for(SETTLE - 1)
    assert lab.taken() is None
    lab.look_for(SETTLE)
    taken = lab.taken()
    assert taken is not None
    assert taken.image_count == 11


def test_a_slow_copy_is_never_abandoned_while_it_goes_on(lab: Lab) -> None:
    folder = lab.inbox / "A123"
    folder.mkdir()
    for end in (100, 300, 500):
        (folder / "image.dcm").write_bytes(IMAGE[:end])
        lab.look_for(TIMEOUT - 1)
        assert lab.taken() is None


def test_what_stays_incomplete_fails_after_the_timeout_which_runs_across_restarts(lab: Lab, clock: FakeClock) -> None:
    folder = lab.inbox / "A123"
    folder.mkdir()
    (folder / "image.dcm").write_bytes(IMAGE[:300])
    lab.look_for(TIMEOUT / 2)
    clock.advance(TIMEOUT / 2 - SETTLE - SCAN)  # no daemon runs
    lab.intake = lab.new_intake()
    lab.look_for(SETTLE)
    assert lab.taken() is None
    lab.look_for(2 * SCAN)
    taken = lab.taken()
    assert taken is not None
    assert taken.doomed is not None
    assert taken.doomed.startswith("Still incomplete after 20 min without a change: image.dcm is inc")


def test_a_file_that_is_still_open_for_writing_here_is_a_veto(lab: Lab) -> None:
    folder = lab.drop("A123", "whole.dcm", "slow.dcm")
    with (folder / "slow.dcm").open("ab"):
        lab.look_for(LONG)
        assert lab.taken() is None
        assert lab.reason() == "slow.dcm is still open for writing by a program on this machine"
    lab.look_for(SCAN)
    assert lab.taken()


def test_one_that_is_kept_open_for_ever_fails_after_the_timeout(lab: Lab) -> None:
    with (lab.drop() / "image.dcm").open("ab"):
        lab.look_for(TIMEOUT + SCAN)
        taken = lab.taken()
    assert taken is not None
    assert taken.doomed is not None
    assert "20 min without a change: image.dcm is still open for writing" in taken.doomed


# Trouble


def test_a_share_that_goes_and_comes_back_is_said_once_and_forgets_nothing(lab: Lab, caplog) -> None:
    caplog.set_level(logging.INFO)
    lab.drop()
    lab.look_for(SETTLE - 1)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.look_for(5 * SCAN)
    assert lab.intake.notices == [lab.intake.absence()]
    assert lab.receiving() == {"A123"}
    away.rename(lab.inbox)
    lab.look_for(1)
    assert lab.intake.notices == []
    assert lab.taken() is None, "nobody has seen that nothing changed meanwhile"
    lab.settle()
    assert lab.taken()
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2
    assert "the share is gone" in said[0]
    assert said[1] == "the inbox is there again"


def test_an_outage_of_the_share_is_not_counted_against_a_sample_that_is_half_there(lab: Lab) -> None:
    folder = lab.inbox / "A123"
    folder.mkdir()
    (folder / "image.dcm").write_bytes(IMAGE[:300])
    lab.look_for(SETTLE)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.look_for(3 * TIMEOUT)
    away.rename(lab.inbox)
    lab.look_for(TIMEOUT / 2)
    assert lab.taken() is None
    lab.look_for(TIMEOUT / 2)
    taken = lab.taken()
    assert taken is not None
    assert taken.doomed is not None


def incomplete(lab: Lab) -> None:
    (lab.inbox / "A123").mkdir()
    (lab.inbox / "A123" / "image.dcm").write_bytes(IMAGE[:300])


def test_an_outage_of_the_share_counts_for_no_timeout_in_the_next_process_either(lab: Lab, clock: FakeClock) -> None:
    incomplete(lab)
    lab.look_for(SETTLE)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.look_for(TIMEOUT)
    away.rename(lab.inbox)
    lab.look_for(SCAN)
    lab.intake = lab.new_intake()
    lab.look_for(2 * SETTLE)
    assert lab.taken() is None, "of the time that counts, but a fraction has passed"
    lab.look_for(TIMEOUT)
    assert lab.taken()


def test_an_outage_during_which_the_daemon_stops_counts_until_the_share_is_there_again(
    lab: Lab, clock: FakeClock
) -> None:
    incomplete(lab)
    lab.look_for(SETTLE)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.look_for(SCAN)
    clock.advance(TIMEOUT)  # no daemon runs, and the share is away
    lab.intake = lab.new_intake(restored=False)
    assert lab.intake.absence()
    clock.advance(TIMEOUT)
    away.rename(lab.inbox)
    assert lab.intake.absence() is None
    lab.intake.restore()
    lab.look_for(2 * SETTLE)
    assert lab.taken() is None


def test_a_share_that_is_missing_at_the_start_is_an_outage_too(lab: Lab, clock: FakeClock) -> None:
    incomplete(lab)
    lab.look_for(SETTLE)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.intake = lab.new_intake(restored=False)
    assert lab.intake.absence()
    clock.advance(TIMEOUT)
    away.rename(lab.inbox)
    lab.intake.restore()
    lab.look_for(2 * SETTLE)
    assert lab.taken() is None


def test_an_outage_is_remembered_no_longer_than_what_was_there_before_it(lab: Lab) -> None:
    incomplete(lab)
    for _ in range(3):
        lab.look_for(SCAN)
        away = lab.inbox.rename(lab.root / "elsewhere")
        lab.look_for(SCAN)
        away.rename(lab.inbox)
    lab.look_for(SCAN)
    assert len(lab.queue.arrivals.unseen()) == 3
    shutil.rmtree(lab.inbox / "A123")
    lab.look_for(SCAN)
    away = lab.inbox.rename(lab.root / "elsewhere")
    lab.look_for(SCAN)
    away.rename(lab.inbox)
    lab.look_for(SCAN)
    assert lab.queue.arrivals.unseen() == []


def test_without_its_mount_marker_nothing_is_taken(new_lab) -> None:
    lab = new_lab(mount_marker=".mounted")
    lab.drop()
    lab.look_for(2 * SETTLE)
    assert lab.taken() is None
    assert lab.intake.notices == [f"the share is gone: .mounted is missing in {lab.inbox}. Mount the share again"]
    (lab.inbox / ".mounted").touch()
    lab.settle()
    assert lab.taken()


def test_a_folder_that_may_not_be_renamed_stays_says_so_once_and_is_taken_when_it_may(lab: Lab, caplog) -> None:
    lab.drop()
    lab.spool.refusing["A123"] = NotTaken("moichord may not rename this folder")
    lab.look_for(SETTLE + 5 * TRY_RENAME_AGAIN_AFTER)
    assert (lab.taken(), lab.rings) == (None, 0)
    assert lab.reason() == "moichord may not rename this folder"
    assert [record.message for record in caplog.records] == ["not taken: moichord may not rename this folder"]
    del lab.spool.refusing["A123"]
    lab.look_for(TRY_RENAME_AGAIN_AFTER + SCAN)
    taken = lab.taken()
    assert taken is not None
    assert taken.attempt_number == 1, "what was never taken was no attempt"


def test_a_refused_rename_is_tried_once_a_minute_and_not_in_a_loop(lab: Lab) -> None:
    tries = []
    lab.spool.before = lambda: tries.append(lab.clock.monotonic())
    lab.spool.refusing["A123"] = NotTaken("moichord may not rename this folder")
    lab.drop()
    lab.look_for(SETTLE + 600)
    assert 9 <= len(tries) <= 11


def test_one_that_may_not_be_renamed_does_not_keep_others_waiting(lab: Lab) -> None:
    for name in ("A123", "B77"):
        lab.drop(name)
    lab.spool.refusing["A123"] = NotTaken("moichord may not rename this folder")
    lab.settle()
    assert lab.taken("B77")


def test_one_that_vanishes_at_the_last_moment_was_never_taken(lab: Lab, caplog) -> None:
    folder = lab.drop()
    lab.spool.before = lambda: shutil.rmtree(folder, ignore_errors=True)
    lab.settle()
    assert lab.taken() is None
    lab.intake.look()
    assert (lab.receiving(), list((lab.root / "work").glob("????????-*")), caplog.records) == (set(), [], [])
    lab.spool.before = lambda: None
    lab.drop()
    lab.settle()
    taken = lab.taken()
    assert taken is not None
    assert taken.attempt_number == 1


def test_a_taking_that_could_not_be_made_durable_is_repeated_until_it_is(lab: Lab, caplog) -> None:
    lab.drop()
    lab.spool.not_durable = OSError(errno.EIO, os.strerror(errno.EIO))
    lab.settle()
    lab.drop("B77")
    lab.look_for(3 * SETTLE)
    assert (lab.rings, len(caplog.records)) == (0, 1)
    assert "what was taken cannot be made durable (Input/output error)" in lab.intake.notices[0]
    assert lab.queue.views.newest("B77") is None, "nothing more is taken meanwhile"
    lab.spool.not_durable = None
    lab.settle()
    lab.settle()
    assert lab.taken()
    assert lab.taken("B77")
    assert (lab.rings, lab.intake.notices) == (2, [])


@pytest.mark.parametrize("writes", [{"record", "intend"}, {"intend"}, {"taken"}])
def test_a_state_that_cannot_be_written_holds_the_intake_and_loses_nothing(lab: Lab, caplog, writes: set[str]) -> None:
    lab.drop()
    lab.arrivals.unwritable = writes
    run_for(lab, 5 * SETTLE)
    assert lab.rings == 0
    assert [record.message for record in caplog.records] == [
        "The state cannot be written: the disk is full.; nothing is taken until that ends"
    ]
    assert lab.intake.notices == ["The state cannot be written: the disk is full."]
    lab.arrivals.unwritable = set()
    run_for(lab, 2 * SETTLE)
    assert lab.taken()
    assert (lab.rings, lab.intake.notices) == (1, [])


class Until:
    """The lab's clock, which stops the intake's thread at its time."""

    def __init__(self, clock: FakeClock, seconds: float, stopping: threading.Event) -> None:
        self._clock, self._stopping = clock, stopping
        self._end = clock.monotonic() + seconds

    def __getattr__(self, name: str):
        return getattr(self._clock, name)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._clock.advance(seconds)
        if self._clock.monotonic() >= self._end:
            self._stopping.set()
        return event.is_set()


def run_for(lab: Lab, seconds: float) -> None:
    """The thread's own loop."""
    stopping = threading.Event()
    lab.intake._clock = Until(lab.clock, seconds, stopping)  # type: ignore[assignment]
    lab.intake.run(threading.Event(), stopping)


def test_a_dead_watch_is_rebuilt_before_the_scan_and_what_cannot_be_is_noticed(lab: Lab) -> None:
    lab.doorbell.well = False
    lab.doorbell.problem = "The inbox cannot be watched"
    run_for(lab, SCAN)
    assert lab.doorbell.rebuilt == 1
    assert lab.intake.notices == ["The inbox cannot be watched"]


def test_a_look_that_takes_long_is_followed_by_a_long_rest(lab: Lab) -> None:
    looks = []

    def slow_look() -> float:
        """There is always a sample that wants to be looked at at once."""
        looks.append(lab.clock.monotonic())
        lab.clock.advance(0.1)
        return SOONEST

    lab.intake.look = slow_look  # type: ignore[method-assign]
    run_for(lab, 3 * SCAN)
    assert [later - earlier for earlier, later in pairwise(looks)] == pytest.approx(
        [0.1 + REST * 0.1] * (len(looks) - 1)
    )
    assert len(looks) > 3


def test_loose_files_are_said_once_and_a_heap_of_them_by_number(lab: Lab, caplog) -> None:
    for number in range(7):
        (lab.inbox / f"loose-{number}.dcm").write_bytes(IMAGE)
    lab.look_for(3 * SETTLE)
    expected = [f"a loose file in the inbox is left alone: loose-{number}.dcm" for number in range(5)]
    expected.append("and 2 more loose files in the inbox are left alone")
    assert lab.intake.notices == [record.message for record in caplog.records] == expected
    for file in lab.inbox.iterdir():
        file.unlink()
    lab.intake.look()
    assert lab.intake.notices == []


def test_a_folder_with_a_retry_on_its_way_back_stays_until_that_is_through(lab: Lab) -> None:
    lab.drop()
    lab.settle()
    failed = lab.queue.fail(lab.queue.claim())
    lab.drop()
    lab.look_for(SETTLE - 1)
    lab.arrivals.busy_samples = lambda _: set()  # type: ignore[method-assign]
    lab.queue.endings.reopen(failed, reopening_of(lab, failed))
    lab.look_for(SCAN)
    assert lab.receiving() == {"A123"}
    assert len(lab.queue.views.submissions_of("A123")) == 1


def reopening_of(lab: Lab, submission: Submission):
    from moichord.queue.requests import reopening

    known = lab.queue.views.detail(submission.uuid)
    return reopening(known.submission, known.steps, known.images, None)


@pytest.mark.parametrize(
    ("name", "sample_id"),
    [
        ("A123", "A123"),
        ("A123.attempt-002", "A123"),
        ("A123.attempt-002.2", "A123"),
        ("A123.attempt-2", "A123.attempt-2"),
        ("bad name", None),
    ],
)
def test_a_folders_name_gives_the_sample_id(name: str, sample_id: str | None) -> None:
    assert sample_id_of(name, SAMPLE_ID) == sample_id


@pytest.mark.parametrize("name", ["A1\n", "A1\x1b", "A\udc80"])
def test_a_name_that_cannot_be_printed_is_no_sample_id_whatever_the_pattern_admits(name: str) -> None:
    assert sample_id_of(name, re.compile("^(?P<sample_id>.+)$", re.DOTALL)) is None
