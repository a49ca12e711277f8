"""Walk a DICOM Part 10 file: where its top-level elements lie, without reading their values.

Owns the structure of a file (PS3.10 7, PS3.5 7): preamble, file meta information, the header up to the pixel data,
and the tail behind it. It must not know what values mean, nor what is to be changed. Sequences of undefined length
are skipped item by item, with a stack of our own and a budget, so that no file can exhaust stack, memory or patience.

Errors: `NotDicom`, `Incomplete` (cut off), `Malformed`.
"""

import struct
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from moichord.dicom.encoding import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    LONG_VRS,
    PIXEL_DATA,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Element,
    Encoding,
    encoding_of,
)
from moichord.dicom.errors import DicomError, Incomplete, Malformed, NotDicom
from moichord.dicom.reading import PositionedFile, Window

TAIL = 0x7FE00000
TRANSFER_SYNTAX_UID = 0x00020010
_LAST_EDITABLE = 0x0400FFFF
_META_START = 132
_KNOWN_VRS = SHORT_VRS | LONG_VRS


class Preamble(StrEnum):
    """What the first 128 bytes hold (PS3.10 7.1): nothing, a TIFF header as well, or something else."""

    ZEROS = "zeros"
    TIFF = "tiff"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a file is looked at before it is refused.

    `header` is the bytes before the end of group 0400, which are held in memory when a tag changes; `length` that of
    one element before the pixel data; `nested` the elements inside sequences of undefined length.
    """

    elements: int = 50_000
    nested: int = 20_000_000
    depth: int = 32
    header: int = 64 * 1024 * 1024
    length: int = 1024 * 1024 * 1024


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
        if tag >> 16 == 2:
            among = self.meta
        else:
            among = self.elements if tag < TAIL else self.tail or ()
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
    transfer_syntax = _transfer_syntax(window, meta, dataset_offset)
    encoding = encoding_of(transfer_syntax)
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


class Walker:
    """Goes from element to element in one encoding, within one budget."""

    def __init__(self, window: Window, encoding: Encoding, budget: Budget) -> None:
        self.window = window
        self.encoding = encoding
        self.budget = budget
        self.size = window.file.size
        self._nested_left = budget.nested
        self._tag = struct.Struct(encoding.order + "HH")

    def elements(self, offset: int, *, until: int, above: int = -1) -> tuple[list[Element], int]:
        """The elements from `offset` on with tags over `above` and under `until`, and where they end.

        They end at `until`, at the end of the file, or where nothing but zeros follows.
        """
        found: list[Element] = []
        while offset < self.size:
            index = self.window.show(offset, 8)
            if index < 0:
                self._require_no_rest(offset)
                break
            group, number = self._tag.unpack_from(self.window.buffer, index)
            tag = group << 16 | number
            if tag >= until:
                break
            if tag == 0 and self._only_zeros_from(offset):
                break
            if tag <= above:
                raise Malformed("elements are not in ascending order, or not alone", tag=tag, offset=offset)
            if group in (0x0000, 0x0002, 0xFFFE):
                raise Malformed("this element does not belong into a data set", tag=tag, offset=offset)
            element = self._element(tag, offset)
            found.append(element)
            if len(found) > self.budget.elements:
                raise Malformed(f"more than {self.budget.elements} elements", tag=tag, offset=offset)
            above = tag
            offset = element.end
        return found, offset

    def tag_at(self, offset: int) -> int:
        """The tag at `offset`, where 8 bytes must be."""
        index = self.window.show(offset, 8)
        if index < 0:
            raise _cut("an element", None, offset, self.size)
        group, number = self._tag.unpack_from(self.window.buffer, index)
        return int(group << 16 | number)

    def header_at(self, offset: int, tag: int) -> tuple[str, int, int]:
        """VR ("" if implicit), length and value offset of the element at `offset`."""
        encoding = self.encoding
        index = self.window.show(offset, 8)
        if index < 0:
            raise Incomplete("the file ends inside an element", tag=tag, offset=offset, need=8, have=self.size - offset)
        buffer = self.window.buffer
        if encoding.implicit:
            return "", struct.unpack_from("<I", buffer, index + 4)[0], offset + 8
        vr = _vr(buffer[index + 4 : index + 6], tag, offset)
        if vr in SHORT_VRS:
            return vr, struct.unpack_from(encoding.order + "H", buffer, index + 6)[0], offset + 8
        index = self.window.show(offset, 12)
        if index < 0:
            raise Incomplete("the file ends inside an element", tag=tag, offset=offset, need=12, have=self.size - offset)
        return vr, struct.unpack_from(encoding.order + "I", self.window.buffer, index + 8)[0], offset + 12

    def _element(self, tag: int, offset: int) -> Element:
        vr, length, value_offset = self.header_at(offset, tag)
        if length != UNDEFINED:
            end = value_offset + length
            self._require_plausible(tag, offset, length, end)
        elif tag == PIXEL_DATA:
            end = self.fragments(value_offset)[0]
        elif vr in ("", "SQ", "UN"):
            end = self._after_sequence(tag, value_offset, IMPLICIT_LITTLE if vr == "UN" else self.encoding)
        else:
            raise Malformed(f"an element of VR {vr} cannot have undefined length", tag=tag, offset=offset)
        return Element(tag, vr, offset, value_offset, length, end)

    def _require_plausible(self, tag: int, offset: int, length: int, end: int) -> None:
        """An absurd length is refused before anything waits for its bytes, or allocates them."""
        if tag <= _LAST_EDITABLE and end > self.budget.header:
            limit = self.budget.header
            raise Malformed("the header is longer than is accepted", tag=tag, offset=offset, need=end, have=limit)
        if tag < TAIL and length > self.budget.length:
            limit = self.budget.length
            raise Malformed("the element is longer than is accepted", tag=tag, offset=offset, need=length, have=limit)
        if end > self.size:
            have = max(0, self.size - (end - length))
            raise Incomplete("the file ends inside an element", tag=tag, offset=offset, need=length, have=have)

    def fragments(self, offset: int) -> tuple[int, int]:
        """Where encapsulated pixel data end and how many fragments follow the basic offset table (PS3.5 A.4)."""
        items = 0
        unpack = struct.Struct(self.encoding.order + "HHI").unpack_from
        while True:
            index = self.window.show(offset, 8)
            if index < 0:
                raise _cut("pixel data fragments", PIXEL_DATA, offset, self.size)
            group, number, length = unpack(self.window.buffer, index)
            if group == 0xFFFE and number == 0xE0DD:
                return offset + 8, max(0, items - 1)
            if group == number == length == 0:
                raise Incomplete("zeros where a pixel data fragment should be", tag=PIXEL_DATA, offset=offset)
            if group != 0xFFFE or number != 0xE000 or length == UNDEFINED:
                raise Malformed("pixel data do not consist of fragments", tag=PIXEL_DATA, offset=offset)
            items += 1
            if offset + 8 + length > self.size:
                have = self.size - offset - 8
                raise Incomplete(
                    "the file ends inside a pixel data fragment", tag=PIXEL_DATA, offset=offset, need=length, have=have
                )
            offset += 8 + length

    def _after_sequence(self, top: int, offset: int, encoding: Encoding) -> int:
        """The offset after a sequence of undefined length (PS3.5 7.5.2).

        `open_contexts` holds what is being skipped, innermost last: (is it an item, its encoding). What has a defined
        length is never entered. An element UN of undefined length holds implicit VR little endian (PS3.5 6.2.2).
        """
        window = self.window
        open_contexts = [(False, encoding)]
        while open_contexts:
            in_item, encoding = open_contexts[-1]
            self._nested_left -= 1
            if self._nested_left < 0:
                raise Malformed(f"more than {self.budget.nested} nested elements", tag=top, offset=offset)
            index = window.show(offset, 8)
            if index < 0:
                raise _cut("a sequence", top, offset, self.size)
            group, number, length = _HEADERS[encoding.big_endian].unpack_from(window.buffer, index)
            following = offset + 8
            if group == 0xFFFE:
                tag = group << 16 | number
                if tag == (ITEM_END if in_item else SEQUENCE_END) and length == 0:
                    open_contexts.pop()
                    offset = following
                    continue
                if in_item or tag != ITEM:
                    raise Malformed("items and delimiters are not in order", tag=tag, offset=offset)
                opened = (True, encoding)
            elif group == number == length == 0:
                raise Incomplete("zeros where the rest of a sequence should be", tag=top, offset=offset)
            elif not in_item:
                raise Malformed("an element where an item should be", tag=group << 16 | number, offset=offset)
            elif encoding.implicit:
                opened = (False, encoding)
            else:
                vr, length, following = self._nested_header(offset, index, group << 16 | number, encoding)
                opened = (False, IMPLICIT_LITTLE if vr == "UN" else encoding)
            offset = following
            if length == UNDEFINED:
                open_contexts.append(opened)
                if len(open_contexts) > 2 * self.budget.depth:
                    raise Malformed(f"sequences are nested deeper than {self.budget.depth}", tag=top, offset=offset)
            else:
                offset += length
                if offset > self.size:
                    raise _cut("a sequence", top, offset, self.size)
        return offset

    def _nested_header(self, offset: int, index: int, tag: int, encoding: Encoding) -> tuple[str, int, int]:
        """VR, length and value offset of an explicit element of which 8 bytes are at `index` of the window."""
        vr = _vr(self.window.buffer[index + 4 : index + 6], tag, offset)
        if vr in SHORT_VRS:
            return vr, _SHORTS[encoding.big_endian].unpack_from(self.window.buffer, index + 6)[0], offset + 8
        index = self.window.show(offset, 12)
        if index < 0:
            raise _cut("a sequence", tag, offset, self.size)
        return vr, _LONGS[encoding.big_endian].unpack_from(self.window.buffer, index + 8)[0], offset + 12

    def _require_no_rest(self, offset: int) -> None:
        """Fewer than 8 bytes are left: no element, so they must be zeros."""
        if not self._only_zeros_from(offset):
            raise _cut("the tag of an element", None, offset, self.size)

    def _only_zeros_from(self, offset: int) -> bool:
        while offset < self.size:
            index = self.window.show(offset, 1)
            if index < 0 or self.window.buffer.count(0, index) < len(self.window.buffer) - index:
                return False
            offset = self.window.end
        return True


_HEADERS = (struct.Struct("<HHI"), struct.Struct(">HHI"))
_SHORTS = (struct.Struct("<H"), struct.Struct(">H"))
_LONGS = (struct.Struct("<I"), struct.Struct(">I"))


def _cut(where: str, tag: int | None, offset: int, size: int) -> Incomplete:
    return Incomplete(f"the file ends inside {where}", tag=tag, offset=min(offset, size), need=8, have=max(0, size - offset))


def _group(start: bytes, encoding: Encoding) -> int:
    group: int = struct.unpack(encoding.order + "H", start[:2])[0]
    return group


def _vr(letters: bytes, tag: int, offset: int) -> str:
    """A VR of two capital letters; unknown ones are read with a 32-bit length, as PS3.5 7.1.2 lays down."""
    try:
        vr = letters.decode("ascii")
    except UnicodeDecodeError:
        vr = ""
    if vr in _KNOWN_VRS or (vr.isalpha() and vr.isupper()):
        return vr
    raise Malformed("no value representation where one should be", tag=tag, offset=offset + 4)


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
            raise _cut("the file meta information", None, offset, size)
        group, number = struct.unpack("<HH", start)
        if group != 2:
            break
        tag = group << 16 | number
        vr, length, value_offset = walker.header_at(offset, tag)
        end = value_offset + length
        if length == UNDEFINED or end > budget.header or (found and found[-1].tag >= tag):
            raise Malformed("the file meta information is not in order", tag=tag, offset=offset)
        if end > size:
            raise Incomplete(
                "the file ends inside its meta information", tag=tag, offset=offset, need=length, have=size - value_offset
            )
        found.append(Element(tag, vr, offset, value_offset, length, end))
        offset = end
    return tuple(found), offset


def _transfer_syntax(window: Window, meta: tuple[Element, ...], dataset_offset: int) -> str:
    for element in meta:
        if element.tag == TRANSFER_SYNTAX_UID:
            value = window.bytes_at(element.value_offset, min(element.length, 66))
            return value.rstrip(b"\0 ").decode("ascii", "replace")
    if window.file.size - dataset_offset < 8 or not any(window.bytes_at(dataset_offset, 8)):
        raise Incomplete("the file ends before its TransferSyntaxUID", tag=TRANSFER_SYNTAX_UID, offset=dataset_offset)
    raise Malformed("there is no TransferSyntaxUID", tag=TRANSFER_SYNTAX_UID, offset=dataset_offset)


def _require_encoding(window: Window, offset: int, encoding: Encoding) -> None:
    """The first element must look like what the transfer syntax says; writers contradict themselves here."""
    start = window.bytes_at(offset, 12)
    if len(start) < 8:
        raise _cut("its first element", None, offset, window.file.size)
    if not any(start):
        raise Incomplete("zeros where the data set should be", offset=offset)
    group, number = struct.unpack_from(encoding.order + "HH", start)
    tag = group << 16 | number
    if group & 0xFF == 0 and group:
        raise Malformed("the byte order is not that of the transfer syntax", tag=tag, offset=offset)
    letters = start[4:6].decode("ascii", "replace")
    if not encoding.implicit and letters not in _KNOWN_VRS:
        raise Malformed("the transfer syntax says explicit VR, but there is no VR", tag=tag, offset=offset)
    if encoding.implicit and letters in _KNOWN_VRS and _goes_on_explicitly(window, offset, tag):
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
    return following[4:6].decode("ascii", "replace") in _KNOWN_VRS and (group << 16 | number) > tag
