"""One daemon's rooms, wired together and not started yet.

Owns which part is given to which. It must not start anything, nor know what the rooms do. No error leaves it.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moichord import watching, wiring
from moichord.attendant import Attendant, Desk
from moichord.cancelling import Cancellations, Sending
from moichord.clock import Bell, Clock
from moichord.conclusion import Conclusion
from moichord.config import Settings
from moichord.errors import Hold, StateUnwritable
from moichord.hindrances import Hindrances
from moichord.housekeeping import Housekeeping, Retention
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.intake import Intake
from moichord.inbox.seen import FolderSeen
from moichord.pipeline.equipment import Contents
from moichord.pipeline.laying_ahead import LayingAhead
from moichord.pipeline.upload_pool import UploadPool
from moichord.pulse import Pulse
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
from moichord.sample import Api
from moichord.seats import Seats
from moichord.spool import Spool
from moichord.status.web.room import Page
from moichord.storage import Key, Storage, free_space
from moichord.way_back import WayBack
from moichord.worker import Rules, Turns, Worker

Reload = Callable[[Settings, wiring.Clients], None]

LONG_SAMPLES_PER_WORKER = 2
"""Large samples in hand: those that are sent, and as many ready to be sent. What is in hand holds memory."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything that one daemon consists of, wired together and not started yet."""

    spool: Spool
    arrivals: Arrivals
    transitions: Transitions
    interruptions: Interruptions
    endings: Endings
    storage: Storage
    hindrances: Hindrances
    housekeeping: Housekeeping
    intake: Intake
    doorbell: Doorbell
    attendant: Attendant
    bulletin: Bulletin
    sending: Sending
    pool: UploadPool
    turns: Turns
    workers: tuple[Worker, ...]
    way_back: WayBack
    manifest_of: Callable[[Path], str]
    views: Views
    page: Page
    reload: Reload
    """Let all rooms go by these settings; ConfigurationInvalid, and nothing has changed, if one of them cannot."""


class Terms:
    """What the rooms go by, and a reload exchanges. Each part is read afresh whenever it is needed."""

    def __init__(self, settings: Settings) -> None:
        self.scanner = watching.scanner(settings)
        self._settings = settings
        self._rules: Rules | None = None

    def adopt(self, settings: Settings, rules: Rules) -> None:
        self._settings, self.scanner, self._rules = settings, watching.scanner(settings), rules

    def mended(self, settings: Settings) -> set[Api]:
        """The APIs that are asked otherwise with these: at another address, with another key, ..."""
        before, after = wiring.endpoints(self._settings), wiring.endpoints(settings)
        return {api for api, endpoint in after.items() if before.get(api) != endpoint}

    def rules(self) -> Rules:
        assert self._rules is not None  # noqa: S101  # adopted before any thread begins
        return self._rules

    def look(self, folder: Path) -> Contents:
        return watching.contents_of(self.scanner.scan_folder(folder))

    def manifest_of(self, folder: Path) -> str:
        return self.look(folder).manifest

    def images_in(self, folder: Path) -> Mapping[str, int]:
        return _images(self.scanner.scan_folder(folder))

    def retention(self) -> Retention:
        kept = self._settings.archive.retention
        return Retention(kept.done, kept.failed, kept.history)


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
    pulse: Pulse | None = None,
) -> Rooms:
    """Wire the rooms of one daemon. `free` gives the free bytes of a file system."""
    pulse = pulse or Pulse(clock)
    folders = settings.folders
    lock = lock_file_of(settings.state.absolute())
    sending = Sending(cancellations := Cancellations(signals.stopping))
    stop = cancellations.check_stop
    spool = Spool(folders.inbox, folders.work, folders.done, folders.failed, state_uuid, lock, stop)
    circuits, owner, time = Circuits(clock), str(os.getpid()), Timekeeper(clock)
    arrivals, requests, views = Arrivals(database, clock), Requests(database, clock), Views(database)
    transitions = Transitions(database, time, circuits, owner, _most_long(settings))
    endings = Endings(database, clock, circuits, owner)
    storage = Storage(_places(settings), settings.watch.min_free_space, spool.work_is_ours, Mounts(database), free)
    conclusion, ahead = Conclusion(endings, views, spool, storage), LayingAhead(clock, storage.has_room)
    terms, listing, seats = Terms(settings), watching.lister(settings), Seats(settings.workers, signals.bell)
    pool = UploadPool(settings.upload.concurrency, settings.workers, pulse, seats.left)
    doorbell, ring = Doorbell(folders.inbox, signals.ring.set, settings.watch.observer), signals.bell.ring
    intake = Intake(
        *(terms.scanner, doorbell, arrivals, requests, spool, clock, watching.intake_rules(settings)),
        *(ring, storage.hindrance, pulse),
    )

    def adopt(settings: Settings, clients: wiring.Clients) -> None:
        equipment = wiring.equipment(settings, clients, pool, terms.look, listing, sending, clock, ahead)
        terms.adopt(settings, Rules(equipment, wiring.retry_policy(settings)))
        intake.adopt(terms.scanner, watching.intake_rules(settings))
        storage.keep_free(settings.watch.min_free_space)
        page.adopt(settings)

    hindrances = Hindrances(storage, intake, spool, endings)
    page = Page(settings, database, clock, lambda: hindrances.sentences)
    adopt(settings, clients)
    turns = Turns(database, transitions, circuits, conclusion, spool, storage, time, terms.rules, cancellations, pulse)
    threads = range(settings.workers + _most_long(settings))
    workers = tuple(Worker(turns, seats, signals.stopping, signals.bell) for _ in threads)
    way_back = WayBack(endings, spool, terms.manifest_of)
    desk = Desk(*(requests, views, transitions, endings, conclusion, spool, storage, way_back), terms.images_in)
    attendant = Attendant(desk, cancellations, signals.bell, clock, pulse)
    interruptions, retained = Interruptions(database, clock), Retained(database, clock)
    housekeeping = Housekeeping(storage, interruptions, retained, spool, clock, terms.retention, ring, pulse)
    return Rooms(
        *(spool, arrivals, transitions, interruptions, endings, storage, hindrances, housekeeping, intake, doorbell),
        *(attendant, Bulletin(database), sending, pool, turns, workers, way_back, terms.manifest_of, views),
        *(page, _reloading(adopt, terms, interruptions)),
    )


def _most_long(settings: Settings) -> int:
    return LONG_SAMPLES_PER_WORKER * settings.workers


def _reloading(adopt: Reload, terms: Terms, interruptions: Interruptions) -> Reload:
    """`adopt`, and what is believed down is asked at once: somebody may have mended it."""

    def reload(settings: Settings, clients: wiring.Clients) -> None:
        mended = terms.mended(settings)
        adopt(settings, clients)
        with suppress(StateUnwritable):  # then they are asked when their time comes
            interruptions.ask_soon(mended)

    return reload


def _images(seen: FolderSeen) -> Mapping[str, int]:
    if seen.unreadable is not None:
        raise Hold(f"{seen.unreadable}.", held_by="disk")
    return {file.path: file.size for file in seen.files if file.is_image}


def _places(settings: Settings) -> Mapping[Key, Path]:
    folders = settings.folders
    return {"state": settings.state.parent, "work": folders.work, "done": folders.done, "failed": folders.failed}
