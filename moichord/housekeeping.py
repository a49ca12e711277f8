"""What is done beside the samples: watching the disks, and deleting what the configuration says is old enough.

Owns when that is done. It must not decide where a sample is (`spool` deletes, and only a folder whose receipt is that
submission's) nor what holds it (`storage` does). Errors: StateUnwritable; what else goes wrong with one folder is said
once and tried again later.

Deleting is intent -> effect -> result, like every move: a deletion that was cut short is finished at the next look.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from moichord.clock import LARGEST_STEP, Clock
from moichord.errors import Hold
from moichord.pulse import Pulse
from moichord.queue.interruptions import Interruptions
from moichord.queue.retained import Retained
from moichord.queue.rows import IllegalTransition
from moichord.sample import State, Submission
from moichord.spool import Kind, Spool, kind_of
from moichord.storage import HELD_BY, Storage

log = logging.getLogger(__name__)

ANSWER_SECONDS = 60.0
RETENTION_SECONDS = 3600.0
STEADY_SECONDS = 600.0
FOLDERS_AT_ONCE = 20
DAY = 86400.0

STATES: dict[Kind, tuple[State, ...]] = {"done": (State.DONE,), "failed": (State.FAILED, State.CANCELLED)}


@dataclass(frozen=True, slots=True)
class Retention:
    """How long folders and rows are kept, in seconds since the sample ended; None: for ever."""

    done: float | None = None
    failed: float | None = None
    history: float | None = None

    def of(self, kind: Kind) -> float | None:
        return self.done if kind == "done" else self.failed


class SteadyClock:
    """Whether the wall clock can be believed: one that was set a moment ago may be wrong, and ages count from it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()
        self._since = clock.monotonic()

    def is_steady(self) -> bool:
        """Whether it has made no step for STEADY_SECONDS; to be asked more often than that."""
        monotonic = self._clock.monotonic()
        offset = self._clock.now() - monotonic
        if abs(offset - self._offset) > LARGEST_STEP:
            self._since = monotonic
        self._offset = offset
        return monotonic - self._since >= STEADY_SECONDS


class Housekeeping:
    """Looks after disks and old folders; `woken` is called when samples that waited for a disk may go on."""

    def __init__(
        self,
        storage: Storage,
        interruptions: Interruptions,
        retained: Retained,
        spool: Spool,
        clock: Clock,
        retention: Callable[[], Retention],
        woken: Callable[[], None],
        pulse: Pulse | None = None,
    ) -> None:
        self._storage = storage
        self._interruptions = interruptions
        self._retained = retained
        self._spool = spool
        self._clock = clock
        self._retention = retention
        self._woken = woken
        self._pulse = pulse or Pulse(clock)
        self._steady = SteadyClock(clock)
        self._hindered_since: float | None = None
        self._next_retention = clock.monotonic()
        self._said: dict[str, str] = {}

    def run(self, stopping: threading.Event, interval: Callable[[], float]) -> None:
        """Look every `interval()` seconds until stopping."""
        while not stopping.is_set():
            self.look()
            self._clock.wait(stopping, interval())

    def look(self) -> None:
        """One look at the disks; once an hour also at what is old enough to go."""
        with self._pulse.share("the folders work, done and failed", ANSWER_SECONDS):
            self._storage.look()
        self._note_hindrance()
        if self._storage.hindrance() is None:
            if self._interruptions.wake([HELD_BY[key] for key in self._storage.serving]):
                self._woken()
            self._keep_retention()

    def _note_hindrance(self) -> None:
        """The time in which nothing could begin is nobody's own."""
        now = self._clock.monotonic()
        if self._storage.hindrance() is not None:
            self._hindered_since = now if self._hindered_since is None else self._hindered_since
        elif self._hindered_since is not None:
            self._interruptions.exclude(now - self._hindered_since)
            self._hindered_since = None
            self._woken()

    def _keep_retention(self) -> None:
        steady = self._steady.is_steady()
        for submission in self._retained.intended():
            self._delete(submission)
        if not steady or self._clock.monotonic() < self._next_retention:
            return
        retention = self._retention()
        more = [self._delete_old(kind, age) for kind in STATES if (age := retention.of(kind)) is not None]
        if retention.history is not None:
            kept = [state for kind, states in STATES.items() if retention.of(kind) is None for state in states]
            more.append(self._retained.forget_before(self._clock.now() - retention.history, kept))
        if not any(more):
            self._next_retention = self._clock.monotonic() + RETENTION_SECONDS

    def _delete_old(self, kind: Kind, age: float) -> bool:
        """Delete some of the folders that are older than `age`; say whether there may be more."""
        old = self._retained.ended_before(self._clock.now() - age, STATES[kind], FOLDERS_AT_ONCE)
        for submission in old:
            try:
                self._retained.intend(submission)
            except IllegalTransition:
                continue  # it is being retried
            self._delete(submission)
        return len(old) == FOLDERS_AT_ONCE

    def _delete(self, submission: Submission) -> None:
        kind = kind_of(submission.state)
        place = submission.place or submission.folder_name
        about = {"sample": submission.sample_id, "submission": submission.uuid}
        try:
            self._storage.require_place(kind)
            found = self._spool.delete(kind, place, submission.uuid)
        except Hold:
            return  # said by the storage; tried again at the next look
        except OSError as error:
            problem = f"its folder cannot be deleted from {kind}: {error.strerror or error}"
            if self._said.get(submission.uuid) != problem:
                log.error("%s; tried again later", problem, extra=about)
            self._said[submission.uuid] = problem
            return
        self._said.pop(submission.uuid, None)
        days = (self._clock.now() - (submission.finished_at or 0.0)) / DAY
        what = "deleted" if found else "not deleted, since it was not there any more, or not this sample's"
        text = f"its folder in {kind} was {what}: it ended {days:.0f} days ago (archive.retention.{kind})"
        self._retained.deleted(submission, text)
        log.info("%s", text, extra=about)
