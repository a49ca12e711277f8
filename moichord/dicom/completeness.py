"""Is a file whole? Walks the tail: pixel data and what follows, down to the last byte.

Owns the verdict complete, may become complete (`Incomplete`) or can never be (`NotDicom`, `Malformed`). It must not
know waiting or samples. Pixels are measured, not read.
"""

from dataclasses import replace

from moichord.dicom.dictionary import is_image_storage
from moichord.dicom.encoding import (
    NATIVE_SYNTAXES,
    PIXEL_DATA,
    UNDEFINED,
    Element,
    is_standard_encapsulated,
)
from moichord.dicom.errors import Incomplete, Malformed
from moichord.dicom.part10 import Part10, walk
from moichord.dicom.reading import PositionedFile, Window
from moichord.dicom.values import number, value
from moichord.dicom.walker import Budget, Walker

FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
_PIXEL_DATA_TAGS = (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA)
_END = 1 << 32
_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_NUMBER_OF_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
_RLE = "1.2.840.10008.1.2.5"
_VIDEO_FROM = 100


def inspect(file: PositionedFile, budget: Budget | None = None) -> Part10:
    """Walk the whole file. Returning means that it is complete; the errors say whether waiting can help."""
    return check_tail(file, walk(file, budget), budget)


def check_tail(file: PositionedFile, part10: Part10, budget: Budget | None = None) -> Part10:
    """Walk the elements from (7FE0,0000) on and add them to `part10`, with notes on oddities.

    Native pixel data must hold rows x columns x frames x samples x bits (PS3.5 8.1.1), encapsulated ones end in
    (FFFE,E0DD) and have a fragment for each frame (PS3.5 A.4). Only zeros may follow the last element.
    """
    walker = Walker(Window(file), part10.encoding, budget or Budget())
    above = part10.elements[-1].tag if part10.elements else -1
    tail, end = walker.elements(part10.tail_offset, until=_END, above=above)
    checked = replace(part10, tail=tuple(tail))
    notes = [*part10.notes]
    if end < file.size:
        notes.append(f"{file.size - end} zero bytes follow the last element; they are carried along")
    pixels = [element for element in tail if element.tag in _PIXEL_DATA_TAGS]
    checked = replace(checked, has_pixel_data=bool(pixels))
    if not pixels:
        _require_no_image(file, checked, end)
    for element in pixels:
        notes += _check_pixels(file, checked, element, walker)
    return replace(checked, notes=tuple(notes))


def _require_no_image(file: PositionedFile, part10: Part10, end: int) -> None:
    """A copy cut exactly between two elements looks whole, but an image without pixels is none."""
    if part10.find(_PIXEL_DATA_PROVIDER_URL) is not None:
        return
    described = all(number(file, part10, tag) for tag in (_ROWS, _COLUMNS, _BITS_ALLOCATED))
    sop_class_uid = value(file, part10, _MEDIA_STORAGE_SOP_CLASS_UID)
    if described or (isinstance(sop_class_uid, str) and is_image_storage(sop_class_uid)):
        raise Incomplete("the file is that of an image, and ends before its pixel data", tag=PIXEL_DATA, offset=end)


def _check_pixels(file: PositionedFile, part10: Part10, element: Element, walker: Walker) -> list[str]:
    encapsulated = element.length == UNDEFINED
    if encapsulated and part10.transfer_syntax in NATIVE_SYNTAXES:
        raise Malformed("encapsulated pixel data in a native transfer syntax", tag=element.tag, offset=element.offset)
    if not encapsulated and is_standard_encapsulated(part10.transfer_syntax):
        raise Malformed("native pixel data in an encapsulated transfer syntax", tag=element.tag, offset=element.offset)
    if encapsulated:
        _require_fragments(file, part10, element, walker.fragment_count)
        return []
    expected = _native_length(file, part10, element.tag)
    if expected is None:
        return ["the length of the pixel data cannot be checked: the header does not describe them"]
    if element.length < expected:
        raise Malformed(
            "the pixel data are shorter than the header says",
            tag=element.tag,
            offset=element.offset,
            need=expected,
            have=element.length,
        )
    if element.length > expected + expected % 2:
        return [f"the pixel data are {element.length - expected} bytes longer than the header says"]
    return []


def _require_fragments(file: PositionedFile, part10: Part10, element: Element, fragments: int) -> None:
    frames = number(file, part10, _NUMBER_OF_FRAMES) or 1
    needed = frames if _is_frame_by_frame(part10.transfer_syntax) else 1
    if fragments < needed:
        raise Malformed(
            f"{frames} frames, but only {fragments} fragments of pixel data", tag=element.tag, offset=element.offset
        )


def _is_frame_by_frame(transfer_syntax: str) -> bool:
    """Whether no fragment can hold two frames: so for RLE and still pictures, but not for video (PS3.5 A.4)."""
    last = transfer_syntax.removeprefix(_JPEG_FAMILY)
    return transfer_syntax == _RLE or (last.isdigit() and int(last) < _VIDEO_FROM)


def _native_length(file: PositionedFile, part10: Part10, tag: int) -> int | None:
    """Bytes of native pixel data without padding; None if the header does not say enough."""
    rows, columns = number(file, part10, _ROWS), number(file, part10, _COLUMNS)
    bits = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}.get(tag) or number(file, part10, _BITS_ALLOCATED)
    if not rows or not columns or not bits:
        return None
    samples: float = number(file, part10, _SAMPLES_PER_PIXEL) or 1
    if samples == 3 and value(file, part10, _PHOTOMETRIC_INTERPRETATION) in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2  # The two colour samples are shared by two pixels (PS3.3 C.7.6.3.1.2).
    pixels = rows * columns * (number(file, part10, _NUMBER_OF_FRAMES) or 1)
    return (pixels * int(samples) * bits + 7) // 8
