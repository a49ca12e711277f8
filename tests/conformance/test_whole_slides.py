"""Whole slides: what wsidicom wrote is read by wsidicom and highdicom as before; size costs neither time nor memory."""

import tracemalloc
from pathlib import Path

import highdicom
import pytest
from PIL import ImageChops
from wsidicom import WsiDicom

from moichord.dicom import PositionedFile, TaggedImage, Wanted, inspect, lookup, tagged
from tests.conformance import judges, whole_slides
from tests.conformance.editing import PLAIN, PROVENANCE, edit, unmodified
from tests.conformance.reader import dataset_of

MIB = 1024 * 1024


@pytest.mark.parametrize("offset_table", ["bot", "eot"])
def test_a_slide_with_its_label_and_overview_looks_as_before(tmp_path: Path, offset_table: str) -> None:
    files = whole_slides.write_slide(tmp_path, offset_table)
    sent = tmp_path / "sent"
    sent.mkdir()
    for file in files:
        edited = edit(file, PLAIN)
        judges.assert_only_these_changed(file.read_bytes(), edited, PLAIN)
        (sent / file.name).write_bytes(edited.content)

    flavours = {judges.read(file.read_bytes()).ImageType[2] for file in files}
    assert flavours == {"VOLUME", "LABEL", "OVERVIEW"}
    assert_same_to_wsidicom(files[0].parent, sent)
    for file in files:
        assert_same_frames_to_highdicom(file, sent / file.name)


def assert_same_to_wsidicom(before: Path, after: Path) -> None:
    with WsiDicom.open(before) as old, WsiDicom.open(after) as new:
        size = (whole_slides.COLUMNS * whole_slides.TILE, whole_slides.ROWS * whole_slides.TILE)
        regions = [slide.read_region((0, 0), 0, size) for slide in (old, new)]
        pictures = [regions, [old.read_label(), new.read_label()], [old.read_overview(), new.read_overview()]]
        for was, became in pictures:
            assert was.getbbox() is not None
            assert ImageChops.difference(was, became).getbbox() is None


def assert_same_frames_to_highdicom(before: Path, after: Path) -> None:
    """Frame by frame through the offset table, without reading the whole."""
    old, new = (highdicom.imread(path, lazy_frame_retrieval=True) for path in (before, after))
    assert new.number_of_frames == old.number_of_frames
    for number in range(1, old.number_of_frames + 1):
        assert new.get_raw_frame(number) == old.get_raw_frame(number)


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_a_hundred_thousand_items_arrive_as_they_are(tmp_path: Path, undefined: bool, implicit: bool) -> None:
    path = tmp_path / "many.dcm"
    content = whole_slides.many_items(undefined=undefined, implicit=implicit)
    path.write_bytes(content)
    groups = dataset_of(content)[-2]
    assert (groups.tag, len(groups.whole) > 3 * MIB) == (whole_slides.PER_FRAME_FUNCTIONAL_GROUPS, True)

    assert unmodified(path) == content
    edited = edit(path, PLAIN)

    behind = content.index(groups.whole[:64])
    assert edited.content.endswith(content[behind:])
    judges.assert_untouched_but_for(edited.tags, content, edited.content)


def test_an_image_of_5_gib_is_walked_and_tagged_with_a_few_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "huge.dcm"
    size = whole_slides.write_huge(path)
    assert size > whole_slides.FRAGMENTS << 30
    wanted = [Wanted(lookup(keyword), text) for keyword, text in PLAIN.items()]
    tracemalloc.start()
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        part10 = inspect(file)
        image, _, _ = tagged(file, wanted, PROVENANCE, part10=part10)
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 * MIB
    assert part10.size == size
    assert image.length == image.header_length + image.tail_length == size + image.header_length - image.tail_offset
    assert image.tail_offset + image.tail_length == size


@pytest.mark.repeats
def test_an_image_of_5_gib_is_sent_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "huge.dcm"
    whole_slides.write_huge(path)
    buffer = bytearray(MIB)
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        stream = TaggedImage(file, inspect(file)).stream(buffer)
        total, last = 0, b""
        for block in stream:
            total, last = total + len(block), bytes(block[-10:])
        assert (total, last[:2], stream.tail_digest is None) == (file.size, b"\xff\xd9", False)
