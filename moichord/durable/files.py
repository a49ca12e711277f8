"""One file at a time: opened safely, synced, renamed without replacing, replaced as a whole.

DIAGNOSTICS: `NotRegular` where a plain file was expected and something else lies there; `FileExistsError` where a
rename would replace; any other `OSError` as the system gives it. After an error nothing half-made keeps its final
name. A failed fsync is never tried again on the same file: the caller writes anew.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from moichord.errors import MoichordError

TEMPORARY_PREFIX = ".moichord-"
TEMPORARY_SUFFIX = ".tmp"

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})

_TYPE_NAMES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegular(MoichordError):
    """What lies there is not a plain file with one name; `what` says what it is ("a symbolic link")."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} is {what}, not a plain file", remedy="Put the file itself there.")
        self.what = what


def kind_of(mode: int) -> str | None:
    """What a file of this `st_mode` is, in words; None for a plain file."""
    return next((words for is_it, words in _TYPE_NAMES if is_it(mode)), None)


def open_flags(*, folder: bool = False) -> int:
    """Flags that open a name for reading without following, blocking, or becoming a terminal's process."""
    names = ["O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY", "O_NOINHERIT"]
    flags = os.O_RDONLY
    for name in [*names, "O_DIRECTORY"] if folder else names:
        flags |= getattr(os, name, 0)
    return flags


def open_regular(
    name: str | Path, *, dir_fd: int | None = None, single_link: bool = True, device: int | None = None
) -> FileIO:
    """Open a plain file for reading, unbuffered, and nothing else, whatever a stranger put under that name.

    `dir_fd` is the folder that `name` is relative to. `single_link` refuses a file that has a second name
    somewhere; `device`, that of the folder, refuses a file that is mounted there from another file system. Raises
    `NotRegular`, or `OSError` where it cannot be opened.
    """
    shown = os.fspath(name)
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(shown):
        raise NotRegular(shown, "a symbolic link")
    try:
        descriptor = os.open(name, open_flags(), dir_fd=dir_fd)
    except OSError as error:
        # ELOOP is what O_NOFOLLOW says of a symbolic link, ENXIO what a socket says.
        if error.errno == errno.ELOOP:
            raise NotRegular(shown, "a symbolic link") from error
        if error.errno == errno.ENXIO:
            raise NotRegular(shown, "a socket") from error
        raise
    try:
        status = os.fstat(descriptor)
        what = kind_of(status.st_mode)
        if what is None and single_link and status.st_nlink > 1:
            what = "a hard link (the file has a second name elsewhere)"
        if what is None and device is not None and status.st_dev != device and not _same_mount(descriptor, dir_fd):
            what = "on another file system"
        if what is not None:
            raise NotRegular(shown, what)
        return FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _same_mount(descriptor: int, folder: int | None) -> bool:
    """Whether a file and its folder, both open, lie on one mount. Where the system does not say: no.

    On an overlay whose layers lie on several disks a file has the st_dev of its layer, and its folder another one.
    Source: proc_pid_fdinfo(5), the line `mnt_id:`.
    """
    found = None if folder is None else _mount_of(folder)
    return found is not None and found == _mount_of(descriptor)


def _mount_of(descriptor: int) -> bytes | None:
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines()
    except OSError:
        return None
    return next((line for line in lines if line.startswith(b"mnt_id:")), None)


def fsync_file(file: BinaryIO) -> None:
    """Return when what was written to `file` is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def fsync_folder(path: str | Path) -> None:
    """Return when the names in this folder are on the disk: after every create, rename and delete that counts."""
    if os.name == "nt":
        return
    descriptor = os.open(path, open_flags(folder=True) & ~getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call for folders; their server decides.
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def rename_noreplace(source: str | Path, destination: str | Path) -> None:
    """Rename atomically; an existing `destination` stays as it is and `FileExistsError` is raised.

    `FileNotFoundError` means that neither name holds what `source` was. Durable only after `fsync_folder` of both
    parents.
    """
    before = os.lstat(source)
    try:
        _rename_noreplace(source, destination, before)
    except FileNotFoundError:
        # A network file system may carry out a rename, lose the answer and fail its repetition.
        if not _is_same(before, destination):
            raise


def _rename_noreplace(source: str | Path, destination: str | Path, before: os.stat_result) -> None:
    if os.name == "nt":
        os.rename(source, destination)  # refuses an existing name there
        return
    renameat2 = _renameat2()
    if renameat2 is None:
        _rename_onto_placeholder(source, destination, before)
        return
    try:
        renameat2(source, destination)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _rename_onto_placeholder(source, destination, before)


def _rename_onto_placeholder(source: str | Path, destination: str | Path, before: os.stat_result) -> None:
    """Where the file system has no RENAME_NOREPLACE (NFS): claim the name, then rename onto the empty claim."""
    folder = stat.S_ISDIR(before.st_mode)
    if folder:
        os.mkdir(destination)
    else:
        os.close(os.open(destination, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.rename(source, destination)
    except OSError:
        if not _is_same(before, destination):
            with suppress(OSError):
                (os.rmdir if folder else os.unlink)(destination)
        raise


def _is_same(before: os.stat_result, path: str | Path) -> bool:
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)


@cache
def _renameat2() -> Callable[[str | Path, str | Path], None] | None:
    """renameat2(2) with RENAME_NOREPLACE, or None where the C library has no such function."""
    import ctypes

    try:
        function: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def call(source: str | Path, destination: str | Path) -> None:
        names = os.fsencode(source), os.fsencode(destination)
        if function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(destination))

    return call


class Replacement:
    """A new file beside `path` that takes its place once it is whole, or is discarded, as if it had never been.

    `file` is open and buffered: who uses its descriptor flushes before. `mode` are permission bits; None keeps those of
    the file that is replaced, or what the umask leaves.
    """

    def __init__(self, path: Path, *, mode: int | None = None) -> None:
        if mode is None:
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(path.stat().st_mode)
        self._path, self._mode = path, mode
        self._temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self.file: BinaryIO = os.fdopen(os.open(self._temporary, flags, 0o666 if mode is None else 0o600), "r+b")

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        fsync_file(self.file)

    def take_place(self) -> None:
        """From now on it lies at `path`: durably once the folder is synced. To be synced itself before."""
        self.file.close()
        if self._mode is not None:
            self._temporary.chmod(self._mode)
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave no trace of it. Its name goes at once, whoever still writes to it."""
        self._temporary.unlink(missing_ok=True)


def put_in_place(path: Path, write: Callable[[BinaryIO], None], *, mode: int | None = None) -> None:
    """Make `path` hold what `write` writes, all of it or, after an error, what it held before. Until the folder is
    synced (`fsync_folder`), a power cut may bring back what it held before, whole.

    `write` gets a new buffered file in the same folder and must not close it (it flushes before it uses the
    descriptor itself). `mode` are permission bits; None keeps those of the file that is replaced, or what the
    umask leaves. On Windows nobody may have `path` open.
    """
    new = Replacement(path, mode=mode)
    try:
        with new.file:
            write(new.file)
            new.sync()
        new.take_place()
    except BaseException:
        new.discard()
        raise


def replace_file(path: Path, write: Callable[[BinaryIO], None], *, mode: int | None = None) -> None:
    """`put_in_place`, durably: what `path` holds on return outlives a power cut."""
    put_in_place(path, write, mode=mode)
    fsync_folder(path.parent)


def replace_bytes(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """`replace_file` with bytes that are at hand."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    replace_file(path, write, mode=mode)


def replace_text(path: Path, text: str, *, mode: int | None = None) -> None:
    """`replace_file` with text, as UTF-8; undecodable bytes of names (surrogate escapes) become themselves again."""
    replace_bytes(path, text.encode("utf-8", "surrogateescape"), mode=mode)
