"""A second reader of DICOM files, written from PS3.5 alone, to judge the first one.

Owns the splitting of a file into its top-level elements, whole bytes and all. It must not use moichord or pydicom, and
makes no effort to be fast or frugal: it holds the file in memory and recurses. What it does not expect raises
`ValueError`.
"""

import struct
from typing import NamedTuple

UNDEFINED = 0xFFFFFFFF
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
SHORT_VRS = {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST"}
SHORT_VRS |= {"TM", "UI", "UL", "US"}
PIXEL_DATA = 0x7FE00010
REST = -1
"""In the place of a tag: what follows the last whole element, zeros or the beginning of one that is cut off."""


class CutOff(ValueError):
    """The file ends inside an element."""


class Found(NamedTuple):
    """One element: `whole` are all its bytes, `value` those behind its length, delimiters included."""

    tag: int
    vr: str
    whole: bytes
    value: bytes


class Layout(NamedTuple):
    """How elements are laid out: the byte order as `struct` spells it, and whether VRs are written."""

    order: str
    implicit: bool


def meta_of(content: bytes) -> list[Found]:
    """The elements of group 0002, which are explicit little endian in every file (PS3.10 7.1)."""
    return _meta(content)[0]


def dataset_of(content: bytes) -> list[Found]:
    """The top-level elements of the data set, in the order of the file; pixel data included."""
    meta, offset = _meta(content)
    (syntax,) = [found.value.rstrip(b"\0 ").decode() for found in meta if found.tag == 0x00020010]
    layout = Layout(">" if syntax == EXPLICIT_BIG else "<", syntax == IMPLICIT_LITTLE)
    found = []
    while offset < len(content):
        one = _element_or_none(content, offset, layout) if any(content[offset:]) else None
        if one is None:
            found.append(Found(REST, "", content[offset:], b""))
            break
        found.append(one)
        offset += len(one.whole)
    return found


def items_of(sequence: Found, layout: Layout) -> list[bytes]:
    """The items of a sequence, each without its own header and delimiter."""
    content, offset, found = sequence.value, 0, []
    while offset < len(content):
        tag, length = _tag(content, offset, layout), _long(content, offset + 4, layout)
        if tag == 0xFFFEE0DD:
            break
        end = _end_of_item(content, offset, layout)
        found.append(content[offset + 8 : end - (8 if length == UNDEFINED else 0)])
        offset = end
    return found


def inside(item: bytes, layout: Layout) -> list[Found]:
    """The elements of one item."""
    offset, found = 0, []
    while offset < len(item):
        one = _element(item, offset, layout)
        found.append(one)
        offset += len(one.whole)
    return found


def layout_of(content: bytes) -> Layout:
    (syntax,) = [found.value.rstrip(b"\0 ").decode() for found in meta_of(content) if found.tag == 0x00020010]
    return Layout(">" if syntax == EXPLICIT_BIG else "<", syntax == IMPLICIT_LITTLE)


def _meta(content: bytes) -> tuple[list[Found], int]:
    if content[128:132] != b"DICM":
        raise ValueError("no DICM")
    found, offset, layout = [], 132, Layout("<", False)
    while content[offset : offset + 2] == b"\x02\0":
        found.append(_element(content, offset, layout))
        offset += len(found[-1].whole)
    return found, offset


def _element_or_none(content: bytes, offset: int, layout: Layout) -> Found | None:
    try:
        return _element(content, offset, layout)
    except CutOff:
        return None


def _element(content: bytes, offset: int, layout: Layout) -> Found:
    tag = _tag(content, offset, layout)
    vr, length, start = _header(content, offset, layout)
    if length != UNDEFINED:
        end = start + length
    elif tag == PIXEL_DATA:
        end = _end_of_fragments(content, start, layout)
    else:
        end = _end_of_sequence(content, start, Layout("<", True) if vr == "UN" else layout)
    if end > len(content):
        raise CutOff(f"{tag:08X} at {offset} ends at {end} of {len(content)}")
    return Found(tag, vr, content[offset:end], content[start:end])


def _header(content: bytes, offset: int, layout: Layout) -> tuple[str, int, int]:
    if layout.implicit:
        return "", _long(content, offset + 4, layout), offset + 8
    vr = content[offset + 4 : offset + 6].decode("ascii")
    if vr in SHORT_VRS:
        return vr, struct.unpack_from(layout.order + "H", content, offset + 6)[0], offset + 8
    return vr, _long(content, offset + 8, layout), offset + 12


def _end_of_sequence(content: bytes, offset: int, layout: Layout) -> int:
    while _tag(content, offset, layout) == 0xFFFEE000:
        offset = _end_of_item(content, offset, layout)
    _require(content, offset, layout, 0xFFFEE0DD)
    return offset + 8


def _end_of_item(content: bytes, offset: int, layout: Layout) -> int:
    _require(content, offset, layout, 0xFFFEE000)
    length = _long(content, offset + 4, layout)
    offset += 8
    if length != UNDEFINED:
        return offset + length
    while (tag := _tag(content, offset, layout)) != 0xFFFEE00D:
        vr, length, start = _header(content, offset, layout)
        if length == UNDEFINED:
            offset = _end_of_sequence(content, start, Layout("<", True) if vr == "UN" else layout)
        elif tag >> 16 == 0xFFFE:
            raise ValueError(f"delimiter {tag:08X} at {offset} out of place")
        else:
            offset = start + length
    return offset + 8


def _end_of_fragments(content: bytes, offset: int, layout: Layout) -> int:
    while _tag(content, offset, layout) == 0xFFFEE000:
        offset += 8 + _long(content, offset + 4, layout)
    _require(content, offset, layout, 0xFFFEE0DD)
    return offset + 8


def _require(content: bytes, offset: int, layout: Layout, tag: int) -> None:
    found = _tag(content, offset, layout)
    if found != tag:
        raise ValueError(f"{found:08X} at {offset} where {tag:08X} should be")


def _tag(content: bytes, offset: int, layout: Layout) -> int:
    if offset + 8 > len(content):
        raise CutOff(f"no element at {offset}, where the file ends")
    group, number = struct.unpack_from(layout.order + "HH", content, offset)
    return int(group << 16 | number)


def _long(content: bytes, offset: int, layout: Layout) -> int:
    return int(struct.unpack_from(layout.order + "I", content, offset)[0])
