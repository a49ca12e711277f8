"""How many submissions are worked on at once, apart from those that only wait for their long requests.

Owns the seats of the workers. There are more threads than seats: a worker whose sample is being sent in long requests,
which may take minutes, leaves its seat to another one meanwhile, so that large samples keep no small one waiting. It
goes on at once when they are over, since it may have to stop or to be cancelled; nobody begins something new before as
many seats are free again. It must not know what is done in a seat. No error leaves it.

A worker without a seat costs its thread alone, which sleeps: measured, 20 KiB of memory.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moichord.clock import Bell


class Seats:
    """`count` seats. `bell` wakes those who sit and wait for work, for one of them to make room."""

    def __init__(self, count: int, bell: Bell) -> None:
        self._free = count  # fewer than none while more have returned than there are seats
        self._changed = threading.Condition()
        self._bell = bell

    @property
    def wanted(self) -> bool:
        """Whether somebody has returned for whom there is no seat: who has nothing in hand gives theirs away."""
        with self._changed:
            return self._free < 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """In a seat, as soon as one is free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0)
            self._free -= 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Away from the seat; at the end back at once, whether or not one is free."""
        self._leave()
        try:
            yield
        finally:
            with self._changed:
                self._free -= 1
            self._bell.ring()

    def _leave(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()
