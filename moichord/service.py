"""The daemon: start the rooms' threads, stop them.

Owns the lock of the state and the life of the threads (`composition` wires the rooms). Signals are only counted. It
must not know what the rooms do. Errors: StateInUse, StateUnwritable, StateUnusable, ForeignFolder, ConfigurationInvalid
at start; afterwards nothing: what a thread raises is logged with its traceback, and the thread begins anew.

    main thread    signals, reload; publishes what ails the daemon, and what is on its way
    attendant      requests of people
    intake         the inbox
    housekeeping   the disks, and what is old enough to be deleted
    worker-N       one submission at a time each
    upload-N       the pool's requests
    queue-writer   every commit
    page           answers browsers
    supervision    tells systemd that the daemon lives, and how it stands
    status-line    finds out how it stands, for that
    outlook        has no sample come for too long? will a disk be full soon?
    messages, reports, heartbeat    tell people elsewhere
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from moichord import __version__, wiring
from moichord.announcing import Announcing, require_usable
from moichord.clock import Bell, Clock, SystemClock
from moichord.composition import Rooms, Signals, furnish
from moichord.config import Settings
from moichord.durable import Lock
from moichord.errors import StateInUse, StateUnwritable
from moichord.pulse import Pulse
from moichord.queue.database import Database
from moichord.queue.holder import lock_of
from moichord.queue.occasions import Occasions
from moichord.recovery import recover, take_over_attempts
from moichord.reload import Configuration, Source
from moichord.sd_notify import Notifier, watchdog_seconds
from moichord.status.line import Teller
from moichord.status.phrases import count
from moichord.supervision import Supervision, describe

log = logging.getLogger(__name__)

ATTENTION_SECONDS = 0.5
RESTART_SECONDS = 5.0
HEED_SIGNALS_SECONDS = 0.25
PUBLISHING_SECONDS = RELOAD_SECONDS = 60.0
TRIES_FOR_THE_LOCK = 5


def serve(
    settings: Settings, *, adopt_work: bool = False, lock: Lock | None = None, source: Source | None = None
) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one ends the requests in flight as well.

    `lock` is that of the state, if the caller holds it already (and releases it). SIGHUP reloads from `source`.
    """
    own = hold(settings.state) if lock is None else None
    try:
        service = Service(settings, SystemClock(), source, os.environ)
        handlers = dict.fromkeys((signal.SIGTERM, signal.SIGINT), service.on_signal)
        handlers[signal.SIGHUP] = service.on_hangup
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            service.run(adopt_work=adopt_work)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    finally:
        if own is not None:
            own.release()


def hold(state: Path) -> Lock:
    """The lock of this state, held; StateInUse if another daemon has it, StateUnwritable if the disk refuses it."""
    lock = lock_of(state)
    never = threading.Event()
    # A command that looks whether a daemon runs has the lock for an instant.
    for _ in range(TRIES_FOR_THE_LOCK):
        try:
            if lock.try_acquire():
                break
        except OSError as error:
            raise StateUnwritable(
                f"The state {state} cannot be written: {error.strerror}",
                remedy="Check that moichord may write there, and the health of the disk that holds it.",
            ) from error
        never.wait(HEED_SIGNALS_SECONDS)
    else:
        raise StateInUse(
            f"Another moichord daemon runs with the state {state}.",
            remedy="Stop it first (systemctl stop moichord, or moichord daemon stop), or give this one a state and "
            "folders of its own.",
        )
    return lock


class Service:
    """One daemon with one state."""

    def __init__(
        self, settings: Settings, clock: Clock, source: Source | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        environ = environ or {}
        self._clock = clock
        self._pulse = Pulse(clock)
        notifier = Notifier(environ.get("NOTIFY_SOCKET"))
        self._supervision = Supervision(notifier, watchdog_seconds(environ), self._pulse, clock)
        self._signals = Signals(threading.Event(), threading.Event(), Bell())
        connect = wiring.connector(clock, self._pulse)
        self._configuration = Configuration(settings, source, clock, connect, require_usable)
        self._asked_to_stop = 0
        self._hangups = 0
        self._hangups_heeded = 0
        self._never = threading.Event()
        self._said: dict[str, str] = {}
        self._announcing: Announcing | None = None

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Count: one signal stops the daemon, a second one ends the requests in flight as well.

        Nothing more, since the handler runs in the middle of whatever the main thread does, which may hold any lock.
        """
        self._asked_to_stop += 1

    def on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        """Count, for the reason above: the signal must not end the daemon, nor break samples off."""
        self._hangups += 1

    def _rest(self, seconds: float, rooms: Rooms) -> bool:
        """Let the main thread rest, but for a reload; say whether the daemon is to stop."""
        until = self._clock.monotonic() + seconds
        while not self._asked_to_stop:
            if self._hangups != self._hangups_heeded:
                self._reload(rooms)
                break  # what has changed is to be seen at once
            if (left := until - self._clock.monotonic()) <= 0:
                break
            self._clock.wait(self._never, min(left, HEED_SIGNALS_SECONDS))
        return self._asked_to_stop > 0

    def _reload(self, rooms: Rooms) -> None:
        self._hangups_heeded = self._hangups  # before the file is read: a later signal means a later file
        with self._supervision.reloading(), self._pulse.within(RELOAD_SECONDS, "reads the configuration"):
            try:
                self._configuration.reload(rooms.reload)
            except Exception:  # whatever a file holds: its mistakes must not end the daemon
                log.exception("SIGHUP: the changed configuration cannot be taken over")
                self._configuration.reject(["moichord cannot cope with it; the log says with what"])
        self._signals.ring.set()
        self._signals.bell.ring()

    def run(self, *, adopt_work: bool = False) -> None:
        """From recovery to the last thread's end."""
        settings = self._configuration.settings
        database = Database(settings.state, self._clock, self._pulse)
        self._supervision.start()
        page = None
        try:
            state_uuid = database.open()
            clients = self._configuration.clients
            rooms = furnish(settings, self._clock, database, state_uuid, clients, self._signals, pulse=self._pulse)
            page = self._thread("page", lambda: rooms.page.run(self._signals.stopping))
            announcing = Announcing(rooms, database, self._configuration, self._clock, self._pulse)
            self._announcing = announcing
            announcing.begin(self._thread, self._signals.stopping)
            if self._share_is_there(rooms, announcing):
                self._prepare(rooms, adopt_work=adopt_work)
                occasions = Occasions(database, self._clock)
                occasions.started(__version__)
                announcing.look_ahead(self._thread, self._signals.stopping)
                self._serve(rooms)
                with suppress(StateUnwritable):  # a full disk keeps nobody from stopping
                    occasions.stopped()
        finally:
            self._signals.stop()
            if page is not None:
                page.join()
            if self._announcing is not None:
                self._announcing.end()
            database.close()
            self._configuration.close()
            self._supervision.end()

    def _share_is_there(self, rooms: Rooms, announcing: Announcing) -> bool:
        """Wait for a share that is not mounted yet, and say once that it is missing; False if the daemon is to stop."""
        said, missing = None, rooms.hindrances.look_for_share()
        announcing.beat(self._thread, self._signals.stopping)
        while missing is not None:
            if missing != said:
                log.error("%s; waiting for it", missing)
            said = missing
            announcing.waits_for(missing)
            self._publish(rooms)
            self._supervision.show(f"waiting: {missing}")
            self._supervision.ready()
            if self._rest(self._interval(), rooms):
                return False
            missing = rooms.hindrances.look_for_share()
        self._publish(rooms)
        self._supervision.show("starting")
        return True

    def _prepare(self, rooms: Rooms, *, adopt_work: bool) -> None:
        """Own the folders and finish what an earlier run had begun."""
        for name in rooms.spool.prepare(adopt=adopt_work):
            log.warning("returned to the inbox from a work folder of another state", extra={"sample": name})
        take_over_attempts(rooms.arrivals, rooms.endings, rooms.spool)
        recovered = recover(
            rooms.arrivals, rooms.transitions, rooms.interruptions, rooms.endings, rooms.spool, rooms.way_back
        )
        rooms.storage.look()
        rooms.intake.restore()
        inbox = self._configuration.settings.folders.inbox
        going_on = f"; {count(recovered, 'submission goes', 'submissions go')} on after a stop" if recovered else ""
        log.info("moichord %s is ready: inbox %s%s", __version__, inbox, going_on)

    def _serve(self, rooms: Rooms) -> None:
        signals = self._signals
        rooms.doorbell.start()
        threads = [self._thread("intake", lambda: rooms.intake.run(signals.ring, signals.stopping))]
        threads += [self._thread("attendant", lambda: rooms.attendant.run(signals.stopping))]
        threads += [self._thread("housekeeping", lambda: rooms.housekeeping.run(signals.stopping, self._interval))]
        threads += [self._thread(f"worker-{number}", worker.work) for number, worker in enumerate(rooms.workers)]
        if self._supervision.listened_to:
            self._tell_how_it_stands(rooms)
        self._supervision.ready()
        try:
            self._attend(rooms)
        finally:
            signals.stop()
            self._drain(threads)
            rooms.doorbell.stop()
            rooms.pool.close()
        log.info("moichord has stopped")

    def _attend(self, rooms: Rooms) -> None:
        """Publish how it stands until a signal comes."""
        rest = 0.0
        while not self._rest(rest, rooms):
            if not self._supervision.listened_to:
                self._supervision.tick()
            rest = ATTENTION_SECONDS if self._publish(rooms) else RESTART_SECONDS

    def _publish(self, rooms: Rooms) -> bool:
        """Whether other processes can see now how it stands."""
        try:
            with self._pulse.within(PUBLISHING_SECONDS, "publishes how it stands"):
                rooms.bulletin.publish(self._notices(rooms), rooms.sending.by_submission())
            return True
        except StateUnwritable as error:
            self._say_once("main", error)
        except Exception:
            log.exception("how it stands could not be published; tried again")
        return False

    def _notices(self, rooms: Rooms) -> list[str]:
        own = [*rooms.page.notices, *self._supervision.notices(), *self._configuration.notices]
        announcing = () if self._announcing is None else self._announcing.notices
        return list(dict.fromkeys([*rooms.hindrances.sentences, *rooms.intake.notices, *own, *announcing]))

    def _interval(self) -> float:
        return self._configuration.settings.watch.scan_interval

    def _tell_how_it_stands(self, rooms: Rooms) -> None:
        """Not waited for at the end: it may wait for a share."""
        failed = self._configuration.settings.folders.failed
        teller = Teller(rooms.views, failed, self._clock, self._pulse)
        self._thread("status-line", lambda: describe(teller, self._supervision, self._signals.stopping, self._clock))

    def _thread(self, name: str, body: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(name, body), name=name, daemon=True)
        thread.start()
        return thread

    def _guarded(self, name: str, body: Callable[[], None]) -> None:
        """A thread that must not die: what it raises is logged, and it begins anew."""
        while not self._signals.stopping.is_set():
            try:
                body()
            except StateUnwritable as error:
                self._say_once(name, error)
            except Exception:
                log.exception("the thread %s broke; it begins anew", name)
            self._clock.wait(self._signals.stopping, RESTART_SECONDS)

    def _say_once(self, name: str, error: StateUnwritable) -> None:
        """Each thread meets a full disk again and again."""
        if self._said.get(name) != str(error):
            log.error("%s (%s)", error, name)
        self._said[name] = str(error)

    def _drain(self, threads: list[threading.Thread]) -> None:
        """Let the requests in flight finish, for `drain_timeout` at most."""
        seconds = self._configuration.settings.drain_timeout
        log.info("stopping: requests in flight may take %g s more", seconds)
        self._supervision.stopping(seconds)
        deadline = self._clock.monotonic() + seconds
        while any(thread.is_alive() for thread in threads):
            if self._asked_to_stop > 1 or self._clock.monotonic() > deadline:
                log.warning("requests in flight are broken off")
                self._configuration.stop_requests()
                break
            for thread in threads:
                thread.join(HEED_SIGNALS_SECONDS)
        for thread in threads:
            thread.join()
