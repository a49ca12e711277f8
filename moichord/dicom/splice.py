"""A file with some tags changed: a new header in front of the untouched rest of the old file.

Owns the bytes that are sent and written: header in memory, tail by positioned reads, never a whole image. The header
ends behind the last change, so the tail begins at the first element that nothing touches, at the latest at the pixel
data. It must not decide what changes, and never alters the file that it reads.

Errors: `Changed` if the file was altered since it was walked, `Malformed` for what cannot be spliced; `OSError`.
"""

import errno
import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from typing import BinaryIO

from blake3 import blake3

from moichord.dicom.encoding import (
    DIRECTORY_RECORD_SEQUENCE,
    EXPLICIT_LITTLE,
    TAIL,
    TRAILING_PADDING,
    Edit,
    Element,
    encode_delimited,
    encode_element,
)
from moichord.dicom.errors import Changed, Malformed
from moichord.dicom.part10 import Part10, Preamble
from moichord.dicom.reading import PositionedFile
from moichord.dicom.streaming import BLOCK, ImageStream, fill

IMPLEMENTATION_CLASS_UID = b"2.25.302558041326489229563046402843279713121"
IMPLEMENTATION_VERSION_NAME = b"MOICHORD_1"
PIECE = 64 * BLOCK
_GROUP_LENGTH = 0x00020000
_LENGTH_TO_END = 0x00080001
_IMPLEMENTATION = {
    0x00020012: encode_element(
        0x00020012, "UI", IMPLEMENTATION_CLASS_UID + b"\0" * (len(IMPLEMENTATION_CLASS_UID) % 2), EXPLICIT_LITTLE
    ),
    0x00020013: encode_element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME, EXPLICIT_LITTLE),
}
_NOT_SUPPORTED = frozenset([errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])


def _nothing() -> None:
    """Whoever copies does not want to be asked."""


class TaggedImage:
    """`header` ++ the bytes [`tail_offset`, `tail_offset` + `tail_length`) of `file`.

    Without edits (`unchanged`) that is the file itself, byte for byte. The same file and edits give the same bytes.
    The header reaches behind the last edit, and behind the element of tag `through` or where it would be, so that
    `header_digest` tells apart files that differ up to there. `through` must lie before the pixel data.
    `file` stays open as long as the image is used; everything here may be called from several threads.
    """

    def __init__(self, file: PositionedFile, part10: Part10, edits: Sequence[Edit] = (), *, through: int = -1) -> None:
        self.file = file
        self.unchanged = not edits
        self.notes: tuple[str, ...] = ()
        end = file.size
        self.tail_offset = _start_of_untouched(part10, edits, through)
        if self.unchanged:
            self.header = _read(file, 0, self.tail_offset)
        else:
            if part10.find(DIRECTORY_RECORD_SEQUENCE) is not None:
                problem = "a DICOMDIR holds offsets into itself, so nothing in it can be changed"
                raise Malformed(problem, tag=DIRECTORY_RECORD_SEQUENCE)
            edits = sorted(edits)
            end = _end_of_kept_tail(part10, edits)
            meta = _new_meta(file, part10)
            content = _new_dataset(file, part10, edits, self.tail_offset)
            preamble, self.notes = self._new_preamble(part10, 132 + len(meta) + len(content))
            self.header = b"".join((preamble, b"DICM", meta, content))
        self.tail_length = end - self.tail_offset
        self.header_length = len(self.header)
        self.length = self.header_length + self.tail_length
        self.header_digest = blake3(self.header).hexdigest()

    def stream(self, buffer: bytearray | None = None, *, aside: bool = False) -> ImageStream:
        """A new body, at its beginning. With a `buffer`, blocks are views into it, valid until the next read.

        `aside` takes a thread that digests one block while it is being sent and the next one is read.
        """
        return ImageStream(self, buffer, aside=aside)

    def write_to(self, out: BinaryIO, after_each_piece: Callable[[], None] = _nothing) -> None:
        """Write the whole image at the position of `out`; the tail is copied inside the kernel where it can be.

        `after_each_piece` is called from time to time, at the latest after PIECE bytes: what it raises ends the copy.
        """
        out.write(self.header)
        copied = self._copy_in_kernel(out, after_each_piece)
        buffer = memoryview(bytearray(min(BLOCK, self.tail_length - copied)))
        while copied < self.tail_length:
            part = buffer[: min(len(buffer), self.tail_length - copied)]
            fill(self.file, self.tail_offset + copied, part)
            out.write(part)
            copied += len(part)
            if copied % PIECE < len(part):
                after_each_piece()
        self.file.require_unchanged()

    def sha256(self, buffer: bytearray | None = None) -> str:
        """The SHA-256 of all that is sent, hexadecimal."""
        digest = hashlib.sha256()
        for block in self.stream(buffer or bytearray(min(BLOCK, self.length))):
            digest.update(block)
        return digest.hexdigest()

    def _new_preamble(self, part10: Part10, new_length: int) -> tuple[bytes, tuple[str, ...]]:
        """A TIFF header in the preamble points into the file (PS3.10 7.1): it is void once anything moves."""
        if part10.preamble is Preamble.TIFF and new_length != self.tail_offset:
            return bytes(128), ("the TIFF header in the preamble was zeroed, since the pixels have moved",)
        return _read(self.file, 0, 128), ()

    def _copy_in_kernel(self, out: BinaryIO, after_each_piece: Callable[[], None]) -> int:
        """Bytes of the tail that copy_file_range took over (a reflink where the file system can); 0 if it cannot."""
        copy = getattr(os, "copy_file_range", None)
        if copy is None or not hasattr(out, "fileno"):
            return 0
        copied = start = 0
        try:
            target = out.fileno()
            out.flush()
            start = out.tell()
            source = self.file.file.fileno()
            while copied < self.tail_length:
                count = copy(source, target, min(PIECE, self.tail_length - copied), self.tail_offset + copied)
                if count == 0:
                    break
                copied += count
                after_each_piece()
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED and error.errno is not None:
                raise
        if copied:
            out.seek(start + copied)
        return copied


def _read(file: PositionedFile, start: int, end: int) -> bytes:
    data = file.read_at(start, end - start)
    if len(data) < end - start:
        raise Changed("the file became shorter while it was being read", offset=start, need=end - start, have=len(data))
    return data


def _start_of_untouched(part10: Part10, edits: Sequence[Edit], through: int) -> int:
    """The offset of the first element behind the last change and behind `through`."""
    last = max((edit.tag for edit in edits if edit.tag < TAIL), default=-1)
    last = max(last, through)
    return next((element.offset for element in part10.elements if element.tag > last), part10.tail_offset)


def _end_of_kept_tail(part10: Part10, edits: Sequence[Edit]) -> int:
    """Behind the pixel data nothing can be edited but taken off: an element that is the last one, padding aside."""
    removed = {edit.tag for edit in edits if edit.tag >= TAIL}
    if not removed:
        return part10.size
    if part10.tail is None or any(edit.value is not None for edit in edits if edit.tag >= TAIL):
        raise Malformed("elements behind the pixel data can only be removed, once they have been walked")
    kept = [element for element in part10.tail if element.tag not in removed and element.tag != TRAILING_PADDING]
    end = kept[-1].end if kept else part10.tail_offset
    if any(element.tag in removed and element.offset < end for element in part10.tail):
        raise Malformed("an element between others behind the pixel data cannot be removed", tag=min(removed))
    return end


def _new_meta(file: PositionedFile, part10: Part10) -> bytes:
    """Group 0002 with a true group length and with us as the implementation (PS3.10 7.1)."""
    pieces = {e.tag: _read(file, e.offset, e.end) for e in part10.meta if e.tag != _GROUP_LENGTH}
    pieces |= _IMPLEMENTATION
    content = b"".join(pieces[tag] for tag in sorted(pieces))
    return encode_element(_GROUP_LENGTH, "UL", struct.pack("<I", len(content)), EXPLICIT_LITTLE) + content


def _new_dataset(file: PositionedFile, part10: Part10, edits: Sequence[Edit], end: int) -> bytes:
    """The elements up to `end` with the edits in their places; runs of untouched ones are copied in one piece.

    The group length (gggg,0000) of a touched group would be wrong now and is left out: it is retired (PS3.5 7.2). So
    is LengthToEnd (0008,0001), the length of all that follows.
    """
    touched = {edit.tag >> 16 for edit in edits}
    replaced = {edit.tag for edit in edits}
    waiting = [edit for edit in edits if edit.tag < TAIL and edit.value is not None]
    waiting.reverse()
    pieces: list[bytes] = []
    run_start = part10.dataset_offset

    def copy_run(run_end: int) -> None:
        if run_start < run_end:
            pieces.append(_read(file, run_start, run_end))

    for element in part10.elements:
        if element.offset >= end:
            break
        dropped = element.tag in replaced or _counts_bytes(element, touched)
        if not dropped and not (waiting and waiting[-1].tag < element.tag):
            continue
        copy_run(element.offset)
        while waiting and waiting[-1].tag <= element.tag:
            pieces.append(_encoded(waiting.pop(), part10))
        run_start = element.end if dropped else element.offset
    copy_run(end)
    pieces += [_encoded(edit, part10) for edit in reversed(waiting)]
    return b"".join(pieces)


def _encoded(edit: Edit, part10: Part10) -> bytes:
    encode = encode_delimited if edit.delimited else encode_element
    return encode(edit.tag, edit.vr, edit.value or b"", part10.encoding)


def _counts_bytes(element: Element, groups: set[int]) -> bool:
    return element.tag >> 16 in groups and (element.tag & 0xFFFF == 0 or element.tag == _LENGTH_TO_END)
