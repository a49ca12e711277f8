"""Twice a second: what people asked for is carried out.

Owns the carrying out of retry and cancel. It must not decide what may be asked (`queue.requests` does). Errors:
StateUnwritable. A request that makes no sense is answered with the reason; one that a disk or share does not let
through is said once and tried again, later from time to time, and keeps neither another one nor a worker waiting.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moichord.cancelling import Cancellations
from moichord.clock import Bell, Clock
from moichord.conclusion import Conclusion
from moichord.ending import CANCELLED, Ending, as_it_is, of_submission
from moichord.errors import Hold, Moved, Stopped, UsageRefused
from moichord.pulse import Pulse
from moichord.queue.endings import Endings
from moichord.queue.requests import Request, Requests, reopening, require_cancellable, require_unaltered
from moichord.queue.rows import IllegalTransition
from moichord.queue.transitions import Transitions
from moichord.queue.views import Detail, Views
from moichord.sample import FINISHED, Image, State, Step, Submission, about
from moichord.spool import Spool, kind_of
from moichord.storage import Storage
from moichord.way_back import WayBack
from moichord.worker import trouble

log = logging.getLogger(__name__)

ATTENTION_SECONDS = 0.5
ATTENDING_SECONDS = 60.0
ANSWER_SECONDS = 600.0
SKIPPED_AT_MOST = 9
"""Looks that may be left out one after the other, because the state has not changed and nothing was left to do."""
FIRST_DELAY = 2.0
LONGEST_DELAY = 60.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What the attendant needs at hand.

    `images_in` gives the images of a folder, bytes by relative path; Hold if it cannot be read whole.
    """

    requests: Requests
    views: Views
    transitions: Transitions
    endings: Endings
    conclusion: Conclusion
    spool: Spool
    storage: Storage
    way_back: WayBack
    images_in: Callable[[Path], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a disk or share said to a request, after how many tries, and when it is tried again (monotonic seconds)."""

    problem: str = ""
    tries: int = 0
    until: float = 0.0


class Attendant:
    """Serves the people."""

    def __init__(
        self,
        desk: Desk,
        cancellations: Cancellations,
        bell: Bell,
        clock: Clock,
        pulse: Pulse,
    ) -> None:
        self._desk = desk
        self._cancellations = cancellations
        self._bell = bell
        self._clock = clock
        self._pulse = pulse
        self._claimed: set[str] = set()
        self._begun: set[int] = set()
        self._troubles: dict[int, Trouble] = {}
        self._mark: object = None
        self._skipped = 0

    def run(self, stopping: threading.Event) -> None:
        """Look until stopping."""
        while not stopping.is_set():
            with self._pulse.within(ATTENDING_SECONDS, "carries out requests"):
                self.look()
            self._clock.wait(stopping, ATTENTION_SECONDS)

    def look(self) -> None:
        """Carry out what was asked since the last look."""
        mark = self._desk.views.mark()
        if mark is None or mark != self._mark or self._skipped >= SKIPPED_AT_MOST:
            self._mark, self._skipped = None, 0
            self._mark = None if self._carry_out_all() else mark
        else:
            self._skipped += 1

    def _carry_out_all(self) -> bool:
        """Whether there was anything to carry out, which may not be done yet."""
        self._desk.requests.close_forgotten()
        # One that something unforeseen ended comes after all others, and so keeps none of them waiting.
        asked = sorted(self._desk.requests.open(), key=lambda one: one.number in self._begun)
        for request in asked:
            self._begun.add(request.number)
            with self._pulse.share(f"the folder of a sample ({request.kind})", ANSWER_SECONDS):
                outcome = self._carry_out(request)
            if outcome is not None:
                self._desk.requests.done(request, outcome)
                log.info("%s: %s", request.kind, outcome, extra=about(request.submission))
            self._begun.discard(request.number)
        return bool(asked)

    def _carry_out(self, request: Request) -> str | None:
        """What came of it; None if it is still to be done."""
        if self._clock.monotonic() < self._troubles.get(request.number, Trouble()).until:
            return None
        try:
            outcome = self._cancel(request) if request.kind == "cancel" else self._retry(request)
        except (OSError, Hold, Moved) as error:
            self._wait(request, error)
            return None
        except Stopped:
            return None  # the next start goes on with it
        self._troubles.pop(request.number, None)
        return outcome

    def _wait(self, request: Request, error: OSError | Hold | Moved) -> None:
        """Say once what a request waits for; what was only looked at is looked at again at once, all else later.

        A sample that was claimed for it is given back: in its hands others might wait for their turns.
        """
        before, problem = self._troubles.get(request.number, Trouble()), trouble(error)
        if before.problem != problem:
            log.error("%s: waits: %s", request.kind, problem, extra=about(request.submission))
        claimed = request.submission.uuid in self._claimed
        if isinstance(error, Hold) and not claimed:
            self._troubles[request.number] = Trouble(problem, before.tries)
            return
        seconds = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(before.tries, 10))
        self._troubles[request.number] = Trouble(problem, before.tries + 1, self._clock.monotonic() + seconds)
        if claimed:
            held_by = error.held_by if isinstance(error, Hold) else "disk"
            self._desk.transitions.hold(request.submission, problem, held_by, seconds)
            self._claimed.discard(request.submission.uuid)

    def _cancel(self, request: Request) -> str | None:
        """Stop it and move it to failed, unless its end is decided; None while a worker still has it in hand."""
        outcome = self._cancelled(request.submission)
        if outcome is not None:
            self._claimed.discard(request.submission.uuid)
            self._cancellations.forget(request.submission.uuid)
        return outcome

    def _cancelled(self, submission: Submission) -> str | None:
        if submission.state in FINISHED:
            return f"it is {submission.state}"
        try:
            require_cancellable(submission)
            if not self._cancellations.is_cancelled(submission.uuid):
                log.info("cancel: asked for; what is being sent is ended first", extra=about(submission))
            self._cancellations.cancel(submission.uuid)
            ending = _way_out(submission)
            if not self._desk.conclusion.is_gone(submission):
                self._desk.storage.require_place(kind_of(ending.outcome))
            if submission.uuid not in self._claimed:
                submission = self._claimed_for_cancel(submission)
        except IllegalTransition:
            return None
        except UsageRefused as refusal:
            return f"refused: {refusal.problem}"
        if submission.intent == "conclude":
            ending = self._desk.conclusion.carry_out(submission)
        else:
            ending = self._desk.conclusion.conclude(submission, CANCELLED)
        return f"it is {ending.outcome}"

    def _claimed_for_cancel(self, submission: Submission) -> Submission:
        """IllegalTransition while a worker has it; UsageRefused, and given back, if that one has brought it too far."""
        claimed = self._desk.transitions.claim_this(submission)
        try:
            require_cancellable(claimed)
        except UsageRefused as refusal:
            self._desk.transitions.release(claimed, refusal.problem)
            raise
        self._claimed.add(claimed.uuid)
        return claimed

    def _retry(self, request: Request) -> str:
        known = self._desk.views.detail(request.submission.uuid)
        submission, step = known.submission, known.submission.step
        try:
            if submission.intent == "bring_back":
                self._desk.storage.require_place(kind_of(submission.state))
            else:
                step = self._intend_return(known, request.from_step)
            self._desk.way_back.bring(submission)
        except IllegalTransition:
            return f"refused: {submission.sample_id} has changed meanwhile."
        except UsageRefused as refusal:
            return f"refused: {refusal.problem}"
        self._bell.ring()
        return f"goes on at {step}"

    def _intend_return(self, known: Detail, from_step: Step | None) -> Step:
        """From which step it goes on; UsageRefused, or IllegalTransition, where it cannot."""
        submission = known.submission
        how = reopening(submission, known.steps, known.images, from_step)
        if self._desk.views.newest(submission.sample_id) != submission:
            raise UsageRefused(
                f"A newer submission of {submission.sample_id} has come meanwhile.",
                remedy="Look at that one: it is the one that goes on.",
            )
        self._desk.storage.require_place(kind_of(submission.state))
        self._require_unaltered(submission, known.images)
        self._desk.way_back.begin(submission, how)
        return how.from_step

    def _require_unaltered(self, submission: Submission, images: Sequence[Image]) -> None:
        """Once its upload has begun, a sample goes on with the images that were planned, and no others."""
        if submission.state is State.DONE:
            return  # no image is sent any more
        if not any(image.upload_began for image in images):
            return
        folder = self._desk.spool.finished_folder("failed", submission.place or submission.folder_name, submission.uuid)
        require_unaltered(folder, images, self._desk.images_in(folder))


def _way_out(submission: Submission) -> Ending:
    """How a submission that is to be cancelled ends: as cancelled, unless its end was decided before."""
    return as_it_is(submission) if submission.intent == "conclude" else of_submission(submission, CANCELLED)
