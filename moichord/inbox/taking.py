"""The taking of settled folders: intent, renames, one fsync of each parent, result.

Owns what happens between the decision and the row that says ready, and for how long a folder that may not be renamed
is left alone. It must not decide what is taken. StateUnwritable leaves it; the taking is then finished by the next
`take_up`, like one whose folders could not be made durable.
"""

import logging

from moichord.clock import Clock
from moichord.queue.arrivals import Arrivals, Taking
from moichord.sample import Submission, about
from moichord.spool import Spool

log = logging.getLogger(__name__)

TRY_RENAME_AGAIN_AFTER = 60.0


class Taker:
    """Takes what the intake has chosen."""

    def __init__(self, arrivals: Arrivals, spool: Spool, clock: Clock) -> None:
        self._arrivals = arrivals
        self._spool = spool
        self._clock = clock
        self._blocked: dict[str, tuple[float, str]] = {}
        self.unfinished = False
        """Whether there may be intents whose result is not recorded."""
        self.problem: str | None = None
        """Why nothing more is taken at present, for people."""

    def restore(self) -> None:
        """A start may have been hindered in finishing the takings that an earlier run had begun."""
        self.unfinished = bool(self._arrivals.intended())

    def blocked(self, folder_name: str) -> str | None:
        """Why this folder is not to be tried now: it could not be renamed a short while ago."""
        until, problem = self._blocked.get(folder_name, (0.0, None))
        return problem if self._clock.monotonic() < until else None

    def forget(self, folder_name: str) -> None:
        """The folder has left the inbox."""
        self._blocked.pop(folder_name, None)

    def take(self, ready: list[Taking]) -> list[Submission]:
        """Take these folders; the submissions whose folders are in work now, durably."""
        if not ready:
            return []
        self.unfinished = True
        return self._finish(self._arrivals.intend(ready))

    def take_up(self) -> list[Submission]:
        """Finish the takings that could not be finished; only while the inbox is there."""
        return self._finish(self._arrivals.intended())

    def _finish(self, intended: list[Submission]) -> list[Submission]:
        try:
            refusals = self._spool.take([(submission.folder_name, submission.uuid) for submission in intended])
        except OSError as error:
            self._hold(error)
            return []
        moved = [submission for submission in intended if refusals[submission.uuid] is None]
        self._arrivals.taken(moved)
        for submission in moved:
            self.forget(submission.folder_name)
            log.info(
                "taken, attempt %d, %d images",
                submission.attempt_number,
                submission.image_count,
                extra=about(submission),
            )
        for submission in intended:
            refusal = refusals[submission.uuid]
            if refusal is not None:
                self._stays(submission, refusal.problem, gone=refusal.gone)
        self.unfinished = False
        self.problem = None
        return moved

    def _hold(self, error: OSError) -> None:
        problem = (
            f"what was taken cannot be made durable ({error.strerror or error}): nothing more is taken until it can"
        )
        if problem != self.problem:
            log.error("%s", problem)
        self.problem = problem

    def _stays(self, submission: Submission, problem: str, *, gone: bool) -> None:
        """It was not moved: one that somebody took away is forgotten, another is tried again in a while."""
        if gone:
            self._arrivals.withdraw(submission, None)
            return
        known = self._blocked.get(submission.folder_name, (0.0, ""))[1] == problem
        self._arrivals.withdraw(submission, None if known else problem)
        if not known:
            log.warning("not taken: %s", problem, extra=about(submission))
        self._blocked[submission.folder_name] = (self._clock.monotonic() + TRY_RENAME_AGAIN_AFTER, problem)
