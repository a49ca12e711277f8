"""Time, waiting and stopping, injected wherever a module needs them.

Owns the two clocks (wall-clock UTC for what is persisted, monotonic for what is measured) and the bell that wakes.
It must not know what is being waited for. No error leaves it.
"""

import threading
import time
from typing import Protocol

LARGEST_STEP = 60.0
"""Seconds by which the wall clock may leave the monotonic one and still count as corrected, not as set."""


class Clock(Protocol):
    """What a module may ask of time. Tests pass a clock whose hands they move themselves."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch, UTC: for what is persisted or shown."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump: for durations within one process."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; say whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(max(0.0, seconds))


class Bell:
    """Wakes those who wait for work. A ring between looking for work and waiting is not lost."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How often it has rung; to be read before looking for work."""
        with self._rung:
            return self._count

    def ring(self) -> None:
        with self._rung:
            self._count += 1
            self._rung.notify_all()

    def wait(self, count: int, seconds: float) -> None:
        """Return when it has rung since it had rung `count` times, or after `seconds`."""
        with self._rung:
            self._rung.wait_for(lambda: self._count != count, timeout=seconds)
