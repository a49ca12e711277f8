"""The state's connections: one writer thread that commits what has gathered, and readers of their own.

Owns transactions. It must not know what the statements mean. A unit of work is a function of a connection that does
nothing but execute statements: if one unit of a gathered commit fails, the others are run again without it.
Errors: StateUnusable when the database cannot be opened, StateUnwritable when a commit fails (disk full, I/O error),
and whatever a unit raises.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from moichord.errors import StateUnusable, StateUnwritable
from moichord.queue import migrations

Result = TypeVar("Result")
Unit = Callable[[Connection], Any]

BUSY_SECONDS = 30
UNITS_PER_COMMIT = 256


class Database:
    """The state. Every change goes through `write`, which returns once its own commit is durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path, writing=True)
        self._readers = _engine(path, writing=False)
        self._units: queue.SimpleQueue[tuple[Unit, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._connection: Connection | None = None
        self._closed = False

    def open(self) -> str:
        """Create or migrate the tables and start the writer; the state's UUID."""
        try:
            with self._engine.connect() as connection, connection.begin():
                migrations.migrate(connection)
                state_uuid = migrations.fact(connection, "state_uuid")
        except DBAPIError as error:
            raise StateUnusable(
                f"The state database {self.path} cannot be opened: {error.orig}",
                remedy="Check that its folder exists, is writable for moichord and lies on a local disk.",
            ) from error
        self._thread.start()
        return str(state_uuid)

    def write(self, unit: Callable[[Connection], Result]) -> Result:
        """Run `unit` in the writer thread; return its result when the commit that holds it is on disk."""
        if self._closed:
            raise StateUnwritable("The state is closed.")
        future: Future[Result] = Future()
        self._units.put((unit, future))
        return future.result()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent snapshot and cannot write."""
        with self._readers.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Commit what has gathered, then close."""
        if self._closed:
            return
        self._closed = True
        if self._thread.is_alive():
            self._units.put(None)
            self._thread.join()
        self._engine.dispose()
        self._readers.dispose()

    def _run(self) -> None:
        while True:
            first = self._units.get()
            if first is None:
                break
            gathered, last = self._gather(first)
            self._commit(gathered)
            if last:
                break
        self._drop_connection()

    def _gather(self, first: tuple[Unit, Future[Any]]) -> tuple[list[tuple[Unit, Future[Any]]], bool]:
        gathered = [first]
        while len(gathered) < UNITS_PER_COMMIT:
            try:
                unit = self._units.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                return gathered, True
            gathered.append(unit)
        return gathered, False

    def _commit(self, gathered: list[tuple[Unit, Future[Any]]]) -> None:
        try:
            connection = self._connected()
            with connection.begin():
                results = [unit(connection) for unit, _ in gathered]
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the unit's caller, not to this thread
            self._drop_connection()
            if len(gathered) > 1:
                for one in gathered:
                    self._commit([one])
            else:
                gathered[0][1].set_exception(_translated(error))
            return
        for (_, future), result in zip(gathered, results, strict=True):
            future.set_result(result)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _drop_connection(self) -> None:
        # After a failed commit nothing about the connection is trusted: the next unit gets a new one.
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError):
        unwritable = StateUnwritable(
            f"The state could not be written: {error.orig}",
            remedy="Check free space and the health of the disk that holds the state.",
        )
        unwritable.__cause__ = error
        return unwritable
    return error


def _engine(path: Path, *, writing: bool) -> Engine:
    options: dict[str, Any] = {"poolclass": NullPool} if writing else {"pool_size": 2, "max_overflow": 20}
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS}, **options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # SQLAlchemy's begin event, not the driver, starts transactions: the driver would start them late.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if writing:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        else:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine
