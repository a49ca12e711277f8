"""How fast images go out, and so how long the rest will take.

Owns the measuring, over the last minute. It must not know where the numbers come from. Pure but for what it remembers;
no error leaves it.
"""

from collections import deque
from collections.abc import Mapping

WINDOW = 60.0
SOONEST = 5.0


class Pace:
    """Bytes in a second, of all samples together. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._sent: Mapping[str, int] = {}
        self._total = 0
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, at: float, sent: Mapping[str, int]) -> None:
        """At that time this many bytes of each sample were sent; what is sent again after a failure does not count."""
        self._total += sum(max(0, now - self._sent.get(name, now)) for name, now in sent.items())
        self._sent = dict(sent)
        self._seen.append((at, self._total))
        while len(self._seen) > 1 and self._seen[0][0] < at - WINDOW:
            self._seen.popleft()

    def seconds_for(self, size: int) -> float | None:
        """How long `size` more bytes take at this pace; None as long as that cannot be said."""
        if not self._seen:
            return None
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        if end - begin < SOONEST or after == before:
            return None
        return size * (end - begin) / (after - before)
