"""Before anything moves: whether the folders can serve, and whose work folder it is.

Owns the start-up checks of the four folders and the mark that ties `work` to one state. It must not move a sample,
except for returning those of a lost state to the inbox when a person asks for it. `ConfigurationInvalid`,
`ForeignFolder`, `StateInUse` and `FoldersUnwritable` leave it, and `OSError` from below.
"""

import errno
import stat
import uuid as uuids
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from moichord import durable
from moichord.errors import ConfigurationInvalid, FoldersUnwritable, ForeignFolder, StateInUse
from moichord.sample import printable
from moichord.spool.names import candidates, is_there, orphans

_OWNER_NAME = ".moichord-state"
_FAULTS_OF_THE_SETTINGS = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST}
_PROBE_PREFIX = f"{durable.TEMPORARY_PREFIX}probe-"


def require_folders(**folders: Path) -> None:
    """Raise `ConfigurationInvalid` with all folders, by their configuration keys, that are not there."""
    problems = [problem for key, folder in folders.items() if (problem := folder_problem(key, folder))]
    if problems:
        raise ConfigurationInvalid(problems)


def folder_problem(key: str, folder: Path) -> str | None:
    """Why this folder cannot be used, by its configuration key; None if it is there."""
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except OSError as error:
        return f"folders.{key}: {folder}: {error.strerror}: create it, or mount the share that holds it"
    return None if is_folder else f"folders.{key}: {folder} is not a folder"


def create_work(work: Path) -> None:
    """Make sure that `work` exists and is the daemon's own (mode 0700)."""
    try:
        work.mkdir(0o700, exist_ok=True)
        if stat.S_IMODE(work.stat().st_mode) & 0o077:
            work.chmod(0o700)
    except OSError as error:
        _raise_fault_of_the_disk(error, work)
        remedy = "create it for the user that moichord runs as, with mode 0700"
        raise ConfigurationInvalid([f"folders.work: {work}: {error.strerror}: {remedy}"]) from error


def own_work(work: Path, inbox: Path, state_uuid: str, lock: Path | None, *, adopt: bool) -> tuple[str, ...]:
    """Write into `work` which state it belongs to and which lock its daemon holds, or compare.

    The work folder of another state raises `ForeignFolder`, or with `adopt` is taken over: the samples in it return to
    the inbox, and the names they got there are returned. `StateInUse` while the daemon of the other state runs.
    """
    found = _mark(work)
    left: tuple[str, ...] = ()
    if found.state_uuid != state_uuid:
        left = orphans(work)
        if found.state_uuid is not None or left:
            if not adopt:
                raise _foreign(work, found.state_uuid, state_uuid)
            _refuse_to_rob(work, found.lock, lock)
    returned = tuple(name for uuid in left for name in return_to_inbox(work, inbox, uuid))
    mark = _Mark(state_uuid, lock)
    if found != mark:
        durable.replace_text(work / _OWNER_NAME, mark.text, mode=0o600)
    return returned


def owner(work: Path) -> str | None:
    """The UUID of the state that this work folder belongs to; None if it carries no mark. Raises `OSError`."""
    return _mark(work).state_uuid


class _Mark(NamedTuple):
    """What work says of its owner. The lock is not held here: an open file would keep a share from being unmounted."""

    state_uuid: str | None
    lock: Path | None

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self if line is not None)


def _mark(work: Path) -> _Mark:
    try:
        text = (work / _OWNER_NAME).read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return _Mark(None, None)
    state_uuid, _, lock = text.partition("\n")
    return _Mark(state_uuid.strip(), Path(lock.removesuffix("\n")) if lock.strip() else None)


def _refuse_to_rob(work: Path, other: Path | None, own: Path | None) -> None:
    """Raise `StateInUse` if the daemon to which `work` belongs runs on this machine, or nobody here may know."""
    try:
        # Our own lock is held by us, under whatever name the other state had it.
        if other is None or not other.exists() or (own is not None and own.exists() and other.samefile(own)):
            return
        if not durable.Lock(other).held_elsewhere():
            return
        problem = f"{work} is in use by another moichord daemon, which holds {other}"
    except OSError as error:
        problem = f"{work} may be in use by another moichord daemon: {other} cannot be opened ({error.strerror})"
    remedy = "Stop that daemon first, or give this one folders of its own: two would rob each other."
    raise StateInUse(printable(problem), remedy=remedy)


def _foreign(work: Path, other: str | None, state_uuid: str) -> ForeignFolder:
    whose = f"belongs to another state ({printable(other)})" if other else "holds samples of an unknown state"
    return ForeignFolder(
        f"{work} {whose}; this state is {state_uuid}",
        remedy="Set folders.work and state to a pair that belongs together. If the other state is lost, "
        "`moichord run --adopt-work` returns the samples in this folder to the inbox.",
    )


def samples_in(folder: Path) -> list[str]:
    """The names of what lies in a folder of work, but for what a copy cut short has left."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(durable.TEMPORARY_PREFIX))


def return_to_inbox(work: Path, inbox: Path, uuid: str) -> list[str]:
    """Move what lies in one folder of work to the inbox, durably, and remove that; the names it got there."""
    returned = []
    for found in samples_in(work / uuid):
        name = next(name for name in candidates(found, 1) if not is_there(inbox / name))
        durable.rename_noreplace(work / uuid / found, inbox / name)
        returned.append(name)
    durable.fsync_folder(inbox)
    durable.remove_tree(work / uuid)
    durable.fsync_folder(work)
    return returned


def remove_leftovers(inbox: Path, work: Path) -> None:
    """Remove what an earlier start that was cut short left of its own in these folders."""
    for folder in (inbox, work):
        for path in folder.glob(f"{_PROBE_PREFIX}*"):
            with suppress(OSError):  # it is in nobody's way
                path.rmdir()
    for path in work.glob(f"{durable.TEMPORARY_PREFIX}*{durable.TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            path.unlink()


def rename_problem(inbox: Path, work: Path) -> str | None:
    """Why a sample could not be renamed from inbox to work, found out by renaming an empty folder; None if it can.

    Raises `FoldersUnwritable` if the disk hinders the trial.
    """
    name = f"{_PROBE_PREFIX}{uuids.uuid4()}"
    try:
        (inbox / name).mkdir(0o700)
        durable.rename_noreplace(inbox / name, work / name)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return (
                f"folders.work: {work} must be on the same file system as {inbox}, and under systemd both below"
                " one path of ReadWritePaths: a sample is taken by one rename"
            )
        _raise_fault_of_the_disk(error, inbox)
        return f"folders.inbox: moichord cannot rename a folder from {inbox} to {work}: {error.strerror}"
    finally:
        for folder in (inbox, work):
            with suppress(OSError):
                (folder / name).rmdir()
    return None


def _raise_fault_of_the_disk(error: OSError, folder: Path) -> None:
    """Settings are not to blame for a full disk, and the daemon is to be started again: it may have room by then."""
    if error.errno not in _FAULTS_OF_THE_SETTINGS:
        raise FoldersUnwritable(
            f"{folder} cannot be written: {error.strerror}",
            remedy="Check free space and the health of the disk or share that holds it.",
        ) from error
