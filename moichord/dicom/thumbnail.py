"""One small picture of an image, bounded: the middle frame of the file, as a JPEG of 256 pixels at most.

Owns decoding, for showing only: what is sent is never decoded. It must not know samples. Errors: NoPicture, where a
file cannot be shown; OSError where it cannot be read.

What a stranger has made is decoded, so this is meant to run as a process of its own, which its caller ends when it
takes too long (`python -m moichord.dicom.thumbnail`). It reads lines: `0` or `1` (whether labels may be shown), a
space, the path in hexadecimal. It answers each by four bytes, big endian, and as many of JPEG: 0 if there is no
picture, 0xFFFFFFFF if the file cannot be read now. It ends with its input, and after a minute without a line.
"""

import errno
import os
import select
import stat
import struct
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom import FileDataset, dcmread
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from moichord.dicom.errors import DicomError

SIDE = 256
QUALITY = 82
MOST_PIXELS = 64 * 2**20
LARGEST_FRAME = 256 * 2**20
MEMORY = 1536 * 2**20
IDLE_SECONDS = 60.0
UNREADABLE = 0xFFFFFFFF
SHOWS_WHO_IT_IS = {"LABEL", "OVERVIEW"}
_WANTED = [
    *("TransferSyntaxUID", "ImageType", "BurnedInAnnotation", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("TotalPixelMatrixColumns", "TotalPixelMatrixRows"),
]
_PIXEL_DATA = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
_COLOURS = {("MONOCHROME1", 1), ("MONOCHROME2", 1), ("RGB", 3), ("YBR_FULL", 3)}


class NoPicture(DicomError):
    """The file cannot be shown, or must not be."""


def thumbnail(file: Path, *, identifying: bool = False) -> bytes:
    """A JPEG of the middle frame. Labels, overviews and what has burned-in annotations only if `identifying`.

    PS3.3 C.8.12.4.1.1 (ImageType of slides), C.7.6.1.1.7 (BurnedInAnnotation).
    """
    with _opened(file) as opened:
        try:
            dataset = dcmread(opened, stop_before_pixels=True, specific_tags=_WANTED)
            if not identifying:
                _require_nobody_named(dataset)
            return _small(_frame(dataset, opened))
        except OSError as error:
            # Pillow has no number for a frame that breaks off; EINVAL is a place that no file has.
            if error.errno not in {None, errno.EINVAL}:
                raise
            raise NoPicture(f"cannot be shown: {error}") from error
        except _FAULTS_OF_A_FILE as error:
            raise NoPicture(f"cannot be shown: {error}") from error


_FAULTS_OF_A_FILE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, BytesLengthException, InvalidDicomError, UnidentifiedImageError, Image.DecompressionBombError),
)
"""What pydicom and Pillow raise for files that they cannot make anything of."""


def _opened(file: Path) -> BinaryIO:
    """The plain file itself: no link, no pipe that would never end."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(file, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoPicture("is not a plain file")
    return os.fdopen(descriptor, "rb")


def _require_nobody_named(dataset: FileDataset) -> None:
    kinds = {str(kind).upper() for kind in dataset.get("ImageType") or ()}
    if kinds & SHOWS_WHO_IT_IS or str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        raise NoPicture("may name a patient")


def _frame(dataset: FileDataset, file: BinaryIO) -> Image.Image:
    """The middle frame, decoded; `file` stands where the pixel data begins."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax == DeflatedExplicitVRLittleEndian:
        raise NoPicture("is deflated as a whole")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not 0 < rows * columns <= MOST_PIXELS:
        raise NoPicture(f"has {columns} x {rows} pixels")
    order = "<" if syntax.is_little_endian else ">"
    if file.read(4) != _PIXEL_DATA[order == ">"]:
        raise NoPicture("has no pixel data")
    file.seek(0 if syntax.is_implicit_VR else 4, os.SEEK_CUR)
    (length,) = struct.unpack(f"{order}I", file.read(4))
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    if not syntax.is_encapsulated:
        return _native(dataset, file, (columns, rows), frames, order, length)
    encoded = get_frame(file, _middle(dataset, frames), number_of_frames=frames)
    return _decoded(encoded, (columns, rows), str(dataset.get("PhotometricInterpretation", "")))


def _middle(dataset: FileDataset, frames: int) -> int:
    """The frame to show: of tiles in rows (PS3.3 C.7.6.17.3) the one in the middle, which has no empty margin."""
    whole = (int(dataset.get("TotalPixelMatrixColumns") or 0), int(dataset.get("TotalPixelMatrixRows") or 0))
    across, down = -(-whole[0] // int(dataset.Columns)), -(-whole[1] // int(dataset.Rows))
    if across * down != frames:
        return frames // 2
    return (down - 1) // 2 * across + (across - 1) // 2


def _decoded(encoded: bytes, size: tuple[int, int], colours: str) -> Image.Image:
    """A frame that is a file by itself: JPEG or JPEG 2000 (PS3.5 A.4)."""
    picture = Image.open(BytesIO(encoded), formats=("JPEG", "JPEG2000"))
    if picture.size != size:
        raise NoPicture("has a frame of another size")
    # A JPEG that does not say so itself is taken for YCbCr, which here the data set denies.
    as_they_are = picture.format == "JPEG" and colours == "RGB" and "adobe_transform" not in picture.info
    picture.draft("YCbCr" if as_they_are else "RGB", (SIDE, SIDE))
    picture.load()
    if as_they_are and picture.mode == "YCbCr":
        return Image.frombytes("RGB", picture.size, picture.tobytes())
    return picture


def _native(
    dataset: FileDataset, file: BinaryIO, size: tuple[int, int], frames: int, order: str, length: int
) -> Image.Image:
    """A frame as plain samples (PS3.5 8.1)."""
    samples, bits = int(dataset.get("SamplesPerPixel", 1)), int(dataset.BitsAllocated)
    colours = str(dataset.PhotometricInterpretation)
    planar = samples > 1 and int(dataset.get("PlanarConfiguration") or 0) == 1
    if (colours, samples) not in _COLOURS or bits not in {8, 16} or (bits == 16 and samples == 3) or planar:
        raise NoPicture(f"has pixels of a kind that is not shown: {colours}, {bits} bits")
    size_of_frame = size[0] * size[1] * samples * bits // 8
    if frames * size_of_frame > length:
        raise NoPicture("is cut off")
    file.seek(_middle(dataset, frames) * size_of_frame, os.SEEK_CUR)
    plain = file.read(size_of_frame)
    if bits == 8:
        mode = "L" if samples == 1 else "YCbCr" if colours == "YBR_FULL" else "RGB"
        picture = Image.frombytes(mode, size, plain)
    else:
        raw = "I;16" if order == "<" else "I;16B"
        wide = Image.frombytes("I;16", size, plain, "raw", raw)
        picture = _eight_bits(wide, signed=int(dataset.get("PixelRepresentation") or 0) == 1)
    return ImageOps.invert(picture) if colours == "MONOCHROME1" else picture


def _eight_bits(wide: Image.Image, *, signed: bool) -> Image.Image:
    """From the darkest to the brightest pixel; first made small, since values need not be exact for that."""
    wide.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    data = wide.tobytes()
    values = struct.unpack(f"<{len(data) // 2}{'h' if signed else 'H'}", data)
    low, high = min(values), max(values)
    scale = 255 / max(1, high - low)
    return Image.frombytes("L", wide.size, bytes(int((value - low) * scale) for value in values))


def _small(picture: Image.Image) -> bytes:
    picture.thumbnail((SIDE, SIDE))
    out = BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def main() -> None:
    """Answer lines until there are no more, or none comes for a minute."""
    _limit()
    out = sys.stdout.buffer
    while _a_line_comes() and (line := sys.stdin.buffer.readline()):
        out.write(answer(line))
        out.flush()


def answer(line: bytes) -> bytes:
    """The answer to one line."""
    try:
        identifying, path = line.split()
        picture = thumbnail(Path(os.fsdecode(bytes.fromhex(path.decode()))), identifying=identifying == b"1")
    except OSError:
        return struct.pack(">I", UNREADABLE)
    except (MemoryError, ValueError, NoPicture):
        return struct.pack(">I", 0)
    return struct.pack(">I", len(picture)) + picture


def _a_line_comes() -> bool:
    return os.name == "nt" or bool(select.select([sys.stdin], [], [], IDLE_SECONDS)[0])


def _limit() -> None:
    """This process takes no memory and no turn from the others, where the system lets it say so."""
    try:
        import resource
    except ImportError:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with suppress(OSError):
        os.nice(15)


if __name__ == "__main__":
    main()
