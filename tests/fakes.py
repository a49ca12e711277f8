"""Stand-ins with behaviour, for what a test must hold in its own hands."""

import threading


class FakeClock:
    """A clock whose hands the test moves; whoever waits by it moves them too, and never really waits."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._hands = threading.Lock()
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        with self._hands:
            return self._now

    def monotonic(self) -> float:
        with self._hands:
            return self._monotonic

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if event.is_set():
            return True
        self.advance(max(0.0, seconds))
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        with self._hands:
            self._now += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the machine's wall clock, forward or back."""
        with self._hands:
            self._now += seconds
