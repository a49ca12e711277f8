"""All of the files that come with pydicom: each is patched and read back, or refused for a reason listed here.

What is unchanged is judged by pydicom's own reader of elements, not by the walker under test.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import _read_file_meta_info, data_element_generator, read_preamble

from moichord.dicom import (
    DicomError,
    Incomplete,
    Malformed,
    NotDicom,
    Part10,
    PositionedFile,
    Provenance,
    TaggedImage,
    Wanted,
    inspect,
    lookup,
    tagged,
    walk,
)

DATA = Path(pydicom.__file__).parent / "data"
PROVENANCE = Provenance("20240229120000+0000", "moichord")
WANTED = {"PatientName": "Rex^Smith", "PatientID": "S1-001", "BarcodeValue": "blood"}
TOUCHED_GROUPS = {0x0008, 0x0010, 0x0400, 0x2200}

REFUSED: dict[str, tuple[type[DicomError], str]] = {
    "charset_files/FileInfo.txt": (NotDicom, "not a DICOM Part 10 file"),
    "palettes/README.md": (NotDicom, "not a DICOM Part 10 file"),
    "palettes/winter.dcm": (Malformed, "ascending order"),  # SOPInstanceUID twice
    "test_files/ExplVR_BigEndNoMeta.dcm": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/ExplVR_LitEndNoMeta.dcm": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/README.txt": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/SC_rgb_jpeg.dcm": (Malformed, "says explicit VR"),
    "test_files/crayons.icc": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/dicomdirtests/README.txt": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/dicomdirtests/TINY_ALPHA/README": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/image_dfl.dcm": (Malformed, "deflated"),
    "test_files/meta_missing_tsyntax.dcm": (Malformed, "no TransferSyntaxUID"),
    "test_files/no_meta.dcm": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/rtplan.dump": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/rtplan_truncated.dcm": (Incomplete, r"\(300A,00B0\).*976 bytes needed, 711 there"),
    "test_files/rtstruct.dcm": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/rtstruct.dump": (NotDicom, "not a DICOM Part 10 file"),
    "test_files/zipMR.gz": (NotDicom, "not a DICOM Part 10 file"),
}
# Cut off, or published without their pixels: incomplete as images, but their headers can be patched all the same.
INCOMPLETE = {
    "charset_files/chrJapMulti.dcm",
    "charset_files/chrJapMultiExplicitIR6.dcm",
    "charset_files/chrKoreanMulti.dcm",
    "charset_files/chrSQEncoding.dcm",
    "charset_files/chrSQEncoding1.dcm",
    "test_files/MR_truncated.dcm",
    "test_files/UN_sequence.dcm",
    "test_files/no_meta_group_length.dcm",
    "test_files/priv_SQ.dcm",
}
STRIPPED_FOLDER = "test_files/dicomdirtests/TINY_ALPHA/PT"


def corpus() -> list[str]:
    code = {".py", ".pyc", ".json"}
    return sorted(p.relative_to(DATA).as_posix() for p in DATA.rglob("*") if p.is_file() and p.suffix not in code)


def is_incomplete(name: str) -> bool:
    return name in INCOMPLETE or name.startswith(STRIPPED_FOLDER)


ACCEPTED = [name for name in corpus() if name not in REFUSED]


@contextmanager
def opened(name: str) -> Iterator[tuple[PositionedFile, Part10]]:
    """The file and its structure; where pixels are missing, as if there were no tail."""
    with (DATA / name).open("rb") as raw:
        file = PositionedFile(raw)
        yield file, replace(walk(file), tail=()) if is_incomplete(name) else inspect(file)


def elements(content: bytes) -> list[tuple[int, bytes]]:
    """Tag and all bytes of each top-level element up to the pixel data, and the rest, as pydicom finds them."""
    stream = io.BytesIO(content)
    read_preamble(stream, False)
    meta = _read_file_meta_info(stream)
    found = []
    start = stream.tell()
    implicit, little = meta.TransferSyntaxUID.is_implicit_VR, meta.TransferSyntaxUID.is_little_endian
    for one in data_element_generator(stream, implicit, little, stop_when=lambda tag, vr, length: tag >= 0x7FE00000):
        end = stream.tell()
        found.append((int(one.tag), content[start:end]))
        start = end
    return [*found, (0x7FE00000, content[start:])]


def outside(content: bytes, edited: set[int]) -> list[tuple[int, bytes]]:
    return [
        (tag, value)
        for tag, value in elements(content)
        if tag not in edited and not (tag & 0xFFFF == 0 and tag >> 16 in TOUCHED_GROUPS)
    ]


def test_the_list_of_refusals_is_exact() -> None:
    assert len(corpus()) > 180
    assert set(REFUSED) | INCOMPLETE <= set(corpus())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_file_is_refused_with_its_reason(name: str) -> None:
    error, words = REFUSED[name]
    with (DATA / name).open("rb") as raw, pytest.raises(error, match=words):
        inspect(PositionedFile(raw))


@pytest.mark.parametrize("name", [name for name in ACCEPTED if is_incomplete(name)])
def test_a_file_without_its_pixels_may_become_complete(name: str) -> None:
    with (DATA / name).open("rb") as raw, pytest.raises(Incomplete):
        inspect(PositionedFile(raw))


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unmodified_file_comes_out_byte_for_byte(name: str) -> None:
    with opened(name) as (file, part10):
        assert bytes(TaggedImage(file, part10).stream().read()) == (DATA / name).read_bytes()


@pytest.mark.parametrize("name", [name for name in ACCEPTED if "DICOMDIR" in name])
def test_a_directory_of_files_is_never_changed(name: str) -> None:
    wanted = [Wanted(lookup("PatientID"), "S1-001")]
    with opened(name) as (file, part10), pytest.raises(Malformed, match="offsets into itself"):
        tagged(file, wanted, PROVENANCE, part10=part10)


@pytest.mark.parametrize("name", [name for name in ACCEPTED if "DICOMDIR" not in name])
def test_three_changed_tags_are_read_and_all_else_is_as_it_was(name: str) -> None:
    wanted = [Wanted(lookup(keyword), text) for keyword, text in WANTED.items()]
    with opened(name) as (file, part10):
        image, coercion, _ = tagged(file, wanted, PROVENANCE, part10=part10)
        new = bytes(image.stream().read())
    old = (DATA / name).read_bytes()
    assert new[:128] == (bytes(128) if image.notes else old[:128])
    assert not image.notes or old[:2] in (b"II", b"MM")
    after = pydicom.dcmread(io.BytesIO(new))
    assert {keyword: str(after[keyword].value) for keyword in WANTED} == WANTED
    edited = {edit.tag for edit in coercion.edits}
    assert outside(new, edited) == outside(old, edited)
