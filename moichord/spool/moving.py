"""One folder from one name to another: by one rename or, across file systems, by a verified copy under its own name.

Owns how that is done, and what is said where a system refuses it. It must not know which folder belongs where. Errors:
`FileExistsError` where the new name is taken, `NamesCollide`, any other `OSError`, Stopped. The old name stays then.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from moichord import durable
from moichord.errors import Stopped
from moichord.sample import printable
from moichord.spool.names import is_there

_FORBIDDEN = (errno.EACCES, errno.EPERM)
_GROUP_MAY_CHANGE = stat.S_IRWXG


class NamesCollide(OSError):
    """Two names in the folder are one to the file system that it is copied to."""


def go_on() -> None:
    """Nothing stops a copy."""


def rename_or_copy(source: Path, target: Path, staging: Path, check_stop: Callable[[], None]) -> tuple[str, ...]:
    """Rename, or across file systems copy under the name `staging` and rename that; the source then stays.

    Returns what a copy could not hold, a sentence each. `check_stop` raises Stopped when a copy is to be left.
    """
    try:
        durable.rename_noreplace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return ()
    durable.remove_tree(staging)
    try:
        missing = _copied(source, staging, check_stop)
        durable.rename_noreplace(staging, target)
    except (OSError, Stopped):
        with suppress(OSError):  # half a copy must not keep a full disk full
            durable.remove_tree(staging)
        raise
    return missing


def _copied(source: Path, staging: Path, check_stop: Callable[[], None]) -> tuple[str, ...]:
    try:
        return durable.copy_tree_verified(source, staging, check_stop)
    except FileExistsError as error:
        name = printable(os.path.basename(os.fsdecode(error.filename or "")))
        said = (
            f"{staging.parent} cannot hold this sample: two names in one folder of it differ only in case ({name}). "
            "That folder must lie on a file system that tells such names apart"
        )
        raise NamesCollide(errno.ENOTSUP, said) from error


def drop_placeholder(source: Path, target: Path) -> None:
    """Beside its source, an empty target is what a rename cut short leaves where the system has no renameat2."""
    if is_there(source):
        with suppress(OSError):
            target.rmdir()


def open_for_group(folder: Path) -> None:
    """Let technicians take the sample back: the group may change its folders, files keep their permissions."""
    for here, _, _ in os.walk(folder):
        wanted = stat.S_IMODE(os.stat(here).st_mode) | _GROUP_MAY_CHANGE
        # Under systemd's RestrictSUIDSGID nobody may set a folder's setgid bit, not even to what it is.
        for mode in (wanted, wanted & 0o777):
            with suppress(PermissionError):  # a folder of the scanner's own user; its files can be taken all the same
                os.chmod(here, mode)
                break


def why_not_taken(error: OSError) -> str:
    """Why a folder could not be renamed out of the inbox, for people."""
    if error.errno in _FORBIDDEN:
        return (
            "moichord may not rename this folder: it belongs to another user. "
            "Ask for group write permission in the inbox (see the README, Samba)"
        )
    if error.errno == errno.EBUSY:
        return "this folder is in use: close the programs that have it open, or unmount what is mounted in it"
    return f"moichord cannot take this folder: {error.strerror}"
