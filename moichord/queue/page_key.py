"""The key that seals the page's cookies: made once, kept in the state, which only moichord's own user may read.

Owns the fact `page_key`. It must not know what is sealed. Errors: StateUnwritable.
"""

import secrets

from sqlalchemy import Connection

from moichord.queue import migrations
from moichord.queue.database import Database

FACT = "page_key"
LENGTH = 32


def page_key(database: Database) -> bytes:
    """The key, 32 bytes; the first call makes it."""
    with database.read() as connection:
        known = migrations.fact(connection, FACT)
    return bytes.fromhex(known if isinstance(known, str) else database.write(_made))


def _made(connection: Connection) -> str:
    key = secrets.token_hex(LENGTH)
    migrations.set_fact(connection, FACT, key)
    return key
