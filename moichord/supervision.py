"""What the supervisor of the daemon (systemd) is told: that it is ready, how it stands, that it is alive.

Owns when that is told, and a thread of its own for it, which touches no disk and no share. It must not know how it is
sent (`sd_notify`), nor what the threads do. Without a supervisor nothing runs. No error leaves it.

    ready      once what an earlier run began is finished and the inbox is looked at; or earlier, once the daemon waits
               for a share, or START_SECONDS are over: from then on it goes on by itself, and the status says what is up
    alive      as long as no thread hangs. A thread that waits for a share does not count as hanging: a new start
               would wait for the same share, again and again
    stopping   with the time that requests in flight may still take
"""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moichord.clock import Clock
from moichord.pulse import Doing, Pulse
from moichord.sd_notify import Notifier, microseconds, status
from moichord.status.phrases import moment

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
START_SECONDS = 20.0
MARGIN_SECONDS = 30.0


class Supervision:
    """Tells the supervisor. `watchdog` is how often it must hear of us, in seconds; None if it does not watch."""

    def __init__(self, notifier: Notifier, watchdog: float | None, pulse: Pulse, clock: Clock) -> None:
        self._notifier = notifier
        self._pulse = pulse
        self._clock = clock
        self._interval = None if watchdog is None else watchdog / 2
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready = False
        self._ready_by = clock.monotonic() + START_SECONDS
        self._drained_by: float | None = None
        self._text = "starting"
        self._shown: str | None = None
        self._next_beat = clock.monotonic()
        self._said: set[tuple[int, float]] = set()

    @property
    def listened_to(self) -> bool:
        return self._notifier.listened_to

    def start(self) -> None:
        """Begin to tell, from a thread of its own, if there is anybody to tell."""
        if self.listened_to:
            self._thread = threading.Thread(target=self._run, name="supervision", daemon=True)
            self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def show(self, text: str) -> None:
        """How it stands now; told within a second."""
        self._text = text

    def ready(self) -> None:
        """The daemon serves, or will by itself."""
        with self._lock:
            if not self._ready:
                self._ready = True
                self._tell_status("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around the reading of a changed configuration, whatever comes of it."""
        self._notifier.tell("RELOADING=1", microseconds("MONOTONIC_USEC", self._clock.monotonic()))
        try:
            yield
        finally:
            self._notifier.tell("READY=1")

    def stopping(self, seconds: float) -> None:
        """The daemon ends; requests in flight may take so many seconds more."""
        with self._lock:
            self._ready, self._drained_by = True, self._clock.monotonic() + seconds
            self._text = f"stopping: requests in flight may take {seconds:g} s more"
            self._tell_status("STOPPING=1")

    def notices(self) -> list[str]:
        """What people should know: who waits for a share, and who hangs."""
        now = self._clock.now()
        said = [_waits(one, now) for one in self._pulse.waiting()]
        return said + [_hangs(one, now) for one in self._pulse.hanging()]

    def tick(self) -> None:
        """Tell what is new or due."""
        now = self._clock.monotonic()
        alive = self._is_alive()
        with self._lock:
            if not self._ready and now >= self._ready_by:
                self._ready = True
                self._tell_status("READY=1")
            due = []
            if self._interval is not None and now >= self._next_beat and alive:
                self._next_beat = now + self._interval - TICK_SECONDS / 2
                due.append("WATCHDOG=1")
            if self._drained_by is not None and now < self._drained_by:
                due.append(microseconds("EXTEND_TIMEOUT_USEC", self._drained_by - now + MARGIN_SECONDS))
            if self._status() != self._shown:
                self._tell_status(*due)
            elif due:
                self._notifier.tell(*due)

    def _run(self) -> None:
        tick = TICK_SECONDS if self._interval is None else min(TICK_SECONDS, self._interval / 2)
        while not self._clock.wait(self._over, tick):
            self.tick()

    def _tell_status(self, *messages: str) -> None:
        self._shown = self._status()
        self._notifier.tell(*messages, status(self._shown))

    def _status(self) -> str:
        return "; ".join([self._text, *(notice for notice in self.notices() if notice not in self._text)])

    def _is_alive(self) -> bool:
        hanging = self._pulse.hanging()
        for one in hanging:
            if (one.ident, one.since) not in self._said:
                log.critical("%s%s", _hangs(one, self._clock.now()), _where(one))
        self._said = {(one.ident, one.since) for one in hanging}
        return not hanging


def describe(line: Callable[[], str], supervision: Supervision, stopping: threading.Event, clock: Clock) -> None:
    """Show what `line` says, once a second, until `stopping`; in a thread of its own, for it may wait for a share."""
    while not clock.wait(stopping, TICK_SECONDS):
        supervision.show(line())


def _waits(doing: Doing, now: float) -> str:
    return f"no answer from {doing.what} since {moment(doing.since, now)}; what needs it waits, and goes on by itself"


def _hangs(doing: Doing, now: float) -> str:
    return f"the thread {doing.thread} hangs since {moment(doing.since, now)} ({doing.what}): restart moichord"


def _where(doing: Doing) -> str:
    """The lines of code in which that thread is."""
    frame = sys._current_frames().get(doing.ident)  # documented: for finding deadlocks
    return "" if frame is None else "\n" + "".join(traceback.format_stack(frame)).rstrip()
