"""What the inbox lies on, and whether the kernel still watches it.

Owns the questions to the mount table and to the kernel's list of watches; the doorbell chooses by the answers. It
must not know watchdog or samples. `OSError` leaves only `readable_identity`.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from moichord.durable import open_flags

_WITHOUT_EVENTS = re.compile(
    r"9p|acfs|afs|beegfs|ceph|cifs|coda|davfs|fhgfs|fuse|fuse\..*|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs|nfs4|ocfs2"
    r"|orangefs|prl_fs|pvfs2|smb3|smbfs|vboxsf|virtiofs|vmhgfs"
)

_INODES_MADE_UP = re.compile(r"9p|cifs|davfs|fuse|fuse\..*|ncpfs|prl_fs|smb3|smbfs|vboxsf|vmhgfs")


def reports_no_events(filesystem: str | None) -> bool:
    """Whether changes made elsewhere go unreported on this type of file system; None, unknown, counts as local."""
    return filesystem is not None and _WITHOUT_EVENTS.fullmatch(filesystem) is not None


def makes_inodes_up(filesystem: str | None) -> bool:
    """Whether this machine itself may number the files of this type of file system, and number them anew when it has
    forgotten them (mount.cifs(8), noserverino): the same file then has another inode in each scan."""
    return filesystem is not None and _INODES_MADE_UP.fullmatch(filesystem) is not None


def filesystem_type(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the file system that holds `path` ("ext4", "cifs"), from the mount table; None if that is unknown.

    Source: proc_pid_mounts(5), fstab(5): fields by spaces, with blanks in names as octal escapes.
    """
    try:
        table = mounts.read_bytes()
    except OSError:
        return None
    wanted = os.fsencode(os.path.realpath(path))
    best: tuple[int, str] | None = None
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        inside = wanted == point or wanted.startswith(point.rstrip(b"/") + b"/")
        if inside and (best is None or len(point) >= best[0]):  # of two mounts on one point the later one counts
            best = len(point), os.fsdecode(fields[2])
    return best[1] if best else None


def _unescaped(name: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), name)


def identity(folder: Path) -> tuple[int, int] | None:
    """(st_dev, st_ino) of what lies under this name now; None if nothing does, or it does not answer."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def readable_identity(folder: Path) -> tuple[int, int]:
    """The same of a folder that can be read; otherwise `OSError`."""
    descriptor = os.open(folder, open_flags(folder=True) & ~getattr(os, "O_NOFOLLOW", 0))
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_dev, status.st_ino


def kernel_watches(inode: int) -> bool:
    """Whether some inotify instance of this process holds a watch on this inode; True where that cannot be known.

    After an unmount the kernel drops the watch and says nothing. Source: proc_pid_fdinfo(5), lines `inotify wd: ino:`.
    """
    sought = f" ino:{inode:x} ".encode()
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return True
    for descriptor in descriptors:
        with suppress(OSError):
            if os.readlink(descriptor) != "anon_inode:inotify":
                continue
            if sought in Path("/proc/self/fdinfo", descriptor.name).read_bytes():
                return True
    return False
