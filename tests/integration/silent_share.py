"""A file system that reports no events, as a network share: it passes everything on to a folder elsewhere.

    python -m tests.integration.silent_share BACKING MOUNT_POINT

Owns the FUSE process. What is written straight into BACKING is what another machine does. While BACKING/.broken
exists, every call that names a file fails with an I/O error, as when the server is away.
"""

import errno
import os
import sys
from pathlib import Path

import mfusepy

BROKEN = ".broken"
SHOWN = ("st_mode", "st_size", "st_nlink", "st_uid", "st_gid", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")


class PassedOn(mfusepy.Operations):
    """Each call, done in the backing folder."""

    use_ns = True

    def __init__(self, backing: Path) -> None:
        self.backing = str(backing)

    def _at(self, path: str) -> str:
        if os.path.lexists(os.path.join(self.backing, BROKEN)):
            raise mfusepy.FuseOSError(errno.EIO)
        return self.backing + path

    def getattr(self, path, fh=None):
        status = os.lstat(self._at(path))
        return {name.removesuffix("_ns"): getattr(status, name) for name in SHOWN}

    def readdir(self, path, fh):
        return [".", "..", *(entry.name for entry in os.scandir(self._at(path)))]

    def mkdir(self, path, mode):
        return os.mkdir(self._at(path), mode)

    def rmdir(self, path):
        return os.rmdir(self._at(path))

    def unlink(self, path):
        return os.unlink(self._at(path))

    def rename(self, old, new):
        return os.rename(self._at(old), self._at(new))

    def chmod(self, path, mode):
        return os.chmod(self._at(path), mode)

    def utimens(self, path, times=None):
        return os.utime(self._at(path), ns=times)

    def create(self, path, mode, fi=None):
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self._at(path), flags)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        return os.truncate(self._at(path), length)

    def fsync(self, path, datasync, fh):
        return os.fsync(fh)

    def release(self, path, fh):
        return os.close(fh)


if __name__ == "__main__":
    mfusepy.FUSE(PassedOn(Path(sys.argv[1])), sys.argv[2], foreground=True, fsname="silent")
