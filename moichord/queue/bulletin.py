"""What the daemon publishes for other processes: what ails it, and the bytes on their way.

Owns the facts `notices` and `sending`. It must not know where they come from. Errors: StateUnwritable.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from moichord.queue import migrations
from moichord.queue.database import Database


class Bulletin:
    """Written only when it has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._published: tuple[list[str], dict[str, int]] | None = None

    def publish(self, notices: Sequence[str], sending: Mapping[str, int]) -> None:
        """`notices` are sentences for people; `sending` the bytes of requests in flight, by submission."""
        news = (list(notices), dict(sending))
        if news == self._published:
            return

        def unit(connection: Connection) -> None:
            migrations.set_fact(connection, "notices", news[0])
            migrations.set_fact(connection, "sending", news[1])

        self._database.write(unit)
        self._published = news
