import struct

import pytest

from moichord.dicom import DicomError, Unfit, inspect, lookup, value, walk
from moichord.dicom.values import number
from tests.builders import BIG_ENDIAN, IMPLICIT, element, image_bytes, part10_bytes
from tests.unit.dicom.conftest import Open

UID = element(0x00080018, "UI", b"2.25.3")


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian"])
def test_values_are_read_as_text_in_every_encoding(open_file: Open, syntax: str) -> None:
    file = open_file(image_bytes(transfer_syntax=syntax, rows=300))
    part10 = inspect(file)
    read = {keyword: value(file, part10, lookup(keyword).tag) for keyword in ("PatientName", "Modality", "StudyDate")}
    assert read == {"PatientName": "Before^Name", "Modality": "SM", "StudyDate": "20240229"}
    assert value(file, part10, 0x00080008) == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    assert value(file, part10, 0x00280010) == "300"
    assert number(file, part10, 0x00280010) == 300
    assert value(file, part10, 0x00104000) is None
    assert value(file, part10, 0x00020002) == "1.2.840.10008.5.1.4.1.1.77.1.6"


@pytest.mark.parametrize(
    ("content", "tag", "expected"),
    [
        (element(0x00100010, "PN", b"Rex^^=== "), 0x00100010, "Rex"),
        (element(0x00100020, "LO", b" P1 "), 0x00100020, "P1"),
        (element(0x00100020, "UN", b"P1"), 0x00100020, "P1"),
        (element(0x00100020, "LO", b""), 0x00100020, ""),
        (element(0x00104000, "LT", b"  a\\b "), 0x00104000, "  a\\b"),
        (element(0x00189334, "FD", struct.pack("<dd", 1.5, 2)), 0x00189334, ["1.5", "2.0"]),
        (element(0x00280010, "UN", struct.pack("<H", 7)), 0x00280010, "7"),
        (element(0x00091001, "LO", b"private "), 0x00091001, "private"),
    ],
)
def test_padding_does_not_count(open_file: Open, content: bytes, tag: int, expected: object) -> None:
    file = open_file(part10_bytes(UID + content))
    assert value(file, walk(file), tag) == expected


def test_a_number_of_vr_un_is_little_endian_everywhere(open_file: Open) -> None:
    """PS3.5 6.2.2 note 4."""
    content = element(0x00080018, "UI", b"2.25.3", big_endian=True)
    content += element(0x00280010, "UN", struct.pack("<H", 7), big_endian=True)
    file = open_file(part10_bytes(content, transfer_syntax=BIG_ENDIAN))
    assert value(file, walk(file), 0x00280010) == "7"


def test_the_declared_character_set_holds(open_file: Open) -> None:
    file = open_file(image_bytes(SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг"))
    assert value(file, inspect(file), 0x00100010) == "Люкceмбypг"


@pytest.mark.parametrize(
    ("content", "tag", "words"),
    [
        (
            element(0x00100010, "PN", b"M\xfcller"),
            0x00100010,
            r"not text of the declared character set, the default repertoire.*\(0010,0010\)",
        ),
        (element(0x00280010, "US", b"abc "[:3] + b"\0\0"), 0x00280010, "does not suit VR US"),
        (element(0x00204000, "LT", b"x" * 65000) * 1, 0x00204000, ""),
        (element(0x00420011, "OB", bytes(70_000)), 0x00420011, "too long to be read"),
    ],
)
def test_what_cannot_be_read_is_said(open_file: Open, content: bytes, tag: int, words: str) -> None:
    file = open_file(part10_bytes(UID + content))
    part10 = walk(file)
    if not words:
        assert len(str(value(file, part10, tag))) == 65000
        return
    with pytest.raises(DicomError, match=words):
        value(file, part10, tag)


def test_a_number_that_is_none_is_no_number(open_file: Open) -> None:
    file = open_file(part10_bytes(UID + element(0x00280008, "IS", b"many")))
    assert number(file, walk(file), 0x00280008) is None


def test_undecodable_bytes_are_unfit_only_when_they_are_read(open_file: Open) -> None:
    name = element(0x00100010, "PN", b"M\xfcller")
    for syntax, layout in ((IMPLICIT, {"implicit": True}), (BIG_ENDIAN, {"big_endian": True})):
        content = element(0x00080018, "UI", b"2.25.3", **layout) + element(0x00100010, "PN", name[8:], **layout)
        file = open_file(part10_bytes(content, transfer_syntax=syntax))
        part10 = walk(file)
        assert value(file, part10, 0x00080018) == "2.25.3"
        with pytest.raises(Unfit):
            value(file, part10, 0x00100010)
