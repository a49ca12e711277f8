"""Versions of the database: made new, brought forward step by step, never backward.

Owns the order of the schema's versions and the single values (`facts`). It must not know what the rows mean. Errors:
StateUnusable for a database of a newer moichord or of something else, StateOutdated for one that the daemon has not
brought forward yet, StateUnwritable when there is no room for its copy.

All steps to the newest version are one transaction, after a copy of the file was made (`files`): whatever breaks them
off, the old version stays, and the old moichord works with it. The version is a row of `facts`, not SQLite's
user_version, since it has to change in that transaction in every database.

To add version N + 1, in one commit:

1. Change `schema.py`, and `SCHEMA_VERSION` there.
2. Write a function of the connection below, and enter it in `STEPS` under N. It writes out its statements; it must not
   use `schema`, which later versions change. Foreign keys are off meanwhile, and checked at its end.
3. A column that may not be null needs a `server_default` in `schema.py` and the same DEFAULT in its ALTER TABLE.
4. `python -m tests.unit.queue.versions` writes down the new version; `tests/unit/queue/test_migrations.py` brings all
   versions to it that were ever written down.
5. Say it in the CHANGELOG.
"""

import json
import logging
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection, bindparam, inspect, select

from moichord import __version__
from moichord.errors import StateOutdated, StateUnusable
from moichord.queue import files, schema
from moichord.sample import Api

log = logging.getLogger(__name__)

COPIED_AT = "copied_at"
"""The fact that tells a copy, once it is put back, from the state that it was made of."""

# version -> what brings a database of that version to the next one
STEPS: Mapping[int, Callable[[Connection], None]] = {}

_FACT = select(schema.facts.c.value).where(schema.facts.c.name == bindparam("of"))
_FORGET = schema.facts.delete().where(schema.facts.c.name == bindparam("of"))
_WRITE = schema.facts.insert()


def migrate(connection: Connection, path: Path, now: float) -> None:
    """Make the tables, or bring them to `schema.SCHEMA_VERSION`, in the caller's transaction.

    The transaction must hold the right to write, so that the copy of `path` is what is brought forward; `now` is the
    time for the copy's name.
    """
    if not _is_there(connection, path):
        create(connection)
        return
    version = _version(connection, path)
    if version > schema.SCHEMA_VERSION:
        raise _newer(connection, path, version)
    if version < schema.SCHEMA_VERSION:
        copy = files.keep_copy(path, version, now, lambda kept: _mark_as_copy(kept, now))
        log.warning(
            "the state is brought from version %d to %d; as it was before, it is kept in %s",
            version,
            schema.SCHEMA_VERSION,
            copy,
        )
        for step in range(version, schema.SCHEMA_VERSION):
            STEPS[step](connection)
        set_fact(connection, "schema_version", schema.SCHEMA_VERSION)
        _require_whole(connection, path)
    if fact(connection, "written_by") != __version__:
        set_fact(connection, "written_by", __version__)


def require_current(connection: Connection, path: Path) -> None:
    """Refuse a database that another version of moichord works with; only the daemon brings one forward."""
    version = _version(connection, path)
    if version > schema.SCHEMA_VERSION:
        raise _newer(connection, path, version)
    if version < schema.SCHEMA_VERSION:
        raise StateOutdated(
            f"The state database {path} has schema version {version}; moichord {__version__} works with "
            f"{schema.SCHEMA_VERSION}.",
            remedy="Restart the daemon: it brings the state forward when it starts. Before, it puts a copy of it "
            f"beside it, for which {files.size_of_copy(path)} must be free.",
        )


def create(connection: Connection) -> None:
    """A new, empty state with a UUID of its own."""
    schema.tables.create_all(connection)
    connection.execute(
        schema.facts.insert(),
        [
            {"name": "schema_version", "value": schema.SCHEMA_VERSION},
            {"name": "state_uuid", "value": str(uuid.uuid4())},
            {"name": "written_by", "value": __version__},
        ],
    )
    connection.execute(
        schema.circuits.insert(),
        [{"api": str(api), "failures": 0, "probes": 0, "successes": 0} for api in Api],
    )


def fact(connection: Connection, name: str) -> object:
    """A single value of the state, or None."""
    return connection.execute(_FACT, {"of": name}).scalar()


def set_fact(connection: Connection, name: str, value: object) -> None:
    """Write a single value of the state; None removes it."""
    connection.execute(_FORGET, {"of": name})
    if value is not None:
        connection.execute(_WRITE, {"name": name, "value": value})


def _mark_as_copy(kept: sqlite3.Connection, now: float) -> None:
    """Whoever works with this copy must know that it is one. Its version may be any, and so is its SQL written out."""
    kept.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (COPIED_AT, json.dumps(now)))


def _is_there(connection: Connection, path: Path) -> bool:
    tables = inspect(connection).get_table_names()
    if tables and schema.facts.name not in tables:
        raise _foreign(path)
    return bool(tables)


def _version(connection: Connection, path: Path) -> int:
    version = fact(connection, "schema_version")
    if not isinstance(version, int) or version < 1:
        raise _foreign(path)
    return version


def _require_whole(connection: Connection, path: Path) -> None:
    """No row may have lost the one that it belongs to on the way."""
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if lost:
        raise StateUnusable(
            f"The state database {path} cannot be brought to version {schema.SCHEMA_VERSION}: {len(lost)} of its rows "
            "would belong to nothing.",
            remedy="Nothing was changed. Install the moichord again that worked with it, and report this.",
        )


def _foreign(path: Path) -> StateUnusable:
    return StateUnusable(
        f"The database {path} is not a state of moichord.",
        remedy="Let `state` in the configuration name a file of its own.",
    )


def _newer(connection: Connection, path: Path, version: int) -> StateUnusable:
    author = fact(connection, "written_by")
    remedy = f"Install {'a newer moichord' if author is None else f'moichord {author}'} again."
    copy = files.newest_copy(path, schema.SCHEMA_VERSION)
    if copy is not None:
        remedy += (
            f"\nOr stop the daemon, move {path.name}, {path.name}-wal and {path.name}-shm away and put a copy of\n"
            f"{copy} in their place. It knows nothing of what has happened since it was made."
        )
    return StateUnusable(
        f"The state database {path} has schema version {version}"
        f"{'' if author is None else f' and was written by moichord {author}'}; "
        f"moichord {__version__} works with {schema.SCHEMA_VERSION}.",
        remedy=remedy,
    )
