"""DICOM files for tests: whole images made with pydicom, and single elements made by hand for what pydicom refuses.

Owns the making of every file that a test reads; nothing binary is committed. It must not use moichord, so that it
can judge it.
"""

import io
import struct
import uuid
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
SYNTAXES = {"explicit": EXPLICIT, "implicit": IMPLICIT, "big_endian": BIG_ENDIAN, "jpeg": JPEG, "rle": RLE}
WHOLE_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
BASIC_TEXT_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])


def new_uid() -> str:
    """A UID that no other file has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def write_image(
    path: Path,
    *,
    sop_instance_uid: str | None = None,
    patient_id: str = "P1",
    rows: int = 16,
    columns: int = 16,
    frames: int = 1,
    transfer_syntax: str = "explicit",
    **attributes: Any,
) -> Path:
    """Write one small grey image; `attributes` by keyword are set last, those given as None are removed."""
    path.write_bytes(
        image_bytes(
            sop_instance_uid=sop_instance_uid,
            patient_id=patient_id,
            rows=rows,
            columns=columns,
            frames=frames,
            transfer_syntax=transfer_syntax,
            **attributes,
        )
    )
    return path


def write_large_image(path: Path, mib: int, **attributes: Any) -> Path:
    """Write one image with `mib` MiB of native pixels, which are a hole of the file: it takes no room on the disk."""
    small = image_bytes(rows=1, columns=2, **{"Rows": 1024, "Columns": 1024, "NumberOfFrames": mib, **attributes})
    header = small[: -len(element(0x7FE00010, "OB", b"\0\0"))] + element(0x7FE00010, "OB", b"", length=mib << 20)
    with path.open("wb") as out:
        out.write(header)
        out.truncate(len(header) + (mib << 20))
    return path


def write_report(path: Path, *, sop_instance_uid: str | None = None, patient_id: str = "P1", **attributes: Any) -> Path:
    """Write a DICOM object without pixel data: a structured report, complete as it is."""
    dataset = Dataset()
    dataset.SOPClassUID = BASIC_TEXT_REPORT
    dataset.SOPInstanceUID = sop_instance_uid or new_uid()
    dataset.Modality = "SR"
    dataset.PatientName = "Before^Name"
    dataset.PatientID = patient_id
    dataset.StudyInstanceUID = "2.25.1"
    dataset.SeriesInstanceUID = "2.25.4"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    path.write_bytes(dataset_bytes(dataset, EXPLICIT))
    return path


def image_bytes(
    *,
    sop_instance_uid: str | None = None,
    patient_id: str = "P1",
    rows: int = 16,
    columns: int = 16,
    frames: int = 1,
    transfer_syntax: str = "explicit",
    **attributes: Any,
) -> bytes:
    """The bytes of such an image; `transfer_syntax` is a name of SYNTAXES or a UID."""
    syntax = SYNTAXES.get(transfer_syntax, transfer_syntax)
    dataset = image_dataset(sop_instance_uid or new_uid(), patient_id, rows, columns, frames)
    pixels = [grey(frame, columns, rows) for frame in range(frames)]
    if syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN):
        native = b"".join(pixels)
        dataset.PixelData = native + b"\0" * (len(native) % 2)
    else:
        encode = jpeg if syntax == JPEG else fake_fragment
        dataset.PixelData = encapsulate([encode(frame, columns, rows) for frame in pixels])
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OW" if syntax == IMPLICIT else "OB"
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset_bytes(dataset, syntax)


def image_dataset(sop_instance_uid: str, patient_id: str, rows: int, columns: int, frames: int) -> Dataset:
    """What a slide scanner says of an image, without its pixels."""
    dataset = Dataset()
    dataset.SOPClassUID = WHOLE_SLIDE_IMAGE
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.StudyDate = "20240229"
    dataset.Modality = "SM"
    dataset.Manufacturer = "Scanner"
    dataset.PatientName = "Before^Name"
    dataset.PatientID = patient_id
    dataset.StudyInstanceUID = "2.25.1"
    dataset.SeriesInstanceUID = "2.25.2"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = frames
    dataset.Rows = rows
    dataset.Columns = columns
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    specimen = Dataset()
    specimen.SpecimenIdentifier = "S1"
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.ContainerIdentifier = "C1"
    return dataset


def dataset_bytes(dataset: Dataset, transfer_syntax: str) -> bytes:
    """`dataset` as a DICOM Part 10 file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "2.25.3")
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def grey(number: int, columns: int, rows: int) -> bytes:
    """One frame, 8 bits a pixel, different from the next one."""
    return bytes((x * 3 + y * 5 + number) % 256 for y in range(rows) for x in range(columns))


def jpeg(frame: bytes, columns: int, rows: int) -> bytes:
    """One real baseline JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.frombytes("L", (columns, rows), frame).save(buffer, "JPEG")
    return buffer.getvalue()


def fake_fragment(frame: bytes, columns: int, rows: int) -> bytes:
    """Bytes in the place of a compressed frame, for what never decodes them."""
    return struct.pack("<16I", 1, 64, *[0] * 14) + frame


def element(
    tag: int,
    vr: str,
    value: bytes,
    *,
    implicit: bool = False,
    big_endian: bool = False,
    length: int | None = None,
) -> bytes:
    """One element by hand; `length` may lie (UNDEFINED included)."""
    order = ">" if big_endian else "<"
    stated = len(value) if length is None else length
    start = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return start + struct.pack(order + "I", stated) + value
    if vr in LONG_VRS:
        return start + vr.encode() + b"\0\0" + struct.pack(order + "I", stated) + value
    return start + vr.encode() + struct.pack(order + "H", stated) + value


def item(content: bytes = b"", *, undefined: bool = False, big_endian: bool = False) -> bytes:
    """One sequence item (FFFE,E000), of defined or undefined length (PS3.5 7.5)."""
    order = ">" if big_endian else "<"
    start = struct.pack(order + "HHI", 0xFFFE, 0xE000, UNDEFINED if undefined else len(content))
    return start + content + (struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0) if undefined else b"")


def sequence_end(*, big_endian: bool = False) -> bytes:
    """The Sequence Delimitation Item (FFFE,E0DD)."""
    return struct.pack((">" if big_endian else "<") + "HHI", 0xFFFE, 0xE0DD, 0)


def part10_bytes(
    dataset: bytes,
    *,
    transfer_syntax: str = EXPLICIT,
    preamble: bytes = b"\0" * 128,
    sop_class_uid: str = SECONDARY_CAPTURE,
    sop_instance_uid: str = "2.25.3",
    with_syntax: bool = True,
) -> bytes:
    """Preamble, DICM and a group 0002 by hand around `dataset`."""
    meta = element(0x00020001, "OB", b"\0\1")
    meta += element(0x00020002, "UI", padded(sop_class_uid))
    meta += element(0x00020003, "UI", padded(sop_instance_uid))
    if with_syntax:
        meta += element(0x00020010, "UI", padded(transfer_syntax))
    meta += element(0x00020012, "UI", padded("2.25.99"))
    return preamble + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + dataset


def padded(text: str, fill: bytes = b"\0") -> bytes:
    """ASCII `text` of even length."""
    return text.encode() + fill * (len(text) % 2)
