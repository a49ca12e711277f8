"""Whole-slide images: real ones written by wsidicom, and headers of a size that only real slides have, by hand.

Owns their making. It must not use moichord.
"""

import io
import struct
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from wsidicom import WsiDicom

from tests import builders

TILE = 32
COLUMNS, ROWS = 4, 3
ITEMS = 100_000
PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230
FRAGMENT = 1 << 30
FRAGMENTS = 5


def write_slide(folder: Path, offset_table: str) -> list[Path]:
    """One slide as wsidicom writes it: VOLUME, LABEL and OVERVIEW; `offset_table` is "bot" or "eot"."""
    source, target = folder / "source", folder / "slide"
    source.mkdir()
    target.mkdir()
    for flavour, columns, rows in (("VOLUME", COLUMNS, ROWS), ("LABEL", 1, 1), ("OVERVIEW", 1, 1)):
        dataset = _dataset(flavour, columns, rows)
        (source / f"{flavour}.dcm").write_bytes(builders.dataset_bytes(dataset, builders.JPEG))
    with WsiDicom.open(source) as slide:
        return [Path(str(path)) for path in slide.save(target, offset_table=offset_table)]


def _dataset(flavour: str, columns: int, rows: int) -> Dataset:
    """What PS3.3 A.32.8 wants of a tiled image, as far as wsidicom needs it."""
    frames = columns * rows
    dataset = builders.image_dataset(builders.new_uid(), "P1", TILE, TILE, frames)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    dataset.FrameOfReferenceUID = "2.25.5"
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = columns * TILE, rows * TILE
    dataset.ImagedVolumeWidth = dataset.ImagedVolumeHeight = 1.0
    dataset.ImagedVolumeDepth = 0.001
    dataset.NumberOfOpticalPaths = dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.FocusMethod, dataset.ExtendedDepthOfField = "AUTO", "NO"
    dataset.SpecimenLabelInImage = "YES" if flavour != "VOLUME" else "NO"
    dataset.BurnedInAnnotation, dataset.VolumetricProperties = "NO", "VOLUME"
    dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", 10
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.TotalPixelMatrixOriginSequence = [_item(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)]
    dataset.ImageOrientationSlide = [0, 1, 0, 1, 0, 0]
    dataset.OpticalPathSequence = [_item(OpticalPathIdentifier="0")]
    measures = _item(PixelSpacing=[0.01, 0.01], SliceThickness=0.001)
    dataset.SharedFunctionalGroupsSequence = [_item(PixelMeasuresSequence=[measures])]
    dataset.PixelData = encapsulate([_tile(number) for number in range(frames)])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _tile(number: int) -> bytes:
    size = (TILE, TILE)
    channels = [Image.frombytes("L", size, builders.grey(number + 40 * channel, *size)) for channel in range(3)]
    buffer = io.BytesIO()
    Image.merge("RGB", channels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def many_items(*, undefined: bool, implicit: bool = False) -> bytes:
    """An image with 100,000 items of per-frame functional groups, two sequences deep, all of one kind of length."""

    def sequence(tag: int, content: bytes) -> bytes:
        end = builders.sequence_end() if undefined else b""
        length = builders.UNDEFINED if undefined else None
        return builders.element(tag, "SQ", content + end, implicit=implicit, length=length)

    position = builders.element(0x0048021E, "SL", struct.pack("<i", 7), implicit=implicit)
    inner = builders.item(sequence(0x0048021A, builders.item(position, undefined=undefined)), undefined=undefined)
    groups = sequence(PER_FRAME_FUNCTIONAL_GROUPS, inner * ITEMS)
    pixels = builders.element(0x7FE00010, "OB", b"\0\1", implicit=implicit)
    syntax = builders.IMPLICIT if implicit else builders.EXPLICIT
    return builders.part10_bytes(_start(1, implicit) + groups + pixels, transfer_syntax=syntax)


def write_huge(path: Path) -> int:
    """An image of five frames of 1 GiB each, whose fragments are holes, with an extended offset table; its size."""
    places = [number * (FRAGMENT + 8) for number in range(FRAGMENTS)]
    tables = builders.element(0x7FE00001, "OV", struct.pack(f"<{FRAGMENTS}Q", *places))
    tables += builders.element(0x7FE00002, "OV", struct.pack(f"<{FRAGMENTS}Q", *[FRAGMENT] * FRAGMENTS))
    pixels = builders.element(0x7FE00010, "OB", b"", length=builders.UNDEFINED) + builders.item()
    header = builders.part10_bytes(_start(FRAGMENTS) + tables + pixels, transfer_syntax=builders.JPEG)
    with path.open("wb") as out:
        out.write(header)
        for _ in places:
            out.write(struct.pack("<HHI", 0xFFFE, 0xE000, FRAGMENT) + b"\xff\xd8")
            out.seek(FRAGMENT - 4, io.SEEK_CUR)
            out.write(b"\xff\xd9")
        out.write(builders.sequence_end())
        return out.tell()


def _start(frames: int, implicit: bool = False) -> bytes:
    """The header of a grey image of one pixel a frame."""
    number = str(frames).encode()
    values = [
        (0x00080016, "UI", builders.padded(builders.SECONDARY_CAPTURE)),
        (0x00080018, "UI", b"2.25.3"),
        (0x00100010, "PN", b"A^B "),
        (0x00100020, "LO", b"P1"),
        (0x00280002, "US", b"\1\0"),
        (0x00280008, "IS", number + b" " * (len(number) % 2)),
        (0x00280010, "US", b"\1\0"),
        (0x00280011, "US", b"\1\0"),
        (0x00280100, "US", b"\x08\0"),
    ]
    return b"".join(builders.element(tag, vr, value, implicit=implicit) for tag, vr, value in values)
