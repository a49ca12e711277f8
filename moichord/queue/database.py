"""The state's connections: one writer thread that commits what has gathered, and readers of their own.

Owns transactions. It must not know what the statements mean. A unit of work is a function of a connection that does
nothing but execute statements: if one unit of a gathered commit fails, the others are run again without it. Those that
are alike (`units.Alike`) are one statement. What is to change in memory a unit leaves to `after_commit`, so that memory
never runs ahead of the disk.
Errors: StateUnusable when the database cannot be opened, UsageRefused when there is none, StateUnwritable when a
commit fails or the state cannot be opened or read for now (disk full, I/O error), and whatever a unit raises.
"""

import errno
import logging
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, ProgrammingError

from moichord.clock import Clock, SystemClock
from moichord.errors import StateUnusable, StateUnwritable, UsageRefused
from moichord.pulse import Pulse
from moichord.queue import connections, files, migrations
from moichord.queue.units import Unit, carried_out

log = logging.getLogger(__name__)

Result = TypeVar("Result")

COMMIT_SECONDS = 4.0 * connections.BUSY_SECONDS
UNITS_PER_COMMIT = 256
LINGER = 0.003
"""Seconds for which what nobody waits for lingers, so that it shares the commit of what follows it."""
# https://www.sqlite.org/rescode.html: the low byte of a code is what it extends.
_PRIMARY_CODE = 0xFF
_FAULTS_OF_THE_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM}
_CANNOT_WRITE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_FAULTS_OF_THE_SETTINGS = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM}
_ACTS = "moichord: after commit"


def after_commit(connection: Connection, act: Callable[[], None]) -> None:
    """Do `act`, which must not fail, once the commit of this unit is on disk, before its caller goes on; else never."""
    connection.info[_ACTS].append(act)


class _Asked(NamedTuple):
    unit: Unit
    future: Future[Any]
    waited_for: bool = True


class Database:
    """The state. Every change goes through `write`, which returns once its own commit is durable."""

    def __init__(self, path: Path, clock: Clock | None = None, pulse: Pulse | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._pulse = pulse or Pulse(self._clock)
        self._engine = connections.engine(path, writing=True)
        self._readers = connections.engine(path, writing=False)
        self._units: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._along: deque[Unit] = deque()
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._connection: Connection | None = None
        self._said: str | None = None
        self._closed = False
        self._closing = threading.Lock()

    def open(self) -> str:
        """Create or migrate the tables and start the writer; the state's UUID."""
        files.make_private(self.path)
        try:
            with self._engine.connect() as connection:
                connections.let_tables_go(connection)
                with connection.begin():
                    migrations.migrate(connection, self.path, self._clock.now())
                    state_uuid = migrations.fact(connection, "state_uuid")
        except DBAPIError as error:
            if _may_pass(error, self.path):
                raise _unwritable("opened", error) from error
            raise StateUnusable(
                f"The state database {self.path} cannot be opened: {error.orig}",
                remedy="Check that its folder exists, is writable for moichord and lies on a local disk.",
            ) from error
        self._thread.start()
        return str(state_uuid)

    def attach(self, *, writing: bool = False) -> None:
        """Use the state that a daemon has made, from another process: nothing is created or brought forward.

        `writing` starts the writer too. Raises UsageRefused if there is no state yet, StateUnusable if it cannot be
        read or is of a newer version, StateOutdated if the daemon has yet to bring it forward.
        """
        if not self._is_there():
            raise UsageRefused(
                f"There is no state at {self.path} yet: the daemon makes it when it starts for the first time.",
                remedy="Start it with `moichord run`; or check `state` in the configuration.",
            )
        try:
            with self._readers.connect() as connection:
                migrations.require_current(connection, self.path)
        except DBAPIError as error:
            raise _unreadable(self.path, error.orig) from error
        if writing:
            self._thread.start()

    def _is_there(self) -> bool:
        try:
            return self.path.exists()
        except OSError as error:  # its folder may not be looked into
            raise _unreadable(self.path, error.strerror) from error

    def write(self, unit: Callable[[Connection], Result]) -> Result:
        """Run `unit` in the writer thread; return its result when the commit that holds it is on disk."""
        future: Future[Result] = Future()
        self._put(_Asked(unit, future))
        with self._pulse.untimed():  # how long the writer may take is its own affair
            return future.result()

    def write_soon(self, unit: Unit, ended: Callable[[BaseException | None], None]) -> None:
        """Run `unit` before all that is written after this, in a moment, and do not wait.

        For what a later unit looks for before anything is made of it. `ended` is called then, with what it raised.
        """
        future: Future[Any] = Future()
        future.add_done_callback(self._note_lost)
        future.add_done_callback(lambda done: ended(done.exception()))
        try:
            self._put(_Asked(unit, future, waited_for=False))
        except StateUnwritable as error:
            future.set_exception(error)
            raise

    def _put(self, asked: _Asked) -> None:
        with self._closing:  # nothing is put behind the end
            if self._closed or self._thread.ident is None:
                raise StateUnwritable("The state is closed: nothing more can be written to it.")
            self._units.put(asked)

    def write_along(self, unit: Unit) -> None:
        """Run `unit` with the next commit, whosesoever it is, and do not wait.

        For what may be lost in a crash, because it is done or found again; what it raises is only logged.
        """
        self._along.append(unit)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent snapshot and cannot write."""
        try:
            with self._readers.connect() as connection, connection.begin():
                yield connection
        except DatabaseError as error:
            raise _unwritable("read", error) from error

    @contextmanager
    def edition(self) -> Iterator[Callable[[], int]]:
        """A question for one thread at a time, whose answer differs once anybody has committed since the last time.

        https://www.sqlite.org/pragma.html#pragma_data_version
        """
        with self._readers.connect() as connection:

            def ask() -> int:
                with connection.begin():
                    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

            yield ask

    def close(self) -> None:
        """Commit what has gathered, then close."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._units.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self._engine.dispose()
        self._readers.dispose()

    def _run(self) -> None:
        while True:
            first = self._units.get()
            if first is None:
                break
            gathered, last = self._gather(first)
            self._commit([*self._those_along(), *gathered])
            if last:
                break
        self._commit(self._those_along())
        self._drop_connection()

    def _those_along(self) -> list[_Asked]:
        """What is to go with this commit; taken after what is gathered, so that it holds all that came before."""
        found = []
        while self._along:
            future: Future[Any] = Future()
            future.add_done_callback(self._note_lost)
            found.append(_Asked(self._along.popleft(), future))
        return found

    def _note_lost(self, along: Future[Any]) -> None:
        """Say it once, however much is lost while the disk is full."""
        error = along.exception()
        said = None if error is None else str(error)
        if said is not None and said != self._said:
            log.error("what was to be written beside another change was not: %s", said)
        self._said = said

    def _gather(self, first: _Asked) -> tuple[list[_Asked], bool]:
        """What is to be one commit, and whether it is the last."""
        gathered = [first]
        until = self._clock.monotonic() + LINGER
        while len(gathered) < UNITS_PER_COMMIT:
            lingers = not any(asked.waited_for for asked in gathered)
            try:
                asked = self._units.get(timeout=max(0.0, until - self._clock.monotonic()) if lingers else 0.0)
            except queue.Empty:
                break
            if asked is None:
                return gathered, True
            gathered.append(asked)
        return gathered, False

    def _commit(self, gathered: list[_Asked]) -> None:
        if not gathered:
            return
        try:
            connection = self._connected()
            acts: list[Callable[[], None]] = []
            connection.info[_ACTS] = acts
            with self._pulse.within(COMMIT_SECONDS, "writes the state"), connection.begin():
                results = carried_out(connection, [asked.unit for asked in gathered])
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the unit's caller, not to this thread
            self._require_idle()
            if len(gathered) > 1:
                for one in gathered:
                    self._commit([one])
            else:
                gathered[0].future.set_exception(_translated(error))
            return
        for act in acts:
            act()
        for asked, result in zip(gathered, results, strict=True):
            asked.future.set_result(result)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _require_idle(self) -> None:
        """After a failed commit: a connection that could not even go back is given up.

        A good one is kept. It holds SQLite's shared memory, which on a full disk could not be made again, and without
        which nobody could read the state either.
        """
        if self._connection is not None and self._connection.in_transaction():
            self._connection.invalidate()
            self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _unreadable(path: Path, why: object) -> StateUnusable:
    return StateUnusable(
        f"The state database {path} cannot be read: {why}",
        remedy="Run this command as the user that the daemon runs as.",
    )


def _may_pass(error: DBAPIError, path: Path) -> bool:
    """Whether the database may open at another time, since the disk is to blame, or another process that has it."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code not in _CANNOT_WRITE:
        return code in _FAULTS_OF_THE_DISK
    try:  # SQLite does not tell a full or read-only disk from a wrong path or missing rights
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as hindrance:
        return hindrance.errno not in _FAULTS_OF_THE_SETTINGS
    return True


def _translated(error: BaseException) -> BaseException:
    if not isinstance(error, DatabaseError) or isinstance(error, IntegrityError | ProgrammingError):
        return error  # the fault of a statement, not of the disk: waiting would not mend it
    unwritable = _unwritable("written", error)
    unwritable.__cause__ = error
    return unwritable


def _unwritable(done: str, error: DBAPIError) -> StateUnwritable:
    return StateUnwritable(
        f"The state could not be {done}: {error.orig}",
        remedy="Check free space and the health of the disk that holds the state.",
    )
