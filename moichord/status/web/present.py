"""How it stands, read at most once for all who look at the page, and only when something has changed.

Owns the last look and the pace of uploads. It must not know who looks, or how it is drawn. Errors: StateUnwritable if
the state cannot be read.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from moichord.clock import Clock
from moichord.queue.database import Database
from moichord.queue.views import Views
from moichord.status.line import sent_now
from moichord.status.pace import Pace
from moichord.status.standing import Standing, look

SOONEST = 1.0
LATEST = 15.0
SHARE_OF_TIME = 10.0
"""A look that takes long is taken the more rarely: a tenth of the time at most goes into looking."""


class Present:
    """The state at this moment, shared by all who ask, with at most `most` of the samples in work.

    `soonest` seconds lie between two looks at least.
    """

    def __init__(
        self, database: Database, failed: Path, clock: Clock, *, soonest: float = SOONEST, most: int | None = None
    ) -> None:
        self._database = database
        self._views = Views(database)
        self._failed = failed
        self._clock = clock
        self._soonest = soonest
        self._most = most
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._edition: Callable[[], int] | None = None
        self._seen: int | None = None
        self._standing: Standing | None = None
        self._looked_at = 0.0
        self._not_before = 0.0
        self._pace = Pace()
        self.number = 0
        """How often something new was seen."""

    def standing(self) -> Standing:
        """How it stands now, or stood a moment ago."""
        with self._lock:
            self._look_if_changed()
            assert self._standing is not None  # noqa: S101  # the first look always takes place
            return self._standing

    def look_again(self) -> int:
        """Look, if there is something new; `number` as it is then."""
        with self._lock:
            self._look_if_changed()
            return self.number

    def seconds_for(self, size: int) -> float | None:
        """How long this many bytes take at the pace of all uploads; None as long as that is not known."""
        with self._lock:
            return self._pace.seconds_for(size)

    def close(self) -> None:
        with self._lock:
            self._open.close()
            self._edition = None

    def _look_if_changed(self) -> None:
        began = self._clock.monotonic()
        if self._standing is not None and began < self._not_before:
            return
        if self._edition is None:
            self._edition = self._open.enter_context(self._database.edition())
        edition = self._edition()
        if self._standing is not None and edition == self._seen and began - self._looked_at < LATEST:
            return
        self._standing = look(self._views, self._failed, _it_runs, self._clock, most=self._most)
        self._pace.note(began, sent_now(self._standing))
        took = self._clock.monotonic() - began
        self._seen, self._looked_at = edition, began
        self._not_before = began + took + max(self._soonest, SHARE_OF_TIME * took)
        self.number += 1


def _it_runs() -> bool:
    return True  # whoever serves this page is the daemon
