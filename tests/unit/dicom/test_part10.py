import struct
from dataclasses import replace

import pytest

from moichord.dicom import Budget, DicomError, Incomplete, Malformed, NotDicom, walk
from moichord.dicom.part10 import Preamble
from tests.builders import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    UNDEFINED,
    element,
    image_bytes,
    item,
    part10_bytes,
    sequence_end,
)
from tests.unit.dicom.conftest import Open

NAME = element(0x00100010, "PN", b"Rex ")
UID = element(0x00080018, "UI", b"2.25.3")
IMPLICIT_UID = element(0x00080018, "", b"2.25.3", implicit=True)
SEQUENCE = 0x00081140


def undefined(tag: int, content: bytes, vr: str = "SQ", **layout: bool) -> bytes:
    return element(tag, vr, content + sequence_end(), length=UNDEFINED, **layout)


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = undefined(SEQUENCE, item(content, undefined=True))
    return content


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg", "rle"])
def test_a_walk_finds_every_element_and_the_tail(open_file: Open, syntax: str) -> None:
    content = image_bytes(transfer_syntax=syntax, frames=3)
    found = walk(open_file(content))
    assert found.size == len(content)
    assert found.preamble is Preamble.ZEROS
    assert [e.tag for e in found.elements] == sorted(e.tag for e in found.elements)
    assert found.elements[0].offset == found.dataset_offset
    for this, following in zip(found.elements, found.elements[1:], strict=False):
        assert this.end == following.offset
    assert found.elements[-1].end == found.tail_offset
    assert found.has_pixel_data
    assert found.tail_length == len(content) - found.tail_offset
    patient = found.find(0x00100020)
    assert patient is not None
    assert content[patient.value_offset : patient.end].strip() == b"P1"


@pytest.mark.parametrize(
    "content",
    [
        undefined(SEQUENCE, item(UID) + item(UID, undefined=True)) + NAME,
        undefined(SEQUENCE, item(undefined(0x00081150, item(UID, undefined=True)), undefined=True)) + NAME,
        undefined(0x00081150, item(IMPLICIT_UID, undefined=True), vr="UN") + NAME,
        element(SEQUENCE, "SQ", item(b"anything of a defined length is not entered ")) + NAME,
        UID + element(0x00081150, "ZZ", b"")[:6] + b"\0\0" + struct.pack("<I", 4) + b"abcd" + NAME,
        nested(32) + NAME,
        undefined(SEQUENCE, item(undefined(0x00081150, item(IMPLICIT_UID, undefined=True), vr="UN"), undefined=True))
        + NAME,
    ],
    ids=["items", "nested", "UN is implicit", "defined", "unknown VR", "depth 32", "nested UN is implicit"],
)
def test_what_lies_inside_a_value_is_skipped(open_file: Open, content: bytes) -> None:
    found = walk(open_file(part10_bytes(content)))
    assert found.elements[-1].tag == 0x00100010
    assert not found.has_pixel_data


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
def test_sequences_of_undefined_length_end_in_every_encoding(open_file: Open, syntax: str) -> None:
    layout = {"implicit": syntax == IMPLICIT, "big_endian": syntax == BIG_ENDIAN}
    order = {"big_endian": syntax == BIG_ENDIAN}
    inside = item(element(0x00080018, "UI", b"2.25.3", **layout), undefined=True, **order)
    content = element(SEQUENCE, "SQ", inside + sequence_end(**order), length=UNDEFINED, **layout)
    content += element(0x00100010, "PN", b"Rex ", **layout)
    found = walk(open_file(part10_bytes(content, transfer_syntax=syntax)))
    assert [e.tag for e in found.elements] == [SEQUENCE, 0x00100010]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", Incomplete, "the file is empty"),
        (bytes(5000), Incomplete, "zeros where DICM should be"),
        (bytes(100), Incomplete, "132 bytes needed, 100 there"),
        (b"II*\0" + bytes(40), Incomplete, "ends before its header"),
        (b"This is a letter, not an image.", NotDicom, "not a DICOM Part 10 file"),
        (b"x" * 5000, NotDicom, "not a DICOM Part 10 file"),
        (UID + NAME * 20, NotDicom, "not a DICOM Part 10 file"),
        (part10_bytes(b"")[:140], Incomplete, "ends inside"),
        (part10_bytes(b"")[:150], Incomplete, "the file ends inside"),
        (part10_bytes(b""), Incomplete, "ends before its data set"),
        (part10_bytes(bytes(200)), Incomplete, "zeros where the data set should be"),
        (part10_bytes(UID, with_syntax=False), Malformed, "no TransferSyntaxUID"),
        (part10_bytes(UID, transfer_syntax="nonsense"), Malformed, "not a UID"),
        (part10_bytes(UID, transfer_syntax=DEFLATED), Malformed, "deflated"),
        (part10_bytes(UID, transfer_syntax=IMPLICIT), Malformed, "says implicit VR"),
        (part10_bytes(IMPLICIT_UID), Malformed, "says explicit VR"),
        (part10_bytes(UID, transfer_syntax=BIG_ENDIAN), Malformed, "byte order"),
        (part10_bytes(element(0x00080018, "UI", b"2.25.3", big_endian=True)), Malformed, "byte order"),
        (part10_bytes(NAME + UID), Malformed, r"ascending order.*element \(0008,0018\)"),
        (part10_bytes(UID + UID), Malformed, "ascending order"),
        (part10_bytes(element(0x00000002, "UI", b"2.25.3") + UID), Malformed, "does not belong"),
        (part10_bytes(UID + NAME[:-1]), Incomplete, r"\(0010,0010\).*4 bytes needed, 3 there"),
        (part10_bytes(UID + NAME[:7]), Incomplete, "8 bytes needed, 7 there"),
        (part10_bytes(UID + element(0x00091001, "UN", b"", length=2**31)), Malformed, "longer than is accepted"),
        (part10_bytes(UID + element(0x52009230, "UN", b"", length=2**31)), Malformed, "longer than is accepted"),
        (part10_bytes(UID + element(0x52009230, "UN", b"abcd", length=900)), Incomplete, "900 bytes needed, 4 there"),
        (part10_bytes(UID + element(0x00091001, "OB", b"", length=UNDEFINED)), Malformed, "cannot have undefined"),
        (part10_bytes(UID + b"\x09\x00\x01\x10\x01\x02\x03\x04"), Malformed, "no value representation"),
        (part10_bytes(UID + undefined(SEQUENCE, item(UID, undefined=True))[:-8]), Incomplete, "inside a sequence"),
        (part10_bytes(UID + undefined(SEQUENCE, item(UID))[:-14]), Incomplete, "inside a sequence"),
        (part10_bytes(UID + undefined(SEQUENCE, bytes(80))), Incomplete, "zeros where the rest of a sequence"),
        (part10_bytes(UID + undefined(SEQUENCE, NAME)), Malformed, "not in order"),
        (part10_bytes(UID + undefined(SEQUENCE, item(item(b""), undefined=True))), Malformed, "not in order"),
        (part10_bytes(nested(33)), Malformed, "nested deeper than 32"),
    ],
)
def test_a_file_is_refused_with_its_reason(
    open_file: Open, content: bytes, error: type[DicomError], words: str
) -> None:
    with pytest.raises(error, match=words):
        walk(open_file(content))


def test_no_file_exhausts_the_budget(open_file: Open) -> None:
    many = b"".join(element(0x00091000 + n, "LO", b"") for n in range(50))
    inside = undefined(SEQUENCE, item(b"") * 50)
    small = Budget(elements=20, nested=20)
    with pytest.raises(Malformed, match="more than 20 elements"):
        walk(open_file(part10_bytes(many)), small)
    with pytest.raises(Malformed, match="more than 20 nested elements"):
        walk(open_file(part10_bytes(inside)), small)
    with pytest.raises(Malformed, match="header is longer"):
        walk(open_file(part10_bytes(many)), replace(small, header=300))


def test_zeros_after_the_last_element_end_the_data_set(open_file: Open) -> None:
    content = part10_bytes(UID + NAME)
    assert walk(open_file(content + bytes(11))).tail_offset == len(content)
    assert walk(open_file(content + bytes(3))).tail_offset == len(content)
    with pytest.raises(Malformed, match="ascending order"):
        walk(open_file(content + bytes(6) + b"\1\1" + bytes(500) + b"x"))


def test_a_hole_in_the_header_may_still_be_filled(open_file: Open) -> None:
    content = image_bytes(frames=20)
    name = content.index(b"PN") - 4
    with pytest.raises(Incomplete, match="zeros where an element should be"):
        walk(open_file(content[:name] + bytes(300) + content[name + 300 :]))


def test_a_tiff_header_in_the_preamble_is_seen(open_file: Open) -> None:
    assert walk(open_file(part10_bytes(UID, preamble=b"II*\0" + bytes(124)))).preamble is Preamble.TIFF
    assert walk(open_file(part10_bytes(UID, preamble=b"a note" + bytes(122)))).preamble is Preamble.OTHER


def test_a_wrong_group_length_of_the_meta_information_does_not_matter(open_file: Open) -> None:
    content = bytearray(part10_bytes(UID))
    content[140:144] = struct.pack("<I", 7)
    assert walk(open_file(bytes(content))).elements[0].tag == 0x00080018


def test_a_transfer_syntax_that_is_not_accepted_is_named_with_its_place(open_file: Open) -> None:
    content = part10_bytes(UID, transfer_syntax=DEFLATED)
    with pytest.raises(Malformed, match=r"deflated .*1\.2\.1\.99 \(element \(0002,0010\), at byte") as caught:
        walk(open_file(content))
    assert caught.value.offset == content.index(b"\x02\0\x10\0UI")
