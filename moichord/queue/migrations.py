"""Versions of the database: made new, brought forward step by step, never backward.

Owns the order of the schema's versions. It must not know what the rows mean. Errors: StateUnusable, for a database
of a newer moichord.
"""

import uuid
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, bindparam, inspect, select

from moichord import __version__
from moichord.errors import StateUnusable
from moichord.queue import schema
from moichord.sample import Api

# version -> what brings a database of that version to the next one
STEPS: Mapping[int, Callable[[Connection], None]] = {}

_FACT = select(schema.facts.c.value).where(schema.facts.c.name == bindparam("of"))
_FORGET = schema.facts.delete().where(schema.facts.c.name == bindparam("of"))
_WRITE = schema.facts.insert()


def migrate(connection: Connection) -> None:
    """Make the tables, or bring them to `schema.SCHEMA_VERSION`, in the caller's transaction."""
    if not inspect(connection).has_table("facts"):
        create(connection)
        return
    version = fact(connection, "schema_version")
    if not isinstance(version, int) or version > schema.SCHEMA_VERSION:
        raise StateUnusable(
            f"The state database has schema version {version}; moichord {__version__} knows versions up to "
            f"{schema.SCHEMA_VERSION}.",
            remedy="Install the newer moichord again, or restore the backup that was made when it was upgraded.",
        )
    for step in range(version, schema.SCHEMA_VERSION):
        STEPS[step](connection)
        set_fact(connection, "schema_version", step + 1)


def require_current(version: object) -> None:
    """Refuse a database that another version of moichord works with; only the daemon brings one forward."""
    if version != schema.SCHEMA_VERSION:
        raise StateUnusable(
            f"The state database has schema version {version}; moichord {__version__} reads {schema.SCHEMA_VERSION}.",
            remedy="Use the moichord that the daemon runs; after an upgrade, restart the daemon first.",
        )


def create(connection: Connection) -> None:
    """A new, empty state with a UUID of its own."""
    schema.tables.create_all(connection)
    connection.execute(
        schema.facts.insert(),
        [
            {"name": "schema_version", "value": schema.SCHEMA_VERSION},
            {"name": "state_uuid", "value": str(uuid.uuid4())},
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
