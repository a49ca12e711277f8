"""The thread that posts a report of every failed sample, one after the other, until each is taken.

Owns how far the reports have come, and what people hear of a server that takes none. It must not know what is in a
report, nor HTTP. Errors: StateUnwritable.

A report that the server refuses for what it is, time and again, is given up, and the log says so; one that cannot be
made is kept, and keeps no other waiting; all other troubles are the server's, and every report waits for it.
"""

import logging
import threading
from collections.abc import Callable

from moichord.clock import Clock
from moichord.errors import NotTold, StateUnwritable
from moichord.queue.announcements import Announcements
from moichord.status.notify.timing import retry_after
from moichord.status.notify.unmade import Unmade
from moichord.status.phrases import moment

log = logging.getLogger(__name__)

MARK = "report"
LOOK_SECONDS = 1.0
AT_ONCE = 20
REFUSED_TIMES = 3
LINES_COME_WITHIN = 2.0
"""Seconds after the row of history in which the log has its line of the same."""

UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What rows and records may raise that are as nobody foresaw, on their way into a report."""

Post = Callable[[str, bytes], None]


class Reports:
    """`url` is where reports go now, `report` makes that of a submission, `post` sends one or raises NotTold."""

    def __init__(
        self,
        announcements: Announcements,
        url: Callable[[], str | None],
        report: Callable[[str], bytes],
        post: Post,
        clock: Clock,
    ) -> None:
        self._announcements = announcements
        self._url = url
        self._report = report
        self._post = post
        self._clock = clock
        self._unmade = Unmade(announcements, clock)
        self._mark: int | None = None
        self._marked: int | None = None
        self._idle = False
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0
        self._problem: str | None = None
        self._since = 0.0

    @property
    def notices(self) -> list[str]:
        """What people should know."""
        problem = self._problem
        if problem is None:
            return self._unmade.notices
        since = moment(self._since, self._clock.now())
        return [f"{problem}, since {since}; reports are kept, and tried again", *self._unmade.notices]

    def run(self, stopping: threading.Event) -> None:
        """Look every second until stopping."""
        while not stopping.is_set():
            try:
                self.look(stopping)
            except StateUnwritable:
                if stopping.is_set():
                    return  # it is closed; what was posted last may be posted again
                raise
            self._clock.wait(stopping, LOOK_SECONDS)

    def look(self, stopping: threading.Event) -> None:
        """Post what is due."""
        url = self._url()
        if url is None:
            self._forget()
            return
        self._idle = False
        self._unmade.save()
        self._remember(self._begun())
        if self._clock.monotonic() < self._not_before:
            return
        for number, submission, at in [*self._unmade.due(), *self._announcements.failures(self._begun(), AT_ONCE)]:
            too_early = 0 <= self._clock.now() - at < LINES_COME_WITHIN
            if stopping.is_set() or too_early:
                return
            report = self._made(number, submission)
            if report is not None and not self._posted(url, submission, report):
                return
            self._mark = max(number, self._begun())
            if report is not None:
                self._unmade.made(number)
            self._remember(self._mark)

    def _begun(self) -> int:
        """The row after which failures are to be reported: those that come from the first look on."""
        if self._mark is None:
            known = self._announcements.marks().get(MARK)
            self._mark = self._announcements.last() if known is None else known
            self._marked = known
        return self._mark

    def _remember(self, number: int) -> None:
        if self._marked != number:
            self._announcements.mark(MARK, number)
            self._marked = number

    def _forget(self) -> None:
        """Nobody wants reports: whoever does later wants those of that time."""
        if not self._idle:
            self._announcements.forget_others(MARK, ())
            self._unmade.forget()
            self._mark = self._marked = self._problem = None
            self._idle = True

    def _made(self, number: int, submission: str) -> bytes | None:
        """The report; None if it is kept for later."""
        try:
            return self._report(submission)
        except UNFORESEEN:
            if self._unmade.keep(number):
                words = "a report of a failed sample cannot be made; it is kept, and tried again"
                log.exception(words, extra={"submission": submission})
            return None

    def _posted(self, url: str, submission: str, report: bytes) -> bool:
        """Whether the next report may follow."""
        try:
            self._post(url, report)
        except NotTold as error:
            self._refusals += error.refused
            if self._refusals >= REFUSED_TIMES:
                log.error("%s; this report is given up", error.problem, extra={"submission": submission})
                self._problem, self._failures, self._refusals = None, 0, 0
                return True
            self._not_before = self._clock.monotonic() + retry_after(self._failures)
            self._failures += 1
            if self._problem is None:
                self._since = self._clock.now()
                log.error("%s; reports are kept, and tried again", error.problem)
            self._problem = error.problem
            return False
        if self._problem is not None:
            log.warning("notify.report_url: the server takes reports again")
        self._problem, self._failures, self._refusals = None, 0, 0
        return True
