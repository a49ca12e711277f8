"""What happened to the daemon as a whole, as rows of history that belong to no sample.

Owns these rows: the daemon starts and stops, all is paused and goes on, a server fails everybody and answers again. It
must not know who reads them. Errors: StateUnwritable.
"""

from sqlalchemy import Connection

from moichord.clock import Clock
from moichord.queue.database import Database
from moichord.queue.rows import remember_all
from moichord.sample import Api

NOBODY = ""
"""The sample ID of such a row."""


def note(connection: Connection, at: float, text: str, kind: str, api: Api | None = None) -> None:
    """Write one: `kind` is for programs, `text` for people."""
    detail = {"occasion": kind} if api is None else {"occasion": kind, "api": str(api)}
    row = {"at": at, "sample_id": NOBODY, "submission": None, "state": None, "step": None}
    remember_all(connection, [{**row, "text": text, "detail": detail}])


class Occasions:
    """For the daemon's own start and end."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def started(self, version: str) -> None:
        self._note(f"moichord {version} has started", "started")

    def stopped(self) -> None:
        self._note("moichord has stopped", "stopped")

    def _note(self, text: str, kind: str) -> None:
        now = self._clock.now()
        self._database.write(lambda connection: note(connection, now, text, kind))
