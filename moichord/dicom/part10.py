"""Walk a DICOM Part 10 file: where its top-level elements lie, without reading their values.

Owns the structure of a file (PS3.10 7, PS3.5 7): preamble, file meta information, the header up to the pixel data,
and the tail behind it. It must not know what values mean, nor what is to be changed.

Errors: `NotDicom`, `Incomplete` (cut off), `Malformed`.
"""

import struct
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from moichord.dicom.encoding import (
    EXPLICIT_LITTLE,
    KNOWN_VRS,
    TAIL,
    TRANSFER_SYNTAX_UID,
    UNDEFINED,
    Element,
    Encoding,
    encoding_of,
)
from moichord.dicom.errors import DicomError, Incomplete, Malformed, NotDicom
from moichord.dicom.reading import PositionedFile, Window
from moichord.dicom.walker import Budget, Walker, cut

_META_START = 132


class Preamble(StrEnum):
    """What the first 128 bytes hold (PS3.10 7.1): nothing, a TIFF header as well, or something else."""

    ZEROS = "zeros"
    TIFF = "tiff"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Part10:
    """The structure of one file. Offsets and lengths in bytes from its beginning.

    The tail begins at the first element >= (7FE0,0000), or where the elements end if there is none. `tail` holds its
    elements once it has been walked (`check_tail`), else None. `notes` are oddities that do no harm.
    """

    size: int
    preamble: Preamble
    meta: tuple[Element, ...]
    dataset_offset: int
    transfer_syntax: str
    encoding: Encoding
    elements: tuple[Element, ...]
    tail_offset: int
    has_pixel_data: bool
    tail: tuple[Element, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def tail_length(self) -> int:
        return self.size - self.tail_offset

    def find(self, tag: int) -> Element | None:
        """The top-level element of that tag, from group 0002 to the end of what has been walked."""
        group = tag >> 16
        among = self.meta if group == 2 else self.elements if tag < TAIL else self.tail or ()
        index = bisect_left(among, tag, key=attrgetter("tag"))
        return among[index] if index < len(among) and among[index].tag == tag else None


def walk(file: PositionedFile, budget: Budget | None = None) -> Part10:
    """Find every element of the header; the tail is only located.

    Raises `NotDicom`, `Incomplete` or `Malformed`, naming offset, tag, need and have.
    """
    budget = budget or Budget()
    window = Window(file)
    preamble = _preamble(window)
    meta, dataset_offset = _meta(window, budget)
    transfer_syntax, stated_at = _transfer_syntax(window, meta, dataset_offset)
    encoding = encoding_of(transfer_syntax, stated_at)
    if dataset_offset == file.size:
        raise Incomplete("the file ends before its data set", offset=dataset_offset, need=8, have=0)
    _require_encoding(window, dataset_offset, encoding)
    walker = Walker(window, encoding, budget)
    elements, tail_offset = walker.elements(dataset_offset, until=TAIL)
    following = window.bytes_at(tail_offset, 4)
    has_pixel_data = len(following) == 4 and tail_offset < file.size and _group(following, encoding) == TAIL >> 16
    return Part10(
        size=file.size,
        preamble=preamble,
        meta=meta,
        dataset_offset=dataset_offset,
        transfer_syntax=transfer_syntax,
        encoding=encoding,
        elements=tuple(elements),
        tail_offset=tail_offset,
        has_pixel_data=has_pixel_data,
    )


def _group(start: bytes, encoding: Encoding) -> int:
    group: int = struct.unpack(encoding.order + "H", start[:2])[0]
    return group


def _preamble(window: Window) -> Preamble:
    """Require 128 bytes and DICM (PS3.10 7.1). The beginning of a copy may be reserved but not written yet."""
    start = window.bytes_at(0, _META_START)
    if not start:
        raise Incomplete("the file is empty", offset=0, need=_META_START, have=0)
    content = start[:128]
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        kind = Preamble.TIFF
    else:
        kind = Preamble.OTHER if content.strip(b"\0") else Preamble.ZEROS
    if len(start) < _META_START and kind is not Preamble.OTHER:
        raise Incomplete("the file ends before its header", offset=0, need=_META_START, have=len(start))
    prefix = start[128:]
    if prefix == b"\0\0\0\0":
        raise Incomplete("zeros where DICM should be", offset=128)
    if prefix != b"DICM":
        raise NotDicom("not a DICOM Part 10 file: DICM is not there", offset=128)
    return kind


def _meta(window: Window, budget: Budget) -> tuple[tuple[Element, ...], int]:
    """Group 0002, always explicit little endian, found by its elements: its stated length may be wrong (PS3.10 7.1)."""
    walker = Walker(window, EXPLICIT_LITTLE, budget)
    size = window.file.size
    found: list[Element] = []
    offset = _META_START
    while offset < size:
        start = window.bytes_at(offset, 4)
        if len(start) < 4:
            raise cut("the file meta information", None, offset, size)
        group, number = struct.unpack("<HH", start)
        if group != 2:
            break
        tag = group << 16 | number
        vr, length, value_offset = walker.header_at(offset, tag)
        end = value_offset + length
        if length == UNDEFINED or end > budget.header or (found and found[-1].tag >= tag):
            raise Malformed("the file meta information is out of order or too long", tag=tag, offset=offset)
        if end > size:
            problem = "the file ends inside its meta information"
            raise Incomplete(problem, tag=tag, offset=offset, need=length, have=size - value_offset)
        found.append(Element(tag, vr, offset, value_offset, length, end))
        offset = end
    return tuple(found), offset


def _transfer_syntax(window: Window, meta: tuple[Element, ...], dataset_offset: int) -> tuple[str, int]:
    """The UID and the offset of its element."""
    for element in meta:
        if element.tag == TRANSFER_SYNTAX_UID:
            value = window.bytes_at(element.value_offset, min(element.length, 66))
            return value.rstrip(b"\0 ").decode("ascii", "replace"), element.offset
    if window.file.size - dataset_offset < 8 or not any(window.bytes_at(dataset_offset, 8)):
        raise Incomplete("the file ends before its TransferSyntaxUID", tag=TRANSFER_SYNTAX_UID, offset=dataset_offset)
    raise Malformed("there is no TransferSyntaxUID", tag=TRANSFER_SYNTAX_UID, offset=dataset_offset)


def _require_encoding(window: Window, offset: int, encoding: Encoding) -> None:
    """The first element must look like what the transfer syntax says; writers contradict themselves here."""
    start = window.bytes_at(offset, 12)
    if len(start) < 8:
        raise cut("its first element", None, offset, window.file.size)
    if not any(start):
        raise Incomplete("zeros where the data set should be", offset=offset)
    group, number = struct.unpack_from(encoding.order + "HH", start)
    tag = group << 16 | number
    if group & 0xFF == 0 and group:
        raise Malformed("the byte order is not that of the transfer syntax", tag=tag, offset=offset)
    letters = start[4:6].decode("ascii", "replace")
    if not encoding.implicit and letters not in KNOWN_VRS:
        raise Malformed("the transfer syntax says explicit VR, but there is no VR", tag=tag, offset=offset)
    if encoding.implicit and letters in KNOWN_VRS and _goes_on_explicitly(window, offset, tag):
        raise Malformed("the transfer syntax says implicit VR, but there is a VR", tag=tag, offset=offset)


def _goes_on_explicitly(window: Window, offset: int, tag: int) -> bool:
    """Whether the element read as explicit leads to a plausible next one: two letters may be a length as well."""
    try:
        _, length, value_offset = Walker(window, EXPLICIT_LITTLE, Budget()).header_at(offset, tag)
    except DicomError:
        return False
    following = window.bytes_at(value_offset + length, 6)
    if length == UNDEFINED or len(following) < 6:
        return length == UNDEFINED or value_offset + length == window.file.size
    group, number = struct.unpack_from("<HH", following)
    return following[4:6].decode("ascii", "replace") in KNOWN_VRS and (group << 16 | number) > tag
