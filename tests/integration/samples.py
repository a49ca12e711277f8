"""Samples for the daemon: pydicom's real images, small made ones, and the ways in which a scanner drops them.

Owns what is dropped and how. The folders made here are the originals that everything is compared with afterwards.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from pydicom.data import get_testdata_file

from tests.builders import write_image

# Every set has the same kinds: explicit, implicit and big endian, JPEG, JPEG 2000, RLE, multi-frame. Their SOP
# Instance UIDs are as they came; within a set no two are the same.
REAL_IMAGES = {
    "REAL-1": (
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "JPEG2000.dcm",
        "SC_rgb_rle_2frame.dcm",
        "examples_ybr_color.dcm",
    ),
    "REAL-2": (
        "liver_1frame.dcm",
        "SC_rgb_jpeg_dcmd.dcm",
        "MR_small_bigendian.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "examples_jpeg2k.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "JPGExtended.dcm",
    ),
    "REAL-3": (
        "examples_rgb_color.dcm",
        "MR_small_implicit.dcm",
        "liver_expb_1frame.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "GDCMJ2K_TextGBR.dcm",
        "rtdose_rle.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_palette.dcm",
    ),
}


def real_sample(folder: Path) -> Path:
    """The set of real images whose name is the folder's."""
    folder.mkdir(parents=True)
    for name in REAL_IMAGES[folder.name]:
        path = get_testdata_file(name, download=False)
        assert path is not None, f"pydicom does not bring {name}"
        shutil.copyfile(path, folder / name)
    return folder


def small_sample(folder: Path, images: int = 3, **attributes: object) -> Path:
    """Some made images of one patient, larger from one to the next."""
    folder.mkdir(parents=True)
    for number in range(images):
        write_image(folder / f"image-{number}.dcm", rows=16 + number, **attributes)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """Everything below `folder` that is not moichord's own, by relative path; links as what they point to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = b"-> " + os.fsencode(os.readlink(path))
        elif path.is_file() and not path.name.startswith("moichord-"):
            found[name] = path.read_bytes()
    return found


def drop(original: Path, inbox: Path, name: str | None = None) -> Path:
    """Rename a copy into the inbox, in whole."""
    target = inbox / (name or original.name)
    beside = inbox.parent / f".{target.name}.arriving"
    subprocess.run(["cp", "-a", str(original), str(beside)], check=True)  # pipes and links as they are
    return beside.rename(target)


def drop_slowly(original: Path, inbox: Path, after_each_piece: Callable[[Path, int], None], pieces: int = 3) -> Path:
    """Write file after file, each in `pieces`; after each but the last of a file, the caller may look, and wait.

    `after_each_piece` gets the folder and how many bytes are there. The next file begins at once after the last piece
    of the one before, as a scanner's does.
    """
    target = inbox / original.name
    target.mkdir()
    written = 0
    for source in sorted(original.iterdir()):
        content = source.read_bytes()
        with (target / source.name).open("xb", buffering=0) as file:
            for piece in _cut(content, pieces):
                written += file.write(piece)
                if file.tell() < len(content):
                    after_each_piece(target, written)
    return target


def drop_with_marker(original: Path, inbox: Path, before_marker: Callable[[Path], None], marker: str) -> Path:
    """Copy the files, let the caller look, then write the marker."""
    target = inbox / original.name
    shutil.copytree(original, target)
    before_marker(target)
    (target / marker).touch()
    return target


def _cut(content: bytes, pieces: int) -> Iterable[bytes]:
    size = len(content) // pieces + 1
    return [content[start : start + size] for start in range(0, len(content), size)]
