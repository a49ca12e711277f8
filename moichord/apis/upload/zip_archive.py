"""A ZIP archive that comes into being while it is being sent (PKWARE APPNOTE 6.3.10; section numbers are its).

Owns the archive's layout. It must not know what the files are. Errors: what a file's body raises.

Nothing is compressed, so that the length is known beforehand. The CRC-32 of a file is taken on its way and follows it
in a data descriptor (4.3.9); readers find it in the central directory too, which is where unzip, Python and Orthanc
look. ZIP64 (4.5.3) is used where 4 GiB or 65,535 files are reached, and nowhere else.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from moichord.apis.bodies import Body, Readable

_LIMIT = 0xFFFFFFFF
_MOST_ENTRIES = 0xFFFF
_OLD, _NEW = 20, 45  # "version needed to extract" (4.4.3): 2.0, and 4.5 for ZIP64
_FLAGS = 1 << 3 | 1 << 11  # a data descriptor follows; names are UTF-8 (4.4.4)
_BEGINNING_OF_1980 = (0, 1 << 5 | 1)  # MS-DOS time and date: a repetition has the same bytes
_UNIX = 3 << 8
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file's place in the archive: where its local header begins, and how long it is. `crc` once it is known."""

    name: bytes
    size: int
    offset: int
    crc: int = 0

    @property
    def large(self) -> bool:
        return self.size >= _LIMIT

    def local_header(self) -> bytes:
        """4.3.7: CRC and sizes are in the descriptor; a ZIP64 field says that its sizes have 8 bytes."""
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self.large else b""
        sizes = _LIMIT if self.large else 0
        version = _NEW if self.large else _OLD
        fixed = (version, _FLAGS, 0, *_BEGINNING_OF_1980, 0, sizes, sizes, len(self.name), len(extra))
        return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fixed) + self.name + extra

    def descriptor(self) -> bytes:
        """4.3.9, with its signature."""
        return struct.pack("<4sLQQ" if self.large else "<4s3L", b"PK\x07\x08", self.crc, self.size, self.size)

    def directory_entry(self) -> bytes:
        """4.3.12."""
        far = self.offset >= _LIMIT
        large = [self.size, self.size] if self.large else []
        wide = large + ([self.offset] if far else [])
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = _NEW if wide else _OLD
        sizes = _LIMIT if self.large else self.size
        fixed = (_UNIX | version, version, _FLAGS, 0, *_BEGINNING_OF_1980, self.crc, sizes, sizes)
        rest = (len(self.name), len(extra), 0, 0, 0, _PLAIN_FILE, _LIMIT if far else self.offset)
        return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fixed, *rest) + self.name + extra

    @property
    def length(self) -> int:
        return len(self.local_header()) + self.size + len(self.descriptor())


class ZipArchive:
    """A `Body`: the files, each under its name, one after the other; each is open only while it is being read."""

    def __init__(self, files: Sequence[tuple[str, Body]]) -> None:
        self._bodies = [body for _, body in files]
        self._entries = list(_laid_out(files))
        # The CRC has no influence on the length.
        self._start_of_directory = sum(entry.length for entry in self._entries)
        self.length = self._start_of_directory + len(_directory(self._entries, self._start_of_directory))

    def open(self) -> "ZipStream":
        return ZipStream(self._entries, self._bodies, self._start_of_directory)


class ZipStream:
    """One passage through a `ZipArchive`."""

    def __init__(self, entries: Sequence[_Entry], bodies: Sequence[Body], start_of_directory: int) -> None:
        self._open: Readable | None = None
        self._ready = memoryview(b"")
        self._size = 0
        self._blocks = self._in_order(entries, bodies, start_of_directory)

    def read(self, size: int, /) -> Any:
        """The next block, at most `size` bytes; empty at the end."""
        self._size = size
        if not self._ready:
            self._ready = memoryview(next(self._blocks, b""))
        block, self._ready = self._ready[:size], self._ready[size:]
        return block

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _in_order(self, entries: Sequence[_Entry], bodies: Sequence[Body], start_of_directory: int) -> Iterator[Any]:
        complete = []
        for entry, body in zip(entries, bodies, strict=True):
            yield entry.local_header()
            self._open, crc = body.open(), 0
            while block := self._open.read(self._size):
                crc = crc32(block, crc)
                yield block
            self.close()
            complete.append(_Entry(entry.name, entry.size, entry.offset, crc))
            yield complete[-1].descriptor()
        yield _directory(complete, start_of_directory)


def _laid_out(files: Sequence[tuple[str, Body]]) -> Iterator[_Entry]:
    offset = 0
    for name, body in files:
        entry = _Entry(name.encode(), body.length, offset)
        yield entry
        offset += entry.length


def _directory(entries: Sequence[_Entry], start: int) -> bytes:
    """The central directory and its end (4.3.12, 4.3.14 to 4.3.16)."""
    directory = b"".join(entry.directory_entry() for entry in entries)
    count, length = len(entries), len(directory)
    zip64 = b""
    if count >= _MOST_ENTRIES or start >= _LIMIT or length >= _LIMIT:
        zip64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, _UNIX | _NEW, _NEW, 0, 0, count, count, length, start)
        zip64 += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, 1)
    counts = min(count, _MOST_ENTRIES)
    end = (0, 0, counts, counts, min(length, _LIMIT), min(start, _LIMIT), 0)
    return directory + zip64 + struct.pack("<4s4H2LH", b"PK\x05\x06", *end)
