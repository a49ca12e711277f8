"""One daemon's rooms, wired together and not started yet.

Owns which part is given to which. It must not start anything, nor know what the rooms do. No error leaves it.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from moichord import watching, wiring
from moichord.attendant import Attendant, Desk, Sending
from moichord.clock import Bell, Clock
from moichord.conclusion import Conclusion
from moichord.config import Settings
from moichord.errors import Hold
from moichord.housekeeping import Housekeeping, Retention
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.intake import Intake
from moichord.inbox.seen import FolderSeen
from moichord.pipeline.equipment import Contents
from moichord.pipeline.upload_pool import UploadPool
from moichord.queue.arrivals import Arrivals
from moichord.queue.bulletin import Bulletin
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.endings import Endings
from moichord.queue.holder import lock_file_of
from moichord.queue.interruptions import Interruptions
from moichord.queue.mounts import Mounts
from moichord.queue.requests import Requests
from moichord.queue.retained import Retained
from moichord.queue.timekeeping import Timekeeper
from moichord.queue.transitions import Transitions
from moichord.queue.views import Views
from moichord.spool import Spool
from moichord.storage import Key, Storage, free_space
from moichord.worker import Cancellations, Rules, Turns, Worker


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything that one daemon consists of, wired together and not started yet."""

    spool: Spool
    arrivals: Arrivals
    transitions: Transitions
    interruptions: Interruptions
    endings: Endings
    storage: Storage
    housekeeping: Housekeeping
    intake: Intake
    doorbell: Doorbell
    attendant: Attendant
    sending: Sending
    pool: UploadPool
    turns: Turns
    workers: tuple[Worker, ...]
    manifest_of: Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Signals:
    """What stops and wakes the threads: the daemon's end, a ring from the inbox, work for the workers."""

    stopping: threading.Event
    ring: threading.Event
    bell: Bell

    def stop(self) -> None:
        self.stopping.set()
        self.ring.set()
        self.bell.ring()


def furnish(
    settings: Settings,
    clock: Clock,
    database: Database,
    state_uuid: str,
    clients: wiring.Clients,
    signals: Signals,
    free: Callable[[Path], int] = free_space,
) -> Rooms:
    """Wire the rooms of one daemon. `free` gives the free bytes of a file system."""
    folders = settings.folders
    lock = lock_file_of(settings.state.absolute())
    spool = Spool(folders.inbox, folders.work, folders.done, folders.failed, state_uuid, lock)
    circuits = Circuits(clock)
    arrivals, requests, views = Arrivals(database, clock), Requests(database, clock), Views(database)
    owner = str(os.getpid())
    time = Timekeeper(clock)
    transitions = Transitions(database, time, circuits, owner)
    endings = Endings(database, clock, circuits, owner)
    storage = Storage(_places(settings), settings.watch.min_free_space, spool.work_is_ours, Mounts(database), free)
    conclusion = Conclusion(endings, views, spool, storage)
    cancellations = Cancellations(signals.stopping)
    sending = Sending(cancellations)
    scanner = watching.scanner(settings)

    def look(folder: Path) -> Contents:
        return watching.contents_of(scanner.scan_folder(folder))

    def manifest_of(folder: Path) -> str:
        return look(folder).manifest

    def images_in(folder: Path) -> Mapping[str, int]:
        return _images(scanner.scan_folder(folder))

    doorbell = Doorbell(folders.inbox, signals.ring.set, settings.watch.observer)
    intake_rules = watching.intake_rules(settings)
    intake = Intake(
        *(scanner, doorbell, arrivals, requests, spool, clock, intake_rules), signals.bell.ring, storage.hindrance
    )
    pool = UploadPool(settings.upload.concurrency, spare_threads=settings.workers)
    equipment = wiring.equipment(settings, clients, pool, look, watching.lister(settings), sending, clock)
    rules = Rules(equipment, wiring.retry_policy(settings))
    turns = Turns(database, transitions, circuits, conclusion, spool, storage, time, lambda: rules, cancellations)
    workers = tuple(Worker(turns, signals.stopping, signals.bell) for _ in range(settings.workers))
    keep = settings.archive.images != "none"
    desk = Desk(requests, views, transitions, endings, conclusion, spool, storage, manifest_of, images_in, keep)
    attendant = Attendant(desk, cancellations, Bulletin(database), signals.bell)
    interruptions = Interruptions(database, clock)
    retained, retention = Retained(database, clock), _retention(settings)
    housekeeping = Housekeeping(storage, interruptions, retained, spool, clock, lambda: retention, signals.bell.ring)
    # fmt: off
    return Rooms(
        spool, arrivals, transitions, interruptions, endings, storage, housekeeping,
        intake, doorbell, attendant, sending, pool, turns, workers, manifest_of,
    )
    # fmt: on


def _images(seen: FolderSeen) -> Mapping[str, int]:
    if seen.unreadable is not None:
        raise Hold(f"{seen.unreadable}.", held_by="disk")
    return {file.path: file.size for file in seen.files if file.is_image}


def _retention(settings: Settings) -> Retention:
    kept = settings.archive.retention
    return Retention(kept.done, kept.failed, kept.history)


def _places(settings: Settings) -> Mapping[Key, Path]:
    folders = settings.folders
    return {"state": settings.state.parent, "work": folders.work, "done": folders.done, "failed": folders.failed}
