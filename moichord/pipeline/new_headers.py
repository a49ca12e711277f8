"""The new headers of a sample's images, from the plan until they are sent, so that they are not made twice.

Owns which of them are at hand, and for which file each was made. It must not know how a header is made. No error leaves
it but OSError of a file that cannot be looked at. What is not kept (too much in all, or another turn) is made anew.
"""

import os

from moichord.dicom import AtHand, PositionedFile, TaggedImage
from moichord.sample import Image

MOST = 4 * 1024 * 1024
"""Bytes that are kept of one sample."""

_Stamp = tuple[int, int, int, int]


class NewHeaders:
    """Those of one sample. Kept by one thread, then asked for by any."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most
        self._kept: dict[str, tuple[_Stamp, bytes, str]] = {}

    def keep(self, file: PositionedFile, relative_path: str, image: TaggedImage) -> None:
        """Keep what was planned for `file`, as it is now, if there is room."""
        self._left -= image.header_length
        if self._left >= 0:
            self._kept[relative_path] = _stamp(file), image.header, image.header_digest

    def of(self, file: PositionedFile, image: Image) -> AtHand | None:
        """`image` with its header, if that was kept, and nothing whatever has happened to the file since."""
        stamp, header, digest = self._kept.get(image.relative_path, (None, b"", ""))
        if digest != image.header_digest or stamp != _stamp(file):
            return None
        return AtHand(file, header, image.tail_offset, image.tail_length)


def _stamp(file: PositionedFile) -> _Stamp:
    """With the time of change, which nobody can set: not even a program that gives a file its old times back."""
    found = os.fstat(file.file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
