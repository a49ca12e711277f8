"""A tagged image on its way out: block by block, the untouched part digested as it was sent.

Owns the passage through the file and the buffers that it uses. It must not know what is in the header, nor where the
blocks go. Errors: `Changed` if the file was altered since it was walked; `OSError`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from moichord.dicom.digesting import Digest, DigestAside, DigestAtOnce
from moichord.dicom.errors import Changed
from moichord.dicom.reading import PositionedFile

BLOCK = 1024 * 1024


class Streamed(Protocol):
    """A header in memory, and the part of a file that follows it. Offsets and lengths in bytes."""

    @property
    def file(self) -> PositionedFile: ...
    @property
    def header(self) -> bytes: ...
    @property
    def tail_offset(self) -> int: ...
    @property
    def length(self) -> int: ...


@dataclass(frozen=True, slots=True)
class AtHand:
    """An image whose new header is at hand, so that it need not be walked again. Offsets and lengths in bytes."""

    file: PositionedFile
    header: bytes
    tail_offset: int
    tail_length: int

    @property
    def length(self) -> int:
        return len(self.header) + self.tail_length


class ImageStream:
    """One passage through an image: a readable body of known length that digests the tail on its way.

    Iterating gives blocks; `read` and `readinto` are for HTTP clients. Not for several threads at once. With a
    `buffer`, blocks are views into it, valid until the next `read`. With `aside` these are its halves in turn, and one
    is digested in another thread while it is being sent and the other is filled.
    """

    def __init__(self, image: Streamed, buffer: bytearray | None = None, *, aside: bool = False) -> None:
        self.image = image
        self._buffers = _halves(buffer or bytearray(BLOCK)) if aside else [] if buffer is None else [memoryview(buffer)]
        self._aside = aside
        self._position = 0
        self._digest = self._new_digest()

    def __len__(self) -> int:
        return self.image.length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while block := self.read(BLOCK):
            yield block

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position

    def rewind(self) -> None:
        """Back to the beginning; the digest starts anew."""
        self._digest.close()
        self._position = 0
        self._digest = self._new_digest()

    def close(self) -> None:
        """End the digest's thread. The file is its owner's."""
        self._digest.close()

    @property
    def tail_digest(self) -> str | None:
        """The BLAKE3 of the tail, hexadecimal; None until everything has been read."""
        return self._digest.hexdigest() if self._position == self.image.length else None

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next block, at most `size` bytes; empty at the end.

        Raises `Changed` if the file ends early, or if at its end it is no longer what it was.
        """
        left = self.image.length - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if not self._buffers:
            block = bytearray(wanted)
            self.readinto(block)
            return bytes(block)
        self._buffers.reverse()  # the block before may still be digested
        view = self._buffers[0][: min(wanted, len(self._buffers[0]))]
        return view[: self._fill(view)]

    def readinto(self, target: bytearray | memoryview) -> int:
        """Fill `target` with what comes next; the number of bytes, 0 at the end."""
        count = self._fill(memoryview(target)[: self.image.length - self._position])
        self._digest.settle()
        return count

    def _fill(self, view: memoryview) -> int:
        """Fill `view`, which is no longer than what is left; its tail may still be digested afterwards."""
        image, position, done = self.image, self._position, 0
        header_length = len(image.header)
        if position < header_length:
            part = image.header[position : position + len(view)]
            view[: len(part)] = part
            done = len(part)
        rest = view[done:]
        if len(rest):
            fill(image.file, image.tail_offset + position + done - header_length, rest)
            self._digest.update(rest)
        self._position += len(view)
        if self._position == image.length:
            image.file.require_unchanged()
        return len(view)

    def _new_digest(self) -> Digest:
        return DigestAside() if self._aside else DigestAtOnce()


def _halves(buffer: bytearray) -> list[memoryview]:
    whole, middle = memoryview(buffer), len(buffer) // 2
    return [whole[:middle], whole[middle:]]


def fill(file: PositionedFile, offset: int, part: memoryview) -> None:
    """Fill all of `part` from `offset`, or raise `Changed`."""
    have = file.read_into(offset, part)
    if have < len(part):
        raise Changed("the file became shorter while it was being read", offset=offset, need=len(part), have=have)
