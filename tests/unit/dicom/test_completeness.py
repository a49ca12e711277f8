import struct

import pytest

from moichord.dicom import DicomError, Incomplete, Malformed, inspect, walk
from tests.builders import (
    BASIC_TEXT_REPORT,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    SECONDARY_CAPTURE,
    UNDEFINED,
    element,
    image_bytes,
    item,
    part10_bytes,
    sequence_end,
)
from tests.unit.dicom.conftest import Open

STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
PADDING = element(0xFFFCFFFC, "OB", bytes(10))


def described(rows: int = 4, columns: int = 4, frames: int = 1, bits: int = 8, samples: int = 1) -> bytes:
    return (
        element(0x00280002, "US", struct.pack("<H", samples))
        + element(0x00280008, "IS", f"{frames:<2}".encode())
        + element(0x00280010, "US", struct.pack("<H", rows))
        + element(0x00280011, "US", struct.pack("<H", columns))
        + element(0x00280100, "US", struct.pack("<H", bits))
    )


def native(length: int) -> bytes:
    return element(0x7FE00010, "OW", bytes(length))


def fragments(*contents: bytes, end: bytes | None = None) -> bytes:
    value = item(b"") + b"".join(item(content) for content in contents)
    return element(0x7FE00010, "OB", value + (sequence_end() if end is None else end), length=UNDEFINED)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg", "rle"])
def test_a_whole_image_is_complete_without_notes(open_file: Open, syntax: str) -> None:
    found = inspect(open_file(image_bytes(transfer_syntax=syntax, frames=2, rows=5, columns=3)))
    assert found.notes == ()
    assert found.tail is not None
    assert found.tail[-1].end == found.size


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg"])
def test_an_image_cut_anywhere_may_become_complete(open_file: Open, syntax: str) -> None:
    content = image_bytes(transfer_syntax=syntax, frames=2, rows=8, columns=8)
    for length in range(0, len(content), 3):
        with pytest.raises(Incomplete):
            inspect(open_file(content[:length]))


@pytest.mark.parametrize("length", [200, 600, 900])
def test_an_image_whose_end_is_reserved_but_not_written_is_never_complete(open_file: Open, length: int) -> None:
    content = image_bytes(transfer_syntax="jpeg", frames=2)
    with pytest.raises(DicomError):
        inspect(open_file(content[:length] + bytes(len(content) - length)))


@pytest.mark.parametrize(
    ("header", "pixels", "note"),
    [
        (described(), native(16), None),
        (described(frames=3, samples=3), native(144), None),
        (described(rows=3, columns=3), native(10), None),
        (described(rows=3, columns=3, bits=1), native(2), None),
        (described(bits=16), native(32) + PADDING, None),
        (described(), native(20), "4 bytes longer"),
        (described(), native(16) + bytes(512), "512 zero bytes follow"),
        (b"", native(16), "cannot be checked"),
    ],
)
def test_native_pixel_data_fit_the_header(open_file: Open, header: bytes, pixels: bytes, note: str | None) -> None:
    notes = inspect(open_file(part10_bytes(element(0x00080018, "UI", b"2.25.3") + header + pixels))).notes
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("syntax", "pixels", "error", "words"),
    [
        (EXPLICIT, native(14), Malformed, "shorter than the header says.*16 bytes needed, 14 there"),
        (EXPLICIT, native(16)[:-1], Incomplete, "16 bytes needed, 15 there"),
        (EXPLICIT, native(16) + b"garbage!" * 4, Malformed, "ascending|value representation|ends"),
        (EXPLICIT, native(16) + bytes(20) + b"x", Malformed, "neither an element nor zeros follow"),
        (EXPLICIT, b"", Incomplete, "ends before its pixel data"),
        (EXPLICIT, fragments(b"abcd"), Malformed, "encapsulated pixel data in a native"),
        (JPEG, native(16), Malformed, "native pixel data in an encapsulated"),
        (JPEG, fragments(), Malformed, "1 frames, but only 0 fragments"),
        (JPEG, fragments(b"abcd", end=b""), Incomplete, "inside pixel data fragments"),
        (JPEG, fragments(b"abcd", end=bytes(100)), Incomplete, "zeros where a pixel data fragment"),
        (JPEG, fragments(b"abcd", end=item(b"abcd")[:-2]), Incomplete, "4 bytes needed, 2 there"),
        (JPEG, fragments(b"abcd", end=b"rubbish!"), Malformed, "do not consist of fragments"),
    ],
)
def test_a_bad_tail_is_refused_with_its_reason(
    open_file: Open, syntax: str, pixels: bytes, error: type[DicomError], words: str
) -> None:
    content = part10_bytes(element(0x00080018, "UI", b"2.25.3") + described() + pixels, transfer_syntax=syntax)
    with pytest.raises(error, match=words):
        inspect(open_file(content))


def test_a_fragment_for_each_frame_is_required_of_pictures_but_not_of_video(open_file: Open) -> None:
    content = element(0x00080018, "UI", b"2.25.3") + described(frames=3) + fragments(b"abcd", b"efgh")
    with pytest.raises(Malformed, match="3 frames, but only 2 fragments"):
        inspect(open_file(part10_bytes(content, transfer_syntax=JPEG)))
    inspect(open_file(part10_bytes(content, transfer_syntax="1.2.840.10008.1.2.4.102")))


def test_an_object_without_pixels_is_complete_unless_it_is_an_image(open_file: Open) -> None:
    report = element(0x00080018, "UI", b"2.25.3")
    assert not inspect(open_file(part10_bytes(report, sop_class_uid=STRUCTURED_REPORT))).has_pixel_data
    with pytest.raises(Incomplete, match="ends before its pixel data"):
        inspect(open_file(part10_bytes(report, sop_class_uid=SECONDARY_CAPTURE)))
    with pytest.raises(Incomplete, match="ends before its pixel data"):
        inspect(open_file(part10_bytes(report + described(), sop_class_uid=STRUCTURED_REPORT)))


def test_pixel_data_are_walked_but_not_read(open_file: Open) -> None:
    sparse = part10_bytes(element(0x00080018, "", b"2.25.3", implicit=True), transfer_syntax=IMPLICIT)
    sparse += element(0x7FE00010, "", b"", implicit=True, length=3_000_000_000)
    with pytest.raises(Incomplete, match="3000000000 bytes needed, 0 there"):
        inspect(open_file(sparse))
    assert walk(open_file(sparse)).has_pixel_data


def test_an_offset_table_alone_is_no_pixel_data(open_file: Open) -> None:
    table = element(0x7FE00001, "OV", bytes(8))
    content = part10_bytes(element(0x00080018, "UI", b"2.25.3") + table, sop_class_uid=BASIC_TEXT_REPORT)
    assert not inspect(open_file(content)).has_pixel_data
