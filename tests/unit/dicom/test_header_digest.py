"""What the digest of an image's header covers: everything that coercion may touch, whether it had to or not."""

import pytest

from moichord.dicom import Budget, Provenance, TaggedImage, Wanted, inspect, lookup, tagged
from tests.builders import image_bytes
from tests.unit.dicom.conftest import Open

UID = "2.25.7"
PROVENANCE = Provenance(coercion_datetime="20260101000000.000000+0000", modifying_system="test")
BARCODE = 0x22000005


def as_wanted(open_file: Open, content: bytes, **values: str) -> TaggedImage:
    wanted = [Wanted(lookup(keyword), value) for keyword, value in values.items()]
    return tagged(open_file(content), wanted, PROVENANCE)[0]


def tagged_twice(open_file: Open, **values: str) -> TaggedImage:
    """An image that was given its values earlier, so that nothing changes now."""
    first = as_wanted(open_file, image_bytes(sop_instance_uid=UID), **values)
    again = as_wanted(open_file, bytes(first.stream().read()), **values)
    assert again.unchanged
    return again


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg"])
def test_an_unchanged_image_is_still_the_file_itself(open_file: Open, syntax: str) -> None:
    content = image_bytes(transfer_syntax=syntax, PatientName="A")
    image = as_wanted(open_file, content, PatientName="A")
    assert image.unchanged
    assert bytes(image.stream().read()) == content
    assert (image.header_length, image.length) == (image.tail_offset, len(content))


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "BarcodeValue"])
def test_images_of_other_values_of_equal_length_have_another_digest(open_file: Open, keyword: str) -> None:
    one, other = (tagged_twice(open_file, **{keyword: value}) for value in ("one", "two"))
    assert (one.tail_length, one.header_length) == (other.tail_length, other.header_length)
    assert one.header_digest != other.header_digest


def test_the_record_of_earlier_changes_is_covered_too(open_file: Open) -> None:
    image = tagged_twice(open_file, PatientName="A")
    assert b"test" in image.header


@pytest.mark.parametrize("before", ["A", "B"])
def test_the_header_reaches_behind_the_last_wanted_tag(open_file: Open, before: str) -> None:
    content = image_bytes(PatientName=before, BarcodeValue="CBC")
    image = as_wanted(open_file, content, PatientName="A", BarcodeValue="CBC")
    assert image.unchanged == (before == "A")
    assert image.tail_offset == next(e.end for e in inspect(open_file(content)).elements if e.tag == BARCODE)


def test_no_wanted_tags_at_all_are_fine(open_file: Open) -> None:
    assert as_wanted(open_file, image_bytes()).unchanged


def test_what_is_held_in_memory_ends_before_the_pixel_data(open_file: Open) -> None:
    image = as_wanted(open_file, image_bytes(rows=1000, columns=1000, BarcodeValue="CBC"), BarcodeValue="CBC")
    assert image.tail_length > 1_000_000
    assert image.header_length < 2000 < Budget().header
