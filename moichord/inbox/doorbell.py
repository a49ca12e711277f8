"""Rings when something changes in the inbox, so that the next scan comes early.

Owns the watch: the only user of watchdog. It must not know samples or decide anything; what it misses, the scan finds.
It has no error of its own: where no watch can be had it says so once in the log, and the scan alone serves.

A watch may die while everything looks alive: the inbox is deleted, renamed away or unmounted, the queue of events
overflows, a thread ends. So `healthy` compares what the kernel watches with what lies under the inbox's name now; the
caller asks before each scan, and calls `rebuild`.
"""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

from moichord.inbox.filesystem import filesystem_type, identity, kernel_watches, readable_identity, reports_no_events

Choice = Literal["auto", "native", "polling"]
Kind = Literal["native", "polling", "none"]

MAX_SAMPLE_WATCHES = 1000

# Not opened, not modified: reading the samples would ring our own bell.
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]

logger = logging.getLogger(__name__)


class Doorbell:
    """Calls `ring` from a thread of its own when the inbox may have changed. One thread calls everything else.

    `ring` must only set an event. `observer` is the configured `watch.observer`; `polling_interval` in seconds is for
    file systems that report no events.
    """

    def __init__(
        self, inbox: Path, ring: Callable[[], None], observer: Choice = "auto", *, polling_interval: float = 5.0
    ) -> None:
        self._inbox = inbox
        self._handler = _Ringer(ring)
        self._choice = observer
        self._polling_interval = polling_interval
        self._kind: Kind = "none"
        self._observer: BaseObserver | None = None
        self._watch: ObservedWatch | None = None
        self._watched: tuple[int, int] | None = None
        self._samples: dict[str, ObservedWatch] = {}
        self._said: str | None = None
        self._problem: str | None = None

    @property
    def kind(self) -> Kind:
        """What rings at present: events of the system, polling, or nothing but the scan."""
        return self._kind

    @property
    def problem(self) -> str | None:
        """Why the watch is worse than it could be, for people; None while it lives as it should."""
        return self._problem

    @property
    def samples(self) -> frozenset[str]:
        """The samples whose own folders are watched."""
        return frozenset(self._samples)

    def start(self) -> None:
        """Watch the inbox as well as can be; afterwards `kind` says how."""
        problems = []
        for kind in self._kinds():
            try:
                self._begin(kind)
            except OSError as error:
                if (problem := _explained(error)) not in problems:
                    problems.append(problem)
                continue
            self._kind = kind
            self._say(kind, problems)
            return
        self._say("none", problems)

    def stop(self) -> None:
        """End the watch and its threads; harmless when there is none."""
        observer, self._observer, self._kind = self._observer, None, "none"
        self._watch, self._watched = None, None
        self._samples.clear()
        if observer is not None:
            _end(observer)

    def rebuild(self) -> None:
        """Begin anew after `healthy` said no; samples that were watched are watched again."""
        samples, before = tuple(self._samples), self._kind
        self.stop()
        self.start()
        if before == self._kind == "native":
            logger.info("The watch on the inbox had ended; it is watched anew")
        for name in samples:
            self.watch_sample(name)

    def alive(self) -> bool:
        """Whether all threads that an event passes through are running."""
        if self._observer is None or not self._observer.is_alive():
            return False
        # watchdog reads inotify in a thread that nothing else shows.
        reader = getattr(self._observer, "_inotify_fd", None)
        if reader is not None and not reader.is_alive():
            return False
        return any(emitter.is_alive() for emitter in self._observer.emitters if emitter.watch == self._watch)

    def healthy(self) -> bool:
        """Whether a change in what lies under the inbox's name now would ring."""
        if not self.alive() or self._watched is None or self._watched != identity(self._inbox):
            return False
        return self._kind != "native" or kernel_watches(self._watched[1])

    def watch_sample(self, name: str) -> bool:
        """Also ring for changes in this sample's own folder; say whether it is watched.

        For a ready marker, which appears there. At most `MAX_SAMPLE_WATCHES`; the scan serves the others.
        """
        if name in self._samples:
            return True
        if self._observer is None or len(self._samples) >= MAX_SAMPLE_WATCHES:
            return False
        try:
            self._samples[name] = self._schedule(self._observer, name)
        except OSError:
            return False
        return True

    def unwatch_sample(self, name: str) -> None:
        """Stop watching this sample's folder: it is to be taken, or is gone. Harmless if it is not watched."""
        watch = self._samples.pop(name, None)
        if watch is not None and self._observer is not None:
            with suppress(KeyError):
                self._observer.unschedule(watch)

    def _kinds(self) -> tuple[Literal["native", "polling"], ...]:
        match self._choice:
            case "native":
                return ("native",)
            case "polling":
                return ("polling",)
            case "auto":
                return ("polling",) if reports_no_events(filesystem_type(self._inbox)) else ("native", "polling")

    def _begin(self, kind: Literal["native", "polling"]) -> None:
        watched = readable_identity(self._inbox)  # watchdog passes over an unreadable folder in silence
        observer: BaseObserver = Observer() if kind == "native" else PollingObserver(timeout=self._polling_interval)
        try:
            watch = self._schedule(observer)
            observer.start()
        except (OSError, RuntimeError) as error:
            _end(observer)
            # RuntimeError is what Python says when the system gives no more threads.
            raise error if isinstance(error, OSError) else OSError(errno.EAGAIN, str(error)) from error
        self._observer, self._watch, self._watched = observer, watch, watched

    def _schedule(self, observer: BaseObserver, sample: str = "") -> ObservedWatch:
        # watchdog does not follow links, and the inbox itself may be one
        folder = os.path.join(os.path.realpath(self._inbox), sample)
        return observer.schedule(self._handler, folder, event_filter=_EVENTS)

    def _say(self, kind: Kind, problems: list[str]) -> None:
        """One line when the way of watching changes, not one for every attempt."""
        because = f": {'; '.join(problems)}" if problems else ""
        how = {
            "native": "The inbox is watched by events of the system again",
            "polling": f"The inbox is watched by polling{because}",
            "none": f"The inbox cannot be watched, it is only scanned from time to time{because}",
        }[kind]
        self._problem = how if problems else None
        if kind == (self._said or "native"):
            return
        self._said = kind
        logger.log(logging.WARNING if kind == "none" else logging.INFO, "%s", how)


class _Ringer(FileSystemEventHandler):
    """Rings for whatever happens; the scan will see what it was."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            self._ring()
        except (RuntimeError, OSError):
            # An error here would end watchdog's thread; the next scan comes by itself.
            logger.warning("The doorbell could not ring for a %s event", event.event_type, exc_info=True)


def _explained(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the limit of watches is reached (sysctl fs.inotify.max_user_watches)"
    if error.errno == errno.EMFILE:
        return "the limit of watchers is reached (sysctl fs.inotify.max_user_instances)"
    return error.strerror or str(error)


def _end(observer: BaseObserver) -> None:
    """Also for an observer that never started: watchdog has a thread and a descriptor before that."""
    observer.stop()
    if observer.is_alive():
        observer.join(timeout=5.0)
