"""Whole folders: copied with proof, synced, removed without following anything.

Both walk with a stack of their own, so that a deep tree cannot exhaust Python's. DIAGNOSTICS: `OSError` leaves it,
with EIO where a copy reads back differently from its source; a tree that was copied or removed in part is left for
the caller to remove and begin again.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from moichord.durable.files import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    NotRegular,
    fsync_file,
    fsync_folder,
    kind_of,
    open_flags,
    open_regular,
)

_BUFFER_BYTES = 1 << 20
_FEW_FILES = 8
_NEVER_COPIED = ("a socket", "a device")
_COARSEST_MTIME_NS = 2_000_000_000


def _go_on() -> None:
    """Nothing stops a copy."""


def copy_tree_verified(source: Path, destination: Path, check_stop: Callable[[], None] = _go_on) -> tuple[str, ...]:
    """Copy a folder to a new name, all of it on the disk and read back before this returns.

    Files are synced, then folders from the bottom up; every file is read again and its SHA-256 compared. Times of
    change (ns) and permissions are kept. Symbolic links and pipes are made anew, never followed. Returns what could
    not be made there (sockets, devices), one sentence each. `destination` must not exist. `check_stop` is called
    before each block that is copied or read back: what it raises ends the copy.
    """
    missing: list[str] = []
    folders: list[tuple[str, str]] = []
    pending = [(os.fspath(source), os.fspath(destination))]
    while pending:
        here, there = pending.pop()
        os.mkdir(there, 0o700)
        folders.append((here, there))
        with os.scandir(here) as entries:
            for entry in entries:
                target = os.path.join(there, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, target))
                elif entry.is_file(follow_symlinks=False):
                    _copy_file(entry.path, target, check_stop)
                elif not _copied_special(entry, target):
                    what = kind_of(entry.stat(follow_symlinks=False).st_mode)
                    missing.append(f"{os.path.relpath(entry.path, source)} is {what} and was not copied")
    for here, there in reversed(folders):  # children were listed after their parents
        _finish_folder(here, there)
    return tuple(missing)


def holds_all(copy: Path, source: Path, *, but: Container[str] = ()) -> bool:
    """Whether every file of `source` lies in `copy` under the same name, with its size and time of change.

    The names in `but` do not count at the top. Contents are not compared: for what `copy_tree_verified` has made, and
    somebody may have added to since. Times may differ by what the coarsest file system (FAT) cuts off.
    """
    for here, _, names in os.walk(source, onerror=_raise):
        relative = os.path.relpath(here, source)
        for name in names:
            if relative == os.curdir and name in but:
                continue
            wanted = os.lstat(os.path.join(here, name))
            if kind_of(wanted.st_mode) not in _NEVER_COPIED and not _is_copy(copy / relative / name, wanted):
                return False
    return True


def _is_copy(path: Path, wanted: os.stat_result) -> bool:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_IFMT(found.st_mode) != stat.S_IFMT(wanted.st_mode):
        return False
    late = abs(found.st_mtime_ns - wanted.st_mtime_ns) >= _COARSEST_MTIME_NS
    return not stat.S_ISREG(wanted.st_mode) or (found.st_size == wanted.st_size and not late)


def _raise(error: OSError) -> None:
    raise error


def _copy_file(source: str, target: str, check_stop: Callable[[], None]) -> None:
    with open_regular(source, single_link=False) as old, open(target, "xb", buffering=0) as new:
        wanted = _copied(old, new, check_stop)
        status = os.fstat(old.fileno())
        os.chmod(target, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        fsync_file(new)
        if hasattr(os, "posix_fadvise"):  # what is compared shall come from the disk, not from memory
            os.posix_fadvise(new.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with open_regular(target) as copy:
        if _copied(copy, None, check_stop) != wanted:
            raise OSError(errno.EIO, "the copy reads back differently from its source", target)


def _copied(old: FileIO, new: FileIO | None, check_stop: Callable[[], None]) -> bytes:
    """Copy `old` to `new`, or only read it; the SHA-256 of what was read."""
    import hashlib  # loading OpenSSL takes 10 ms, which a command that only looks need not spend

    digest = hashlib.sha256()
    while piece := old.read(_BUFFER_BYTES):
        check_stop()
        digest.update(piece)
        rest = memoryview(piece)
        while rest and new is not None:
            rest = rest[new.write(rest) :]
    return digest.digest()


def _copied_special(entry: os.DirEntry[str], target: str) -> bool:
    """Make a link or a pipe anew; False for what an ordinary process cannot make."""
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        Path(target).symlink_to(os.readlink(entry.path))
    elif stat.S_ISFIFO(mode):
        os.mkfifo(target, stat.S_IMODE(mode))
    else:
        return False
    return True


def _finish_folder(here: str, there: str) -> None:
    status = os.stat(here)
    inherited = stat.S_IMODE(os.stat(there).st_mode) & 0o7000
    set_mode(there, inherited | (stat.S_IMODE(status.st_mode) & 0o777) | 0o700)
    os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns))
    fsync_folder(there)


def set_mode(folder: str | Path, mode: int) -> None:
    """chmod; without the setgid bit where it may not be set, not even to what it is (systemd's RestrictSUIDSGID).

    Raises PermissionError where the folder is another user's.
    """
    try:
        os.chmod(folder, mode)
    except PermissionError:
        if not mode & 0o7000:
            raise
        os.chmod(folder, mode & 0o777)


@dataclass(slots=True)
class _Level:
    descriptor: int
    name: str
    folders: list[str]


def remove_tree(path: Path) -> None:
    """Remove a folder and everything below it; links are removed, never followed. Gone already is fine.

    Walks by descriptors, so that nobody can lead it elsewhere by exchanging a folder for a link on the way.
    """
    if os.rmdir not in os.supports_dir_fd:
        if path.exists():
            shutil.rmtree(path)
        return
    try:
        descriptor = os.open(path, open_flags(folder=True))
    except FileNotFoundError:
        return
    levels = [_Level(descriptor, "", [])]
    try:
        _remove_files(levels[0])
        while levels:
            level = levels[-1]
            if level.folders:
                name = level.folders.pop()
                below = os.open(name, open_flags(folder=True), dir_fd=level.descriptor)
                levels.append(_Level(below, name, []))
                _remove_files(levels[-1])
                continue
            os.close(levels.pop().descriptor)
            if levels:
                os.rmdir(level.name, dir_fd=levels[-1].descriptor)
    finally:
        for level in levels:
            os.close(level.descriptor)
    path.rmdir()


def _remove_files(level: _Level) -> None:
    with os.scandir(level.descriptor) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                level.folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=level.descriptor)


def sync_tree(folder: Path) -> None:
    """Return when everything in a folder and below it is on the disk, whoever wrote it.

    What is no regular file is passed by, and so is a file that we may not read: nothing can be known of it. Many files
    are synced with their whole file system (syncfs(2)) where that can be done: a disk is then flushed once, not once
    for each of them.
    """
    if os.name == "nt" or (_holds_many(folder) and _synced_whole(folder)):
        return
    for here, _, files in os.walk(folder):
        for name in files:
            with (
                suppress(NotRegular, PermissionError, FileNotFoundError),
                open_regular(os.path.join(here, name), single_link=False) as file,
            ):
                os.fsync(file.fileno())
        fsync_folder(here)


def _holds_many(folder: Path) -> bool:
    counted = 0
    for _, _, files in os.walk(folder):
        counted += len(files)
        if counted > _FEW_FILES:
            return True
    return False


def _synced_whole(folder: Path) -> bool:
    """Sync the file system that holds this folder; False where there is no such call."""
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return False
    descriptor = os.open(folder, open_flags(folder=True))
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(folder))
    finally:
        os.close(descriptor)
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a `replace_file` cut short by a crash left in this folder and below."""
    for here, _, files in os.walk(folder):
        for name in files:
            if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(here, name))
