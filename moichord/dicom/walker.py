"""From element to element: where one begins, and where it ends.

Owns the skipping of values, sequences and fragments (PS3.5 7.1, 7.5, A.4), with a stack of its own and a budget, so
that no file can exhaust stack, memory or patience. It must not know file meta information, nor what values mean.

Errors: `Incomplete` (cut off), `Malformed`.
"""

import struct
from dataclasses import dataclass

from moichord.dicom.encoding import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    KNOWN_VRS,
    LAST_EDITABLE,
    PIXEL_DATA,
    SEQUENCE_END,
    SHORT_VRS,
    TAIL,
    UNDEFINED,
    Element,
    Encoding,
)
from moichord.dicom.errors import Incomplete, Malformed
from moichord.dicom.reading import Window

_HEADERS = (struct.Struct("<HHI"), struct.Struct(">HHI"))
_SHORTS = (struct.Struct("<H"), struct.Struct(">H"))
_BY_LETTERS = {vr.encode("ascii"): vr for vr in KNOWN_VRS}
_LONGS = (struct.Struct("<I"), struct.Struct(">I"))


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a file is looked at before it is refused.

    `header` is the bytes up to LAST_EDITABLE, which are held in memory when a tag changes; `length` that of any one
    element before the pixel data; `nested` the number of elements inside sequences of undefined length.
    """

    elements: int = 50_000
    nested: int = 20_000_000
    depth: int = 32
    header: int = 64 * 1024 * 1024
    length: int = 1024 * 1024 * 1024


class Walker:
    """Goes from element to element in one encoding, within one budget.

    `fragment_count` is that of the encapsulated pixel data it came across, without the basic offset table.
    """

    def __init__(self, window: Window, encoding: Encoding, budget: Budget) -> None:
        self.window = window
        self.encoding = encoding
        self.budget = budget
        self.size = window.file.size
        self.fragment_count = 0
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
            if tag == 0 and self._ends_in_zeros(offset, above):
                break
            if tag == 0 and above >= TAIL:
                raise Malformed("bytes that are neither an element nor zeros follow the last element", offset=offset)
            if tag <= above:
                raise Malformed("this element is there twice, or not in ascending order", tag=tag, offset=offset)
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
            raise cut("an element", None, offset, self.size)
        group, number = self._tag.unpack_from(self.window.buffer, index)
        return int(group << 16 | number)

    def header_at(self, offset: int, tag: int) -> tuple[str, int, int]:
        """VR ("" if implicit), length and value offset of the element at `offset`."""
        encoding = self.encoding
        index = self.window.show(offset, 8)
        if index < 0:
            raise cut("an element", tag, offset, self.size)
        buffer = self.window.buffer
        if encoding.implicit:
            return "", struct.unpack_from("<I", buffer, index + 4)[0], offset + 8
        vr = _vr(buffer[index + 4 : index + 6], tag, offset)
        if vr in SHORT_VRS:
            return vr, struct.unpack_from(encoding.order + "H", buffer, index + 6)[0], offset + 8
        index = self.window.show(offset, 12)
        if index < 0:
            raise cut("an element", tag, offset, self.size)
        return vr, _LONGS[encoding.big_endian].unpack_from(self.window.buffer, index + 8)[0], offset + 12

    def _element(self, tag: int, offset: int) -> Element:
        vr, length, value_offset = self.header_at(offset, tag)
        if length != UNDEFINED:
            end = value_offset + length
            self._require_plausible(tag, offset, length, end)
        elif tag == PIXEL_DATA:
            end, self.fragment_count = self._after_fragments(value_offset)
        elif vr in ("", "SQ", "UN"):
            end = self._after_sequence(tag, value_offset, IMPLICIT_LITTLE if vr == "UN" else self.encoding)
        else:
            raise Malformed(f"an element of VR {vr} cannot have undefined length", tag=tag, offset=offset)
        return Element(tag, vr, offset, value_offset, length, end)

    def _require_plausible(self, tag: int, offset: int, length: int, end: int) -> None:
        """An absurd length is refused before anything waits for its bytes, or allocates them."""
        if tag <= LAST_EDITABLE and end > self.budget.header:
            limit = self.budget.header
            raise Malformed("the header is longer than is accepted", tag=tag, offset=offset, need=end, limit=limit)
        if tag < TAIL and length > self.budget.length:
            limit = self.budget.length
            raise Malformed("the element is longer than is accepted", tag=tag, offset=offset, need=length, limit=limit)
        if end > self.size:
            have = max(0, self.size - (end - length))
            raise Incomplete("the file ends inside an element", tag=tag, offset=offset, need=length, have=have)

    def _after_fragments(self, offset: int) -> tuple[int, int]:
        """Where encapsulated pixel data end and how many fragments follow the basic offset table (PS3.5 A.4)."""
        items = 0
        unpack = struct.Struct(self.encoding.order + "HHI").unpack_from
        while True:
            index = self.window.show(offset, 8)
            if index < 0:
                raise cut("pixel data fragments", PIXEL_DATA, offset, self.size)
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
                raise cut("a sequence", top, offset, self.size)
            group, number, length = _HEADERS[encoding.big_endian].unpack_from(window.buffer, index)
            tag = group << 16 | number
            following = offset + 8
            if tag == (ITEM_END if in_item else SEQUENCE_END) and length == 0:
                open_contexts.pop()
                offset = following
                continue
            if tag == 0 or (group == 0xFFFE) is in_item or not (in_item or tag == ITEM):
                raise _disorder(top, tag, length, offset)
            opened = (not in_item, encoding)
            if in_item and not encoding.implicit:
                vr, length, following = self._nested_header(offset, index, tag, encoding)
                opened = (False, IMPLICIT_LITTLE if vr == "UN" else encoding)
            offset = following
            if length == UNDEFINED:
                open_contexts.append(opened)
                if len(open_contexts) > 2 * self.budget.depth:
                    raise Malformed(f"sequences are nested deeper than {self.budget.depth}", tag=top, offset=offset)
            else:
                offset += length
                if offset > self.size:
                    raise cut("a sequence", top, offset, self.size)
        return offset

    def _nested_header(self, offset: int, index: int, tag: int, encoding: Encoding) -> tuple[str, int, int]:
        """VR, length and value offset of an explicit element of which 8 bytes are at `index` of the window."""
        vr = _vr(self.window.buffer[index + 4 : index + 6], tag, offset)
        if vr in SHORT_VRS:
            return vr, _SHORTS[encoding.big_endian].unpack_from(self.window.buffer, index + 6)[0], offset + 8
        index = self.window.show(offset, 12)
        if index < 0:
            raise cut("a sequence", tag, offset, self.size)
        return vr, _LONGS[encoding.big_endian].unpack_from(self.window.buffer, index + 8)[0], offset + 12

    def _require_no_rest(self, offset: int) -> None:
        """Fewer than 8 bytes are left: no element, so they must be zeros."""
        if not self._only_zeros_from(offset):
            raise cut("the tag of an element", None, offset, self.size)

    def _ends_in_zeros(self, offset: int, above: int) -> bool:
        """Whether nothing but zeros follows. A hole in the header is a part that the copy has not written yet."""
        empty = not any(self.window.bytes_at(offset, 8))
        if self._only_zeros_from(offset):
            return True
        if empty and above < TAIL:
            raise Incomplete("zeros where an element should be", offset=offset)
        return False

    def _only_zeros_from(self, offset: int) -> bool:
        while offset < self.size:
            index = self.window.show(offset, 1)
            if index < 0 or self.window.buffer.count(0, index) < len(self.window.buffer) - index:
                return False
            offset = self.window.end
        return True


def cut(where: str, tag: int | None, offset: int, size: int) -> Incomplete:
    """The file ends where at least a tag and a length should be."""
    have = max(0, size - offset)
    return Incomplete(f"the file ends inside {where}", tag=tag, offset=min(offset, size), need=8, have=have)


def _disorder(top: int, tag: int, length: int, offset: int) -> Incomplete | Malformed:
    if tag == length == 0:
        return Incomplete("zeros where the rest of a sequence should be", tag=top, offset=offset)
    return Malformed("the items and delimiters of a sequence are not in order", tag=tag, offset=offset)


def _vr(letters: bytes, tag: int, offset: int) -> str:
    """A VR of two capital letters; unknown ones are read with a 32-bit length, as PS3.5 7.1.2 lays down."""
    known = _BY_LETTERS.get(letters)
    if known is not None:
        return known
    if letters.isalpha() and letters.isupper():  # of bytes, these mean ASCII
        return letters.decode("ascii")
    raise Malformed("no value representation where one should be", tag=tag, offset=offset + 4)
