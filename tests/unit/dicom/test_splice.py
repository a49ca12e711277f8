import errno
import hashlib
import io
import os
from pathlib import Path

import pydicom
import pytest
from blake3 import blake3

from moichord.dicom import (
    Changed,
    Edit,
    Malformed,
    PositionedFile,
    Provenance,
    TaggedImage,
    Wanted,
    inspect,
    lookup,
    tagged,
    walk,
)
from tests.builders import UNDEFINED, WHOLE_SLIDE_IMAGE, element, image_bytes, item, part10_bytes, sequence_end
from tests.unit.dicom.conftest import Open

PROVENANCE = Provenance("20240229120000+0000", "moichord")
NEW = {"PatientName": "Rex^Smith", "PatientID": "S1-001", "BarcodeValue": "blood", "InstitutionName": "Clinic"}
UID = element(0x00080018, "UI", b"2.25.3")
NAME = element(0x00100010, "PN", b"Old ")
PIXELS = element(0x7FE00010, "OW", b"12345678")
SIGNATURE = element(0xFFFAFFFA, "SQ", item(element(0x04000110, "UI", b"1.2.3\0")))


def wanted(**values: str) -> list[Wanted]:
    return [Wanted(lookup(keyword), text) for keyword, text in (values or NEW).items()]


def image_of(file: PositionedFile, *edits: Edit) -> TaggedImage:
    return TaggedImage(file, inspect(file), edits)


def sent(image: TaggedImage) -> bytes:
    return bytes(image.stream().read())


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg", "rle"])
def test_only_what_was_wanted_changes(open_file: Open, syntax: str) -> None:
    content = image_bytes(transfer_syntax=syntax, frames=2)
    image, coercion, part10 = tagged(open_file(content), wanted(), PROVENANCE)
    new = sent(image)
    before, after = pydicom.dcmread(io.BytesIO(content)), pydicom.dcmread(io.BytesIO(new))
    assert {keyword: str(after[keyword].value) for keyword in NEW} == NEW
    assert after.InstanceCoercionDateTime == "20240229120000+0000"
    record = after.OriginalAttributesSequence[-1]
    assert record.ModifyingSystem == "moichord"
    assert record.ModifiedAttributesSequence[0].PatientName == "Before^Name"
    assert new[-part10.tail_length :] == content[part10.tail_offset :]
    for keyword in (*NEW, "InstanceCoercionDateTime", "OriginalAttributesSequence"):
        del after[keyword]
        before.pop(keyword, None)
    assert before == after
    assert {change.keyword for change in coercion.changes} == set(NEW)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg"])
def test_the_meta_information_is_true_and_names_the_writer(open_file: Open, syntax: str) -> None:
    new = sent(tagged(open_file(image_bytes(transfer_syntax=syntax)), wanted(), PROVENANCE)[0])
    meta = pydicom.dcmread(io.BytesIO(new)).file_meta
    after = walk(open_file(new))
    assert meta.FileMetaInformationGroupLength == after.dataset_offset - 144
    assert meta.ImplementationVersionName == "MOICHORD_1"
    assert meta.ImplementationClassUID.is_valid
    assert meta.MediaStorageSOPClassUID == WHOLE_SLIDE_IMAGE


def test_earlier_records_of_undefined_length_stay_byte_for_byte(open_file: Open) -> None:
    earlier = item(element(0x04000563, "LO", b"other "), undefined=True)
    record = element(0x04000561, "SQ", earlier + sequence_end(), length=UNDEFINED)
    new = sent(tagged(open_file(part10_bytes(UID + NAME + record + PIXELS)), wanted(PatientName="New"), PROVENANCE)[0])
    assert earlier + item()[:4] in new
    assert [one.ModifyingSystem for one in pydicom.dcmread(io.BytesIO(new)).OriginalAttributesSequence] == [
        "other",
        "moichord",
    ]


def test_tagging_again_changes_nothing(open_file: Open) -> None:
    for text in ("Rex", "Müller"):
        first = sent(tagged(open_file(image_bytes()), wanted(PatientName=text), PROVENANCE)[0])
        again, coercion, _ = tagged(open_file(first), wanted(PatientName=text), PROVENANCE)
        assert again.unchanged
        assert not coercion.edits
        assert sent(again) == first


def test_the_same_edits_give_the_same_bytes(open_file: Open) -> None:
    content = image_bytes(transfer_syntax="jpeg")
    images = [tagged(open_file(content), wanted(), PROVENANCE)[0] for _ in range(2)]
    assert images[0].header_digest == images[1].header_digest == blake3(images[0].header).hexdigest()
    assert sent(images[0]) == sent(images[1])


def test_an_unchanged_image_is_the_file_itself(open_file: Open) -> None:
    content = image_bytes()
    image = image_of(open_file(content))
    assert image.unchanged
    assert image.header == content[: image.header_length]
    assert sent(image) == content


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(0x00080005, "CS", b"ISO_IR 192"), element(0x00080005, "CS", b"ISO_IR 192") + UID + NAME),
        (Edit(0x00080018, "UI", None), NAME),
        (Edit(0x00100010, "PN", b"New "), UID + element(0x00100010, "PN", b"New ")),
        (Edit(0x00100010, "PN", None), UID),
        (Edit(0x00100020, "LO", b"P1"), UID + NAME + element(0x00100020, "LO", b"P1")),
        (Edit(0x00100020, "LO", None), UID + NAME),
        (Edit(0x00090010, "LO", b"A "), UID + element(0x00090010, "LO", b"A ") + NAME),
        (Edit(0x22000005, "UT", b"long"), UID + NAME + element(0x22000005, "UT", b"long")),
    ],
)
def test_an_edit_finds_its_place(open_file: Open, edit: Edit, expected: bytes) -> None:
    file = open_file(part10_bytes(UID + NAME + PIXELS))
    new = sent(image_of(file, edit))
    start = walk(open_file(new)).dataset_offset
    assert new[start:] == expected + PIXELS


def test_edits_without_elements_around_them(open_file: Open) -> None:
    file = open_file(part10_bytes(PIXELS))
    new = sent(image_of(file, Edit(0x00100010, "PN", b"A "), Edit(0x00080018, "UI", b"2.25.3")))
    assert new.endswith(UID + element(0x00100010, "PN", b"A ") + PIXELS)


def test_a_group_length_goes_only_from_a_touched_group(open_file: Open) -> None:
    lengths = [element(group << 16, "UL", b"\x0e\0\0\0") for group in (0x0008, 0x0010)]
    file = open_file(part10_bytes(lengths[0] + UID + lengths[1] + NAME + PIXELS))
    new = walk(open_file(sent(image_of(file, Edit(0x00100010, "PN", b"New ")))))
    assert [e.tag for e in new.elements] == [0x00080000, 0x00080018, 0x00100010]
    removed = walk(open_file(sent(image_of(file, Edit(0x00100010, "PN", None)))))
    assert [e.tag for e in removed.elements] == [0x00080000, 0x00080018]


def test_the_length_to_the_end_goes_once_it_is_wrong(open_file: Open) -> None:
    stated = element(0x00080001, "UL", b"\xff\0\0\0")
    file = open_file(part10_bytes(stated + UID + NAME + PIXELS))
    assert stated in sent(image_of(file, Edit(0x00100010, "PN", b"New ")))
    assert stated not in sent(image_of(file, Edit(0x00080080, "LO", b"New ")))


def test_the_header_ends_behind_the_last_change(open_file: Open) -> None:
    groups = element(0x52009230, "SQ", item(UID * 5000, undefined=True) + sequence_end(), length=UNDEFINED)
    file = open_file(part10_bytes(UID + NAME + groups + PIXELS))
    image = image_of(file, Edit(0x00100010, "PN", b"New "))
    assert image.header_length < 400
    assert image.tail_length == len(groups) + len(PIXELS)
    assert sent(image).endswith(groups + PIXELS)


@pytest.mark.parametrize("preamble", [b"II*\0" + b"x" * 124, b"note" + bytes(124)])
def test_only_a_tiff_header_is_zeroed(open_file: Open, preamble: bytes) -> None:
    image = image_of(open_file(part10_bytes(UID + NAME + PIXELS, preamble=preamble)), Edit(0x00100010, "PN", b""))
    tiff = preamble.startswith(b"II")
    assert sent(image)[:128] == (bytes(128) if tiff else preamble)
    assert bool(image.notes) == tiff


def test_a_signature_at_the_end_can_be_taken_off(open_file: Open) -> None:
    mac = element(0x4FFE0001, "SQ", item(element(0x04000005, "US", b"\1\0")))
    padding = element(0xFFFCFFFC, "OB", bytes(6))
    content = part10_bytes(UID + NAME + mac + PIXELS + SIGNATURE + padding)
    image, coercion, _ = tagged(open_file(content), wanted(PatientName="New"), PROVENANCE, signed="strip")
    after = inspect(open_file(sent(image)))
    assert after.tail is not None
    assert [e.tag for e in after.tail] == [0x7FE00010]
    assert after.find(0x4FFE0001) is None
    assert "signatures were removed" in coercion.notes[0]


def test_nothing_else_behind_the_pixel_data_can_be_edited(open_file: Open) -> None:
    private = element(0xFFFB0010, "LO", b"ACME")
    file = open_file(part10_bytes(UID + PIXELS + SIGNATURE + private))
    with pytest.raises(Malformed, match="can only be removed"):
        image_of(file, Edit(0xFFFAFFFA, "SQ", b""))
    with pytest.raises(Malformed, match="can only be removed"):
        TaggedImage(file, walk(file), [Edit(0xFFFAFFFA, "SQ", None)])


@pytest.mark.parametrize("size", [1, 10, 300, 4096, 1 << 20])
@pytest.mark.parametrize("buffered", [False, True])
def test_blocks_of_any_size_make_the_same_body(open_file: Open, size: int, buffered: bool) -> None:
    content = image_bytes(rows=100, columns=20)
    image = tagged(open_file(content), wanted(), PROVENANCE)[0]
    body = image.stream(bytearray(1000) if buffered else None)
    assert body.tail_digest is None
    blocks = []
    while block := body.read(size):
        assert len(block) <= size
        blocks.append(bytes(block))
    assert b"".join(blocks) == sent(image)
    assert len(body) == body.tell() == image.length == image.header_length + image.tail_length
    tail = content[image.tail_offset : image.tail_offset + image.tail_length]
    assert body.tail_digest == blake3(tail).hexdigest()
    assert body.read(size) == b""


def test_a_body_can_be_sent_again(open_file: Open) -> None:
    image = tagged(open_file(image_bytes()), wanted(), PROVENANCE)[0]
    body = image.stream()
    first = bytes(body.read(700)) + bytes(body.read())
    digest = body.tail_digest
    body.rewind()
    assert body.tail_digest is None
    assert b"".join(body) == first
    assert body.tail_digest == digest


@pytest.mark.parametrize("change", ["grows", "shrinks", "touched"])
def test_a_file_that_changes_while_it_is_sent_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(image_bytes(rows=100))
    with path.open("rb") as opened:
        image = tagged(PositionedFile(opened), wanted(), PROVENANCE)[0]
        body = image.stream()
        body.read(100)
        with path.open("r+b") as other:
            if change == "grows":
                other.seek(0, os.SEEK_END)
                other.write(b"more")
            elif change == "shrinks":
                other.truncate(500)
            else:
                found = os.fstat(other.fileno())
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        with pytest.raises(Changed):
            body.read()
        with pytest.raises(Changed):
            image.write_to(io.BytesIO())


class Refusing:
    """copy_file_range that takes some bytes and then cannot go on."""

    def __init__(self, number: int, after: int) -> None:
        self.number = number
        self.after = after

    def __call__(self, source: int, target: int, count: int, offset: int) -> int:
        if self.after:
            part = os.pread(source, min(count, self.after), offset)
            self.after = 0
            return os.write(target, part)
        if self.number:
            raise OSError(self.number, "not supported")
        return 0


@pytest.mark.parametrize("number", [0, errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
@pytest.mark.parametrize("after", [0, 100])
def test_a_file_is_written_whatever_the_kernel_can_do(
    open_file: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    image = tagged(open_file(image_bytes(rows=50)), wanted(), PROVENANCE)[0]
    monkeypatch.setattr(os, "copy_file_range", Refusing(number, after))
    target = tmp_path / "out.dcm"
    with target.open("wb") as out:
        out.write(b"before")
        image.write_to(out)
        out.write(b"after")
    assert target.read_bytes() == b"before" + sent(image) + b"after"


def test_a_written_file_is_what_is_sent(open_file: Open, tmp_path: Path) -> None:
    image = tagged(open_file(image_bytes(rows=200, columns=200)), wanted(), PROVENANCE)[0]
    target = tmp_path / "out.dcm"
    with target.open("wb") as out:
        image.write_to(out)
    assert target.read_bytes() == sent(image)
    assert image.sha256() == hashlib.sha256(sent(image)).hexdigest()
    memory = io.BytesIO()
    image.write_to(memory)
    assert memory.getvalue() == sent(image)


def test_a_failing_disk_is_not_taken_for_a_missing_feature(
    open_file: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tagged(open_file(image_bytes()), wanted(), PROVENANCE)[0]
    monkeypatch.setattr(os, "copy_file_range", Refusing(errno.ENOSPC, 0))
    with (tmp_path / "out.dcm").open("wb") as out, pytest.raises(OSError, match="not supported"):
        image.write_to(out)
