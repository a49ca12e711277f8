"""How the state's file is connected to: SQLite with WAL and a full sync of every commit.

Owns what is said to SQLite when a connection or a transaction begins. It must not know tables. No error of its own
leaves it.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 30


def let_tables_go(connection: Connection) -> None:
    """A table that is made anew must not take rows of others along when its old form goes; checked before the commit.

    Only between transactions can this be said (https://www.sqlite.org/foreignkeys.html#fk_enable), and only for this
    connection.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")


def engine(path: Path, *, writing: bool) -> Engine:
    """Connections to the state: one that writes, or several that read and cannot write."""
    options: dict[str, Any] = {"poolclass": NullPool} if writing else {"pool_size": 2, "max_overflow": 20}
    url = URL.create("sqlite", database=str(path))
    made = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,  # they hold patients' data, and errors are logged
        **options,
    )

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The dialect, not the driver, starts transactions: the driver would start them late.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if writing:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        else:
            connection.execute("PRAGMA query_only = ON")

    def do_begin(connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    # Not by an event of the engine: while one is listened to, every statement asks who else listens.
    made.dialect.do_begin = do_begin  # type: ignore[assignment,method-assign]
    return made
