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
from moichord.pipeline.equipment import Contents, Equipment
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
    ground = _ground(settings, clock, database, state_uuid, signals, free, pulse or Pulse(clock))
    storage, terms, sending = ground.storage, ground.terms, Sending(ground.cancellations)
    seats, ahead = Seats(settings.workers, signals.bell), LayingAhead(clock, storage.has_room)
    pool = UploadPool(settings.upload.concurrency, settings.workers, ground.pulse, seats.left)
    doorbell = Doorbell(settings.folders.inbox, signals.ring.set, settings.watch.observer)
    intake = _intake(ground, settings, doorbell)
    hindrances = Hindrances(storage, intake, ground.spool, ground.endings)
    page = Page(settings, database, clock, lambda: hindrances.sentences)
    listing = watching.lister(settings)

    def equip(settings: Settings, clients: wiring.Clients) -> Equipment:
        return wiring.equipment(settings, clients, pool, terms.look, listing, sending, clock, ahead)

    adopt = _adopting(equip, terms, intake, storage, page)
    adopt(settings, clients)
    turns = _turns(ground)
    threads = range(settings.workers + _most_long(settings))
    lookout = threading.Lock()
    workers = tuple(Worker(turns, seats, lookout, signals.stopping, signals.bell) for _ in threads)
    return Rooms(
        *(ground.spool, ground.arrivals, ground.transitions, ground.interruptions, ground.endings, storage, hindrances),
        *(_housekeeping(ground), intake, doorbell, _attendant(ground), Bulletin(database), sending, pool),
        *(turns, workers, ground.way_back, terms.manifest_of, ground.views, page),
        _reloading(adopt, terms, ground.interruptions),
    )


@dataclass(frozen=True, slots=True)
class _Ground:
    """What several rooms are given: time, state, folders, and what all go by."""

    clock: Clock
    database: Database
    signals: Signals
    pulse: Pulse
    cancellations: Cancellations
    terms: Terms
    time: Timekeeper
    circuits: Circuits
    arrivals: Arrivals
    requests: Requests
    views: Views
    transitions: Transitions
    endings: Endings
    interruptions: Interruptions
    spool: Spool
    storage: Storage
    conclusion: Conclusion
    way_back: WayBack


def _ground(
    settings: Settings,
    clock: Clock,
    database: Database,
    state_uuid: str,
    signals: Signals,
    free: Callable[[Path], int],
    pulse: Pulse,
) -> _Ground:
    cancellations, terms = Cancellations(signals.stopping), Terms(settings)
    circuits, owner, time = Circuits(clock), str(os.getpid()), Timekeeper(clock)
    arrivals, requests, views = Arrivals(database, clock), Requests(database, clock), Views(database)
    transitions = Transitions(database, time, circuits, owner, _most_long(settings))
    endings, interruptions = Endings(database, clock, circuits, owner), Interruptions(database, clock)
    folders, lock = settings.folders, lock_file_of(settings.state.absolute())
    spool = Spool(
        *(folders.inbox, folders.work, folders.done, folders.failed), state_uuid, lock, cancellations.check_stop
    )
    storage = Storage(_places(settings), settings.watch.min_free_space, spool.work_is_ours, Mounts(database), free)
    return _Ground(
        *(clock, database, signals, pulse, cancellations, terms, time, circuits),
        *(arrivals, requests, views, transitions, endings, interruptions, spool, storage),
        Conclusion(endings, views, spool, storage),
        WayBack(endings, spool, terms.manifest_of),
    )


def _intake(ground: _Ground, settings: Settings, doorbell: Doorbell) -> Intake:
    return Intake(
        *(ground.terms.scanner, doorbell, ground.arrivals, ground.requests, ground.spool, ground.clock),
        *(watching.intake_rules(settings), ground.signals.bell.ring, ground.storage.hindrance, ground.pulse),
    )


def _turns(ground: _Ground) -> Turns:
    return Turns(
        *(ground.database, ground.transitions, ground.circuits, ground.conclusion, ground.spool, ground.storage),
        *(ground.time, ground.terms.rules, ground.cancellations, ground.pulse),
    )


def _attendant(ground: _Ground) -> Attendant:
    desk = Desk(
        *(ground.requests, ground.views, ground.transitions, ground.endings, ground.conclusion, ground.spool),
        *(ground.storage, ground.way_back, ground.terms.images_in),
    )
    return Attendant(desk, ground.cancellations, ground.signals.bell, ground.clock, ground.pulse)


def _housekeeping(ground: _Ground) -> Housekeeping:
    return Housekeeping(
        *(ground.storage, ground.interruptions, Retained(ground.database, ground.clock), ground.spool, ground.clock),
        *(ground.terms.retention, ground.signals.bell.ring, ground.pulse),
    )


def _adopting(
    equip: Callable[[Settings, wiring.Clients], Equipment], terms: Terms, intake: Intake, storage: Storage, page: Page
) -> Reload:
    def adopt(settings: Settings, clients: wiring.Clients) -> None:
        terms.adopt(settings, Rules(equip(settings, clients), wiring.retry_policy(settings)))
        intake.adopt(terms.scanner, watching.intake_rules(settings))
        storage.keep_free(settings.watch.min_free_space)
        page.adopt(settings)

    return adopt


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
