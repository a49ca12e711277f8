"""How much space was free, once an hour for a week, so that a forecast can be made.

Owns the fact `space`. It must not look at disks. Errors: StateUnwritable.
"""

from collections.abc import Mapping

from moichord.queue import migrations
from moichord.queue.database import Database

EVERY = 3600.0
KEPT = 7 * 24


class Space:
    """Looks at the disks: times (epoch seconds), and free bytes by folder."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def looks(self) -> list[tuple[float, Mapping[str, int]]]:
        """Oldest first."""
        with self._database.read() as connection:
            found = migrations.fact(connection, "space")
        return [(at, free) for at, free in found] if isinstance(found, list) else []

    def record(self, at: float, free: Mapping[str, int]) -> None:
        """Add one, unless the last is younger than an hour; what is older than a week is forgotten."""
        looks = self.looks()
        known = [look for look in looks if look[0] <= at]  # the clock may have been set back
        if known == looks and known and at - known[-1][0] < EVERY:
            return
        rows = [[then, dict(those)] for then, those in [*known, (at, free)][-KEPT:]]
        self._database.write(lambda connection: migrations.set_fact(connection, "space", rows))
