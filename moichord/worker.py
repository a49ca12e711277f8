"""One worker: claim a submission, run the pipeline, record how the turn ended.

Owns the meaning of every error that ends a turn. It must not know what the steps do, nor how a folder is moved.
Nothing leaves `work`: whatever goes wrong with one submission is that submission's, and is logged with its traceback.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from moichord import ending as ended
from moichord.cancelling import Cancellations
from moichord.clock import Bell
from moichord.conclusion import Conclusion
from moichord.ending import Ending
from moichord.errors import (
    ApiFailure,
    Hold,
    MoichordError,
    Moved,
    SampleFailure,
    StateUnwritable,
    Stopped,
)
from moichord.pipeline.equipment import Equipment
from moichord.pipeline.pipeline import Trip, run
from moichord.pulse import Pulse
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.journal import QueueJournal
from moichord.queue.rows import IllegalTransition
from moichord.queue.timekeeping import Timekeeper
from moichord.queue.transitions import Transitions
from moichord.retry import GiveUp, Policy
from moichord.sample import SENT_WHOLE, Step, Submission, about, printable
from moichord.seats import Seats
from moichord.spool import Spool
from moichord.storage import Storage

log = logging.getLogger(__name__)

LONGEST_WAIT = 5.0
SHORTEST_WAIT = 0.01
TROUBLE_SECONDS = 15.0
LONGEST_TROUBLE = 300.0
ANSWER_SECONDS = 600.0
SLOW_DISK = 8 * 1024 * 1024
"""Bytes a second; what moves less is said to wait for its disk or share."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a turn goes by; replaced as a whole when the configuration is reloaded."""

    equipment: Equipment
    retry: Policy


class Worker:
    """Gives one submission at a time its turn, until the daemon stops.

    Of those that have nothing to do one looks for work, for all of them; the others wait in line at `lookout`. Whoever
    finds some leaves the lookout to the next and sees to it: so idleness costs one look at a time, not one for each.
    """

    def __init__(
        self, turns: "Turns", seats: Seats, lookout: threading.Lock, stopping: threading.Event, bell: Bell
    ) -> None:
        self._turns = turns
        self._seats = seats
        self._lookout = lookout
        self._stopping = stopping
        self._bell = bell

    def work(self) -> None:
        """Claim and process until `stopping` is set, whenever there is a seat."""
        while not self._stopping.is_set():
            with self._seats.taken():
                self._work_seated()

    def _work_seated(self) -> None:
        while (submission := self._next()) is not None:
            self._turns.process(submission)
            self._bell.ring()  # what ended this turn may have made another submission due

    def _next(self) -> Submission | None:
        """The next submission, once there is one; None where the seat is wanted, or the daemon stops."""
        with self._lookout:
            while not self._stopping.is_set():
                rung = self._bell.count
                if self._seats.wanted:
                    return None
                found = self._turns.claim()
                if isinstance(found, Submission):
                    return found
                self._bell.wait(rung, found)
        return None


class Turns:
    """What a turn is, and how each one ends."""

    def __init__(
        self,
        database: Database,
        transitions: Transitions,
        circuits: Circuits,
        conclusion: Conclusion,
        spool: Spool,
        storage: Storage,
        time: Timekeeper,
        rules: Callable[[], Rules],
        cancellations: Cancellations,
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse or Pulse(time.clock)
        self._database = database
        self._transitions = transitions
        self._circuits = circuits
        self._conclusion = conclusion
        self._spool = spool
        self._storage = storage
        self._time = time
        self._clock = time.clock
        self._rules = rules
        self._cancellations = cancellations
        self._troubles: dict[str, tuple[int, str]] = {}
        self._unwritable = False

    def claim(self) -> Submission | float:
        """The submission whose turn it is; or, if none is due, in how many seconds to look again."""
        if self._storage.hindrance() is not None:
            return LONGEST_WAIT
        try:
            submission = self._transitions.claim()
            due = None if submission else self._transitions.next_due()
        except StateUnwritable as error:
            self._note_unwritable(error)
            return LONGEST_WAIT
        if submission is not None:
            self._note_writable()
            return submission
        return LONGEST_WAIT if due is None else min(LONGEST_WAIT, max(SHORTEST_WAIT, due - self._clock.now()))

    def process(self, submission: Submission) -> None:
        """One turn of one submission."""
        rules = self._rules()
        journal = QueueJournal(
            self._database,
            self._time,
            self._circuits,
            submission,
            lambda: self._why_stop(trip),
        )
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        trip = Trip(journal, rules.equipment, folder, step=submission.step, renewed=lambda: self._rules().equipment)
        log.info("processing", extra=about(submission, submission.step))
        seconds = ANSWER_SECONDS + submission.size / SLOW_DISK
        try:
            # Requests and commits have deadlines of their own; all else is done with files, image by image.
            with self._pulse.share(f"the files of {submission.sample_id}", seconds):
                self._take_turn(trip, submission, rules)
        except StateUnwritable as error:
            # What was not committed has not happened. The row says processing: given back once writing works.
            self._note_unwritable(error)
            why = str(error)
            self._give_back(submission, lambda: self._transitions.release(submission, why))
        except Exception:
            log.exception("unforeseen; tried again later", extra=about(submission, trip.step))
            self._after_the_unforeseen(trip, submission, rules)

    def _take_turn(self, trip: Trip, submission: Submission, rules: Rules) -> None:
        """A turn that may end in waiting, without a fault of the sample's own."""
        try:
            self._turn(trip, submission, rules)
            self._troubles.pop(submission.uuid, None)
        except Stopped as stopped:
            self._transitions.release(submission, str(stopped))
        except Hold as hold:
            log.info("waiting: %s", hold, extra=about(submission, trip.step))
            self._transitions.hold(submission, hold.problem, hold.held_by, hold.seconds)
        except (OSError, Moved) as error:
            seconds = self._note_trouble(trip, submission, trouble(error))
            self._transitions.hold(submission, trouble(error), "disk", seconds)

    def _why_stop(self, trip: Trip) -> str | None:
        """Why a submission is to be left now, if it is; raises Hold if the disks cannot take what comes next."""
        self._pulse.beat()
        why = self._cancellations.why_stop(trip.journal.submission.uuid, trip.step)
        if why is None:
            self._storage.require(filing=trip.step is Step.ARCHIVE)
        return why

    def _note_trouble(self, trip: Trip, submission: Submission, problem: str) -> float:
        """Say once what is wrong with the disk; in how many seconds to try again."""
        if problem != self._troubles.get(submission.uuid, (0, ""))[1]:
            log.error("waiting: %s", problem, extra=about(submission, trip.step))
        return self._seconds_of_trouble(submission, problem)

    def _seconds_of_trouble(self, submission: Submission, problem: str) -> float:
        """Longer from time to time, until a turn ends well."""
        times, _ = self._troubles.get(submission.uuid, (0, ""))
        self._troubles[submission.uuid] = (times + 1, problem)
        return min(LONGEST_TROUBLE, TROUBLE_SECONDS * 2.0 ** min(times, 10))

    def _note_unwritable(self, error: StateUnwritable) -> None:
        if not self._unwritable:
            log.error("%s; samples wait until that ends", error)
        self._unwritable = True

    def _note_writable(self) -> None:
        if self._unwritable:
            log.warning("the state can be written again")
        self._unwritable = False

    def _turn(self, trip: Trip, submission: Submission, rules: Rules) -> None:
        """Run the pipeline and end the submission, if it comes to an end in this turn."""
        if submission.intent == "conclude":
            self._conclusion.carry_out(submission)
            return
        ending = ended.DONE if self._conclusion.is_gone(submission) else self._run(trip, submission, rules)
        if ending is not None:
            self._conclusion.conclude(submission, ending)

    def _run(self, trip: Trip, submission: Submission, rules: Rules) -> Ending | None:
        """How the submission ends; None if a failed request lets it wait."""
        try:
            if submission.doomed is not None:
                raise SampleFailure(f"{submission.doomed}.", remedy=ended.DOOMED_REMEDY)
            run(trip)
        except SampleFailure as failure:
            return ended.failed(failure)
        except ApiFailure as failure:
            return self._after_failed_request(trip, submission, failure, rules)
        except Stopped:
            if self._cancellations.ends(submission.uuid, trip.step):
                return ended.CANCELLED
            raise
        return ended.DONE

    def _after_failed_request(
        self, trip: Trip, submission: Submission, failure: ApiFailure, rules: Rules
    ) -> Ending | None:
        decision = self._transitions.defer(submission, trip.step, failure, rules.retry)
        if isinstance(decision, GiveUp):
            return ended.given_up(failure, decision.why)
        log.warning("waiting: %s", failure.problem, extra=about(submission, trip.step))
        return None

    def _after_the_unforeseen(self, trip: Trip, submission: Submission, rules: Rules) -> None:
        """A fault of moichord's own: a try like any other, but a sample that was sent whole never fails for it."""
        try:
            if trip.step in SENT_WHOLE or submission.intent is not None or trip.step not in trip.journal.steps():
                self._hold_after_the_unforeseen(submission)
            elif self._transitions.postpone(submission, trip.step, ended.UNFORESEEN, rules.retry) is None:
                self._conclusion.conclude(submission, ended.BROKEN)
        except Exception:
            log.exception("its turn could not be ended", extra=about(submission))
            self._give_back(submission, lambda: self._hold_after_the_unforeseen(submission))

    def _hold_after_the_unforeseen(self, submission: Submission) -> None:
        seconds = self._seconds_of_trouble(submission, ended.UNFORESEEN)
        self._transitions.hold(submission, ended.UNFORESEEN, "internal error", seconds)

    def _give_back(self, submission: Submission, write: Callable[[], None]) -> None:
        """`write` that its turn is over, at whatever cost: in nobody's hands it would wait for ever."""
        while True:
            try:
                write()
            except IllegalTransition:
                return  # its turn did end after all
            except StateUnwritable as error:
                self._note_unwritable(error)
            except Exception:
                log.exception("it could not be given back; tried again", extra=about(submission))
            else:
                self._note_writable()
                return
            if self._clock.wait(self._cancellations.stopping, LONGEST_WAIT):
                return  # the next start finds it


def trouble(error: OSError | Moved | Hold) -> str:
    """What is wrong with a disk or share, for people."""
    if isinstance(error, MoichordError):
        return error.problem
    place = f" ({printable(os.fsdecode(error.filename))})" if error.filename else ""
    return f"The disk does not do what it should: {error.strerror or error}{place}"
