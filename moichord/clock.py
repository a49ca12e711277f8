"""Time, waiting and stopping, injected wherever a module needs them.

Owns the two clocks (wall-clock UTC for what is persisted, monotonic for what is measured) and the one event
that ends the process. It must not know what is being waited for. No error leaves it.
"""

import threading
import time
from typing import Protocol


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
