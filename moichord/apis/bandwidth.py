"""How fast bodies may go out: one limit for all uploads together.

Owns the sharing of the line's time. It must not know what is sent, nor wait (the body that is being sent does). No
error leaves it.

Each block books the time that it takes at the limit, one behind the other, whichever request it belongs to: so the
requests share the limit, and a block that came late takes nothing away from those that follow.
"""

import threading
from dataclasses import dataclass

CREDIT_SECONDS = 0.25
"""How much time of an idle line may be made up for: a thread that wakes late does not slow the line down."""

BLOCKS_PER_SECOND = 10
"""A server hears of a request so often, however low the limit: its own timeout for the next bytes must not end it."""


class Line:
    """The time of one line, in seconds of the monotonic clock. Any thread may book."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at: float | None = None

    def book(self, seconds: float, now: float) -> float:
        """Take the line for `seconds`; give the seconds after which they begin."""
        with self._lock:
            begins = now if self._free_at is None else max(self._free_at, now - CREDIT_SECONDS)
            self._free_at = begins + seconds
        return max(0.0, begins - now)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """`limit` bytes per second on a line that others share; each of them may have a limit of its own."""

    limit: int
    line: Line

    def largest(self, size: int) -> int:
        """How many of `size` bytes may go out at once."""
        return max(1, min(size, self.limit // BLOCKS_PER_SECOND))

    def book(self, count: int, now: float) -> float:
        """`count` bytes are to go out: the seconds that they must wait for that."""
        return self.line.book(count / self.limit, now)
