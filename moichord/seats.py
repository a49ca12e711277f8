"""How many submissions are worked on at once, apart from those that only wait for their long requests.

Owns the seats of the workers. There are more threads than seats: a worker whose sample is being sent in long requests,
which may take minutes, leaves its seat to another one meanwhile, so that large samples keep no small one waiting. It
goes on once a seat is free, before anybody begins something new. It must not know what is done in a seat. No error
leaves it.

A worker without a seat costs its thread alone, which sleeps: measured, 20 KiB of memory.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moichord.clock import Bell


class Seats:
    """`count` seats. `bell` wakes those who sit and wait for work, for one of them to make room."""

    def __init__(self, count: int, bell: Bell) -> None:
        self._free = count
        self._returning = 0
        self._changed = threading.Condition()
        self._bell = bell

    @property
    def wanted(self) -> bool:
        """Whether somebody who had left a seat would go on: who has nothing in hand gives theirs away."""
        with self._changed:
            return self._returning > self._free

    @contextmanager
    def taken(self) -> Iterator[None]:
        """In a seat, as soon as one is free that nobody returns to."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > self._returning)
            self._free -= 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Away from the seat; at the end in one again."""
        self._leave()
        try:
            yield
        finally:
            with self._changed:
                self._returning += 1
            self._bell.ring()
            with self._changed:
                self._changed.wait_for(lambda: self._free > 0)
                self._returning -= 1
                self._free -= 1

    def _leave(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()
