"""Databases of every version that was ever written down, as SQL text, with rows in every state.

Owns the files `vN.sql`: how they are written, once each, and turned into databases again. `python -m
tests.unit.queue.versions` writes down the present version; a file of a released version is never changed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from moichord.queue import schema
from moichord.queue.retained import Retained
from moichord.sample import Acknowledgement, Api, Change, State, Step, Submission
from tests.unit.queue.state import Queue, arrival, image, opened, outage, taking, transient

FOLDER = Path(__file__).parent
UNDECODABLE = "caf\udce9.dcm"
BEYOND_63_BITS = 2**64 - 1


def written_down() -> dict[int, Path]:
    """The file of each version."""
    return {int(file.stem.removeprefix("v")): file for file in sorted(FOLDER.glob("v*.sql"))}


def write_down(scratch: Path) -> Path:
    """Write the file of the present version, which must not be there yet; `scratch` is an empty folder."""
    path = scratch / "state.db"
    with opened(path) as queue:
        live(queue)
    with closing(sqlite3.connect(path)) as connection:
        lines = list(connection.iterdump())
    file = FOLDER / f"v{schema.SCHEMA_VERSION}.sql"
    with file.open("x", encoding="utf-8") as text:
        text.write("\n".join(lines) + "\n")
    return file


def restore(version: int, path: Path) -> None:
    """A database of that version, as a daemon leaves it behind, at `path`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(written_down()[version].read_text("utf-8"))


def content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, by column, in an order of their own."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        found = {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in _tables(connection)
        }
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def shape(path: Path) -> dict[str, Any]:
    """What the database is made of, without what differs between a table that was made so and one that became so."""
    with closing(sqlite3.connect(path)) as connection:
        shapes = {name: _shape(connection, name) for name in _tables(connection)}
        others = connection.execute("SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')")
        return {**shapes, "others": others.fetchall()}


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return sorted(name for (name,) in connection.execute(names))


def _shape(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    (made_by,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    indexes = connection.execute(f"PRAGMA index_list({table})").fetchall()
    return {
        "columns": sorted(row[1:] for row in connection.execute(f"PRAGMA table_xinfo({table})")),
        "keys": sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")),
        "indexes": sorted((row[1:], connection.execute(f"PRAGMA index_info({row[1]})").fetchall()) for row in indexes),
        "never a number again": "AUTOINCREMENT" in made_by,
    }


def live(queue: Queue) -> None:
    """A state with something of everything in it, by the verbs of the present version."""
    queue.arrivals.record([arrival("arriving"), arrival(UNDECODABLE, sample_id=None, reason="no sample ID")], [])
    _conclude_some(queue)
    _leave_some(queue)
    queue.requests.ask_cancel(queue.drop("ready")[0])
    queue.arrivals.intend([taking("being-taken")])
    queue.requests.pause()


def _conclude_some(queue: Queue) -> None:
    queue.drop("done")
    submission = queue.claim()
    journal = queue.reach(submission, Step.UPLOAD)
    _acknowledge(queue, submission)
    for step, following in ((Step.UPLOAD, Step.ANALYTICS), (Step.ANALYTICS, Step.ARCHIVE), (Step.ARCHIVE, None)):
        journal.advance(step, {"of": str(step)}, following)
    queue.finish(submission)
    for name, outcome in (("failed", State.FAILED), ("cancelled", State.CANCELLED), ("deleted", State.FAILED)):
        queue.drop(name)
        queue.fail(queue.claim(), outcome=outcome)
    deleted = queue.views.newest("deleted")
    assert deleted is not None
    retained = Retained(queue.database, queue.clock)
    retained.intend(deleted)
    retained.deleted(deleted, "its folder was old enough to be deleted")
    failed = queue.views.newest("failed")
    assert failed is not None
    queue.requests.ask_retry(failed, None)
    queue.requests.done(queue.requests.open()[0], "refused: altered")


def _acknowledge(queue: Queue, submission: Submission) -> None:
    journal = queue.journal(submission)
    for one in journal.images():
        journal.sending(one)
        journal.acknowledged(Acknowledgement(one, 200, {"Status": "Success"}, already_stored=False, tail_digest="dd"))


def _leave_some(queue: Queue) -> None:
    queue.drop("own-retry")
    assert queue.turn(queue.claim(), Step.METADATA, transient()) is not None
    queue.drop("being-filed")
    queue.endings.conclude(queue.claim(), State.FAILED, UNDECODABLE, "it is broken", "mend it")
    queue.drop("held-by-outage")
    queue.turn(queue.claim(), Step.ANALYTICS, outage(Api.ANALYTICS))
    queue.drop("sending")
    sending = queue.claim()
    journal = queue.journal(sending)
    journal.begin(Step.METADATA)
    journal.advance(Step.METADATA, {"patient-name": "Biscuit"}, Step.TAGS)
    changed = (Change("PatientName", None, "Biscuit"),)
    planned = [image("a.dcm", changes=changed, warnings=("odd",)), image(UNDECODABLE, inode=BEYOND_63_BITS)]
    journal.advance(Step.TAGS, {}, Step.UPLOAD, planned)
    first, second = journal.images()
    journal.sending(first)
    journal.acknowledged(Acknowledgement(first, 200, {"Status": "Success"}, already_stored=False, tail_digest="dd"))
    journal.sending(second)
