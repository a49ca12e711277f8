"""The state read from beside the daemon with what Python itself brings: for the command that only looks.

Owns that one connection, which cannot write. It must not know what is asked, nor say what is wrong with a state that
cannot be read so: `OtherWay` leaves it then, and whoever opens the state in full (`database`) finds the words.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from moichord.queue import glance

BUSY_SECONDS = 30.0


class OtherWay(Exception):  # no error: the same is to be asked in another way
    """The state is not there, cannot be read, or is of another version."""


class Aside:
    """What `status.standing` asks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def glance(self, *, since: float, recent: int, most: int | None) -> glance.Glance:
        """Everything at one moment; uploads that ended after `since`."""
        try:
            with closing(self._connection.cursor()) as snapshot:
                snapshot.execute("BEGIN")
                try:
                    if glance.version(self._connection.execute) != glance.VERSION:
                        raise OtherWay
                    return glance.glance(self._connection.execute, since=since, recent=recent, most=most)
                finally:
                    snapshot.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise OtherWay from error


@contextmanager
def opened(state: Path) -> Iterator[Aside]:
    """The state as it lies there; nothing is created."""
    try:
        # https://www.sqlite.org/uri.html: rw, for whoever may write, since readers share memory with the daemon.
        connection = sqlite3.connect(f"{state.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)
        connection.isolation_level = None
        connection.execute("PRAGMA query_only = ON")
    except (sqlite3.Error, ValueError) as error:
        raise OtherWay from error
    with closing(connection):
        yield Aside(connection)
