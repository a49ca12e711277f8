"""What every thread is doing at the moment, and how long that may take: whether the daemon hangs.

Owns the deadlines that threads declare for their current doing. It must not know what those doings are, nor what
becomes of a thread that hangs. No error leaves it.

    within   comes back in that time. A thread that does not, nor in GRACE more, hangs: only a new start mends that
    share    waits for a disk or a share, for as long as it takes: a new start would wait in the same place. Once it
             has taken longer than usual, people are told
    untimed  waits for threads that have deadlines of their own

A thread that declares nothing rests. What is declared inside something else replaces it until it ends; then the outer
one has its whole time again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from moichord.clock import Clock

GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Doing:
    """What one thread does. `since` is wall-clock time, `due` monotonic (None: it may take for ever); seconds."""

    thread: str
    ident: int
    what: str
    since: float
    seconds: float | None
    due: float | None
    share: bool = False


class Pulse:
    """Told by all threads what they do; asked by one of them who hangs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doings: dict[int, Doing] = {}
        self._due: dict[int, float | None] = {}  # as told last; by the thread's ident, like the doings

    @contextmanager
    def within(self, seconds: float, what: str) -> Iterator[None]:
        """This thread does `what`, and comes back in `seconds`, or says meanwhile that it needs longer (`beat`)."""
        with self._doing(what, seconds, share=False):
            yield

    @contextmanager
    def share(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """This thread waits for `what`, which lies on a disk or share; it usually answers in `seconds`."""
        with self._doing(what, seconds, share=True):
            yield

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """This thread waits for others."""
        with self._doing("waits", None, share=False):
            yield

    def beat(self, seconds: float | None = None) -> None:
        """What this thread does is moving: from now on it may take `seconds` (None: its usual time) again."""
        ident = threading.get_ident()
        with self._lock:
            current = self._doings.get(ident)
            if current is not None and current.seconds is not None:
                self._due[ident] = self._clock.monotonic() + (current.seconds if seconds is None else seconds)

    def hanging(self) -> list[Doing]:
        """The threads that are overdue by more than GRACE, and wait for no share."""
        return self._overdue(share=False, grace=GRACE)

    def waiting(self) -> list[Doing]:
        """The threads that have waited for a disk or share for longer than it usually takes."""
        return self._overdue(share=True, grace=0.0)

    def _overdue(self, *, share: bool, grace: float) -> list[Doing]:
        now = self._clock.monotonic()
        with self._lock:
            all_of_them = [replace(one, due=self._due[ident]) for ident, one in self._doings.items()]
        return [one for one in all_of_them if one.share is share and one.due is not None and now > one.due + grace]

    @contextmanager
    def _doing(self, what: str, seconds: float | None, *, share: bool) -> Iterator[None]:
        thread = threading.current_thread()
        ident, name = threading.get_ident(), thread.name
        due = None if seconds is None else self._clock.monotonic() + seconds
        with self._lock:
            before = self._doings.get(ident)
            self._doings[ident] = Doing(name, ident, what, self._clock.now(), seconds, due, share)
            self._due[ident] = due
        try:
            yield
        finally:
            with self._lock:
                if before is None:
                    self._doings.pop(ident, None)
                    self._due.pop(ident, None)
                else:
                    self._doings[ident], self._due[ident] = before, before.due
            if before is not None:
                self.beat()
