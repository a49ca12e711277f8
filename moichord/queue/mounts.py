"""Where the folders' file systems were mounted when they last served, across restarts.

Owns the fact `mounts`. It must not look at folders. Errors: StateUnwritable.

An empty mount point looks like an empty folder; only who remembers can tell that its share is missing.
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection

from moichord.queue import migrations
from moichord.queue.database import Database


class Mounts:
    """Mount points by folder, both as paths; a folder is known by the path that is configured."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self) -> dict[Path, Path]:
        """All that were ever remembered."""
        with self._database.read() as connection:
            return _known(connection)

    def remember(self, found: Mapping[Path, Path]) -> None:
        """Add these, or put them in the place of what was known of these folders."""

        def unit(connection: Connection) -> None:
            known = {**_known(connection), **found}
            rows = {str(folder): str(mount) for folder, mount in known.items()}
            migrations.set_fact(connection, "mounts", rows)

        self._database.write(unit)


def _known(connection: Connection) -> dict[Path, Path]:
    value = migrations.fact(connection, "mounts")
    return {Path(folder): Path(mount) for folder, mount in value.items()} if isinstance(value, dict) else {}
