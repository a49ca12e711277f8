"""What a sequence's value holds: its items, and their elements, one level at a time.

Owns the parsing of a value in memory (PS3.5 7.5) into views, without copies. `walker` skips sequences in a file; here
they are opened. It must not know what values mean. Errors: `Malformed`, naming the top-level element.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from moichord.dicom.encoding import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Encoding,
    encode_element,
    header_length,
)
from moichord.dicom.errors import Malformed


class Piece(NamedTuple):
    """An element or item: what it holds, and all of its bytes. `delimited`: its length is undefined."""

    tag: int
    vr: str
    value: memoryview
    delimited: bool
    whole: memoryview


@dataclass(frozen=True, slots=True)
class Nested:
    """Reads what lies inside the top-level element `top`, in one encoding."""

    top: int
    encoding: Encoding

    def items(self, value: memoryview) -> Iterator[Piece]:
        """The items of a sequence, with or without the delimiter at its end."""
        position = 0
        while position < len(value):
            tag, length = self._start(value, position)
            if tag == SEQUENCE_END and position + 8 == len(value):
                return
            if tag != ITEM:
                raise self.malformed("something else where an item should be")
            start = position + 8
            end, following = self._extent(value, start, length, in_item=True)
            yield Piece(ITEM, "", value[start:end], length == UNDEFINED, value[position:following])
            position = following

    def elements(self, item: memoryview) -> Iterator[Piece]:
        """The elements of what an item holds. UN of undefined length is implicit VR inside (PS3.5 6.2.2)."""
        position = 0
        while position < len(item):
            tag, vr, length, start = self._header(item, position)
            inner = Nested(self.top, IMPLICIT_LITTLE) if vr == "UN" else self
            end, following = inner._extent(item, start, length, in_item=False)
            yield Piece(tag, vr, item[start:end], length == UNDEFINED, item[position:following])
            position = following

    def encode(self, piece: Piece, content: bytes) -> bytes:
        """An element or item with another content, in the form it had: of defined or of undefined length."""
        if piece.delimited:
            header = 8 if piece.tag == ITEM else header_length(piece.vr, self.encoding)
            return b"".join((piece.whole[:header], content, piece.whole[-8:]))
        if piece.tag == ITEM:
            return struct.pack(self.encoding.order + "HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content
        return encode_element(piece.tag, piece.vr, content, self.encoding)

    def malformed(self, problem: str) -> Malformed:
        return Malformed(f"{problem}, inside a sequence", tag=self.top)

    def _extent(self, value: memoryview, start: int, length: int, *, in_item: bool) -> tuple[int, int]:
        """Where a content ends, and where what follows it begins: behind the delimiter of an undefined length."""
        if length != UNDEFINED:
            if start + length > len(value):
                raise self.malformed("an element longer than what surrounds it")
            return start + length, start + length
        contexts = [(in_item, self)]
        position = start
        while True:
            in_item, reader = contexts[-1]
            tag, length = reader._start(value, position)
            if tag == (ITEM_END if in_item else SEQUENCE_END):
                contexts.pop()
                if not contexts:
                    return position, position + 8
                position += 8
                continue
            if (tag >> 16 == ITEM >> 16) is in_item or not (in_item or tag == ITEM):
                raise self.malformed("items and delimiters that are not in order")
            vr = ""
            position += 8
            if in_item:
                tag, vr, length, position = reader._header(value, position - 8)
            if length == UNDEFINED:
                contexts.append((not in_item, Nested(self.top, IMPLICIT_LITTLE) if vr == "UN" else reader))
            else:
                position += length

    def _start(self, value: memoryview, position: int) -> tuple[int, int]:
        """The tag at `position`, and the length of an item or of an element in implicit VR."""
        if position + 8 > len(value):
            raise self.malformed("an element or item that is cut off")
        group, number, length = struct.unpack_from(self.encoding.order + "HHI", value, position)
        return group << 16 | number, length

    def _header(self, value: memoryview, position: int) -> tuple[int, str, int, int]:
        """Tag, VR ("" if implicit), length, and where the value begins."""
        tag, length = self._start(value, position)
        if self.encoding.implicit:
            return tag, "", length, position + 8
        vr = bytes(value[position + 4 : position + 6]).decode("latin_1")
        if vr in SHORT_VRS:
            return tag, vr, struct.unpack_from(self.encoding.order + "H", value, position + 6)[0], position + 8
        if position + 12 > len(value) or not (vr.isascii() and vr.isalpha() and vr.isupper()):
            raise self.malformed("an element without a value representation")
        return tag, vr, struct.unpack_from(self.encoding.order + "I", value, position + 8)[0], position + 12
