"""One small picture of a file, or none; never harm."""

import os
import struct
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from moichord.dicom.thumbnail import SIDE, UNREADABLE, NoPicture, answer, thumbnail
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.samples import make_sample
from tests.builders import write_image


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two levels, a thumbnail, the label, the overview, as the sandbox's scanner makes them."""
    folder = tmp_path_factory.mktemp("scan") / "MO-1001"
    return make_sample(folder, "MO-1001", CATALOGUE["MO-1001"], seed=1, images=5)


def shown(file: Path, *, identifying: bool = False) -> Image.Image:
    return Image.open(BytesIO(thumbnail(file, identifying=identifying)))


def native(file: Path, pixels: bytes, **fields: object) -> Path:
    """An image of plain samples: 4 x 2 pixels if `fields` say nothing else."""
    write_image(file)
    dataset = dcmread(file)
    for name, value in {"Rows": 2, "Columns": 4, "SamplesPerPixel": 1, "BitsAllocated": 8, **fields}.items():
        setattr(dataset, name, value)
    if "PhotometricInterpretation" not in fields:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset.PixelData = pixels
    dataset.save_as(file)
    return file


def test_a_level_shows_its_middle_tile_and_a_picture_of_one_frame_itself(scan: list[Path]) -> None:
    for file in scan[:3]:
        picture = shown(file)
        assert max(picture.size) <= SIDE
        red, green, blue = picture.resize((1, 1)).getpixel((0, 0))
        assert red > green > 100, f"{file.name}: {red, green, blue}"
        # No empty margin of a tile at the edge.
        below = picture.convert("L").crop((0, picture.height - 8, picture.width, picture.height))
        assert min(below.tobytes()) > 20


@pytest.mark.parametrize("number", [3, 4])
def test_what_may_name_a_patient_is_shown_with_leave_only(scan: list[Path], number: int) -> None:
    with pytest.raises(NoPicture, match="may name a patient"):
        thumbnail(scan[number])
    assert shown(scan[number], identifying=True).width == SIDE


def test_burned_in_annotation_may_name_a_patient(tmp_path: Path) -> None:
    file = native(tmp_path / "x.dcm", bytes(8), BurnedInAnnotation="YES")
    with pytest.raises(NoPicture, match="may name a patient"):
        thumbnail(file)
    assert shown(file, identifying=True).size == (4, 2)


def test_plain_samples_are_shown_as_bright_as_they_are(tmp_path: Path) -> None:
    pixels = bytes(range(0, 256, 32))
    bright = shown(native(tmp_path / "two.dcm", pixels)).convert("L")
    dark = shown(native(tmp_path / "one.dcm", pixels, PhotometricInterpretation="MONOCHROME1")).convert("L")
    assert (bright.getpixel((0, 0)) < 20, bright.getpixel((3, 1)) > 200) == (True, True)
    assert (dark.getpixel((0, 0)) > 200, dark.getpixel((3, 1)) < 40) == (True, True)


@pytest.mark.parametrize("signed", [0, 1])
def test_sixteen_bits_are_stretched_to_what_is_there(tmp_path: Path, signed: int) -> None:
    values = [-300, -200, -100, 0, 100, 200, 300, 400] if signed else [1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700]
    pixels = struct.pack(f"<8{'h' if signed else 'H'}", *values)
    file = native(tmp_path / "x.dcm", pixels, BitsAllocated=16, PixelRepresentation=signed)
    picture = shown(file).convert("L")
    assert (picture.getpixel((0, 0)) < 30, picture.getpixel((3, 1)) > 220) == (True, True)


def test_the_middle_frame_of_many_is_shown(tmp_path: Path) -> None:
    pixels = b"".join(bytes([value]) * 8 for value in (0, 255, 0))
    assert shown(native(tmp_path / "x.dcm", pixels, NumberOfFrames=3)).convert("L").getpixel((1, 1)) > 240


def test_colours_are_those_of_the_file(tmp_path: Path) -> None:
    file = native(tmp_path / "x.dcm", bytes([250, 10, 10]) * 8, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    dataset = dcmread(file)
    dataset.PlanarConfiguration = 0
    dataset.save_as(file)
    red, green, _ = shown(file).getpixel((1, 1))
    assert (red > 200, green < 60) == (True, True)


def test_a_frame_of_jpeg_2000_is_shown(scan: list[Path], tmp_path: Path) -> None:
    dataset, out = dcmread(scan[2]), BytesIO()
    Image.new("RGB", (dataset.Columns, dataset.Rows), (10, 200, 10)).save(out, "JPEG2000")
    dataset.PixelData = _fragment(out.getvalue().partition(b"jp2c")[2])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(tmp_path / "x.dcm")
    _, green, _ = shown(tmp_path / "x.dcm").getpixel((9, 9))
    assert green > 180


def _fragment(frame: bytes) -> bytes:
    padded = frame + bytes(len(frame) % 2)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(padded)) + padded
    return items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 0},
        {"BitsAllocated": 12},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"NumberOfFrames": 10**9},
        {"SamplesPerPixel": 4},
    ],
)
def test_what_cannot_be_shown_is_no_picture(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(NoPicture):
        thumbnail(native(tmp_path / "x.dcm", bytes(16), **fields))


def test_an_encoding_that_nobody_here_decodes_is_no_picture(scan: list[Path], tmp_path: Path) -> None:
    dataset = dcmread(scan[2])
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = _fragment(b"\xff\xd8\xff\xf7nothing that Pillow knows")
    dataset.save_as(tmp_path / "x.dcm")
    with pytest.raises(NoPicture):
        thumbnail(tmp_path / "x.dcm")


def test_whatever_a_file_holds_there_is_a_picture_or_none(scan: list[Path], tmp_path: Path) -> None:
    random, file = Random(7), tmp_path / "x.dcm"  # noqa: S311 - no secret
    whole = scan[2].read_bytes()
    for _ in range(150):
        spoilt = bytearray(whole)
        for _ in range(random.randint(1, 30)):
            spoilt[random.randrange(132, min(len(spoilt), 4000))] = random.randrange(256)
        file.write_bytes(spoilt[: random.choice([len(spoilt), random.randrange(len(spoilt))])])
        length = struct.unpack(">I", answer(f"0 {os.fsencode(file).hex()}\n".encode())[:4])[0]
        assert length != UNREADABLE


@pytest.mark.parametrize("line", [b"\n", b"0\n", b"0 zz\n", b"2 00 00\n", b"\xff\n", b"0 " + b"00\n"])
def test_a_line_that_makes_no_sense_is_answered_all_the_same(line: bytes) -> None:
    assert answer(line) in {struct.pack(">I", 0), struct.pack(">I", UNREADABLE)}


def test_a_file_that_is_gone_may_be_there_later_and_a_link_or_pipe_is_nothing_to_follow(
    scan: list[Path], tmp_path: Path
) -> None:
    gone, link, pipe = tmp_path / "gone", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(scan[0])
    os.mkfifo(pipe)
    said = [answer(f"0 {os.fsencode(file).hex()}\n".encode()) for file in (gone, link, pipe)]
    assert said == [struct.pack(">I", UNREADABLE), struct.pack(">I", UNREADABLE), struct.pack(">I", 0)]
