"""The files of the database: for moichord's own eyes, and copied before it is brought to a newer version.

Owns their modes, and the names and number of the copies: of the last three versions the newest copy each, beside the
database. It must not know what the database holds. Errors: StateUnwritable when a copy cannot be made; nothing
half-made then has a copy's name, and the database is as it was.
"""

import logging
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from moichord.durable import TEMPORARY_SUFFIX, fsync_file, fsync_folder
from moichord.errors import StateUnwritable

log = logging.getLogger(__name__)

COPIES_KEPT = 3
_OTHERS = stat.S_IRWXO
_COMPANIONS = ("", "-wal", "-shm")  # https://www.sqlite.org/walformat.html: they get the mode of the database


def mark_of(database: Path) -> tuple[int, int] | None:
    """Another value after every commit, of whichever process; None where nothing is known. It costs next to nothing.

    What is committed goes to the end of the write-ahead log, or to its beginning once that is in the database itself.
    """
    try:
        log_of_writes = database.with_name(database.name + "-wal").stat()
    except OSError:
        return None
    return log_of_writes.st_mtime_ns, log_of_writes.st_size


def make_private(database: Path) -> None:
    """Make the file of a new database with mode 0600, and take an older one from all but its owner and group.

    It holds what is known of patients. An error is not raised: SQLite meets it too, and says more of it.
    """
    with suppress(OSError):
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for ending in _COMPANIONS:
        file = database.with_name(database.name + ending)
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & _OTHERS:
                file.chmod(mode & ~_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("everybody on this machine may read the state %s: %s", file, error.strerror)


def keep_copy(
    database: Path, version: int, now: float, amend: Callable[[sqlite3.Connection], object] | None = None
) -> Path:
    """Copy the database as it was last committed, with mode 0600 and safe from a power cut; where the copy lies.

    `version` is that of its schema, `now` the time for its name (UTC); `amend` writes into the copy alone. Older copies
    than are kept are deleted.
    """
    at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = database.with_name(f"{database.name}.v{version}-{at}.bak")
    temporary = database.with_name(f"{database.name}.bak{TEMPORARY_SUFFIX}")  # left by a crash, the next one takes it
    try:
        temporary.unlink(missing_ok=True)
        _copy(database, temporary, amend)
        temporary.replace(copy)
        fsync_folder(database.parent)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateUnwritable(
            f"The state {database} cannot be copied before it is brought to a newer version: {error}",
            remedy=f"Nothing was changed. The copy needs {size_of_copy(database)} beside it: free that much.",
        ) from error
    _forget_old(database, copy)
    return copy


def newest_copy(database: Path, up_to: int) -> Path | None:
    """The newest copy of the newest version up to `up_to`, if there is one."""
    found = [known for known in _copies(database) if known[0] <= up_to]
    return max(found)[2] if found else None


def size_of_copy(database: Path) -> str:
    """What a copy needs at most, for people."""
    size = 0
    for ending in _COMPANIONS[:2]:
        with suppress(OSError):
            size += database.with_name(database.name + ending).stat().st_size
    return f"{max(1, -(-size // 2**20))} MiB"


def _copy(database: Path, to: Path, amend: Callable[[sqlite3.Connection], object] | None) -> None:
    os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # it has no name that counts yet
        source.backup(target)
        if amend is not None:
            with target:
                amend(target)
    with to.open("r+b") as file:
        fsync_file(file)


def _forget_old(database: Path, made: Path) -> None:
    newest: dict[int, Path] = {}
    for version, _, file in sorted(_copies(database)):
        newest[version] = file
    kept = {made, *(newest[version] for version in sorted(newest)[-COPIES_KEPT:])}
    for _, _, file in _copies(database):
        if file not in kept:
            try:
                file.unlink()
            except OSError as error:
                log.warning("the old copy of the state %s cannot be deleted: %s", file, error.strerror)


def _copies(database: Path) -> list[tuple[int, str, Path]]:
    """Version, time and place of each."""
    name = re.compile(re.escape(database.name) + r"\.v([0-9]{1,9})-([0-9]{8}T[0-9]{6}Z)\.bak")
    try:
        files = list(database.parent.iterdir())
    except OSError:
        return []
    matches = [(name.fullmatch(file.name), file) for file in files]
    return [(int(match[1]), match[2], file) for match, file in matches if match is not None]
