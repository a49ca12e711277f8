"""Positioned reads of one open file, and a bounded window over them.

Owns how bytes come from a file: never mapped (a mapped file that its writer truncates kills the process), never
more than a window at a time, never through the file's own position where the system allows. It must not know DICOM.
Errors: `Changed` if the file is no longer what it was when it was opened; `OSError` from the disk.
"""

import os
import threading
from typing import BinaryIO

from moichord.dicom.errors import Changed

_BEGINNING = 32 * 1024
_FIRST = 8 * 1024
_LARGEST = 256 * 1024

Stamp = tuple[int, int, int]


class PositionedFile:
    """An open regular file, read by offset; several threads may read it at the same time.

    The caller opens and closes it. `stamp` is (inode, size in bytes, mtime in ns) as it was at the beginning. Of the
    file 32 KiB are kept, in which most headers lie whole: their many small values are then one read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.stamp = self._stat()
        self.size = self.stamp[1]
        self._beginning: bytes | None = None
        self._seeking = threading.Lock()
        self._preadv = getattr(os, "preadv", None)
        self._pread = getattr(os, "pread", None)

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer only at the end of the file."""
        if offset + count > _BEGINNING:
            return self._read(offset, count)
        if self._beginning is None:
            self._beginning = self._read(0, _BEGINNING)
        return self._beginning[offset : offset + count]

    def _read(self, offset: int, count: int) -> bytes:
        if self._pread is None:
            with self._seeking:
                self.file.seek(offset)
                return self.file.read(count)
        data: bytes = self._pread(self.file.fileno(), count, offset)
        if not 0 < len(data) < count:
            return data
        rest = self._read(offset + len(data), count - len(data))
        return data + rest

    def read_into(self, offset: int, target: memoryview) -> int:
        """Fill `target` from `offset`; the number of bytes read is less than its length only at the end."""
        done = 0
        while done < len(target):
            count = self._read_once(offset + done, target[done:])
            if count == 0:
                break
            done += count
        return done

    def changed(self) -> bool:
        """Whether inode, size or modification time differ from those at the beginning."""
        return self._stat() != self.stamp

    def require_unchanged(self) -> None:
        """Raise `Changed` if the file was replaced, resized or written to since it was opened."""
        if self.changed():
            raise Changed("the file was changed while it was being read")

    def _read_once(self, offset: int, target: memoryview) -> int:
        if self._preadv is not None:
            count: int = self._preadv(self.file.fileno(), [target], offset)
            return count
        data = self.read_at(offset, len(target))
        target[: len(data)] = data
        return len(data)

    def _stat(self) -> Stamp:
        found = os.fstat(self.file.fileno())
        return found.st_ino, found.st_size, found.st_mtime_ns


class Window:
    """The part of a file that is being looked at: at most 256 KiB, moved forward on demand.

    Reads grow while they follow each other and shrink after a jump, so that neither a long header nor a million
    pixel fragments cost more than they must.
    """

    def __init__(self, file: PositionedFile) -> None:
        self.file = file
        self.buffer = b""
        self.start = 0
        self.end = 0
        self._step = _FIRST

    def show(self, offset: int, count: int) -> int:
        """Have `count` bytes from `offset` in `buffer`; the index of the first, or -1 if the file ends before."""
        if self.start <= offset and offset + count <= self.end:
            return offset - self.start
        follows = self.start <= offset <= self.end
        self._step = min(self._step * 2, _LARGEST) if follows else _FIRST
        self.buffer = self.file.read_at(offset, max(count, self._step))
        self.start = offset
        self.end = offset + len(self.buffer)
        return 0 if len(self.buffer) >= count else -1

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer only at the end of the file."""
        index = self.show(offset, count)
        if index < 0:
            return self.buffer
        return self.buffer[index : index + count]
