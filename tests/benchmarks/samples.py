"""The samples that benchmarks bring: one large image, many small ones, one that has no limit.

Owns the files; each kind is made once and copied, warm and on the disk, for whoever is to bring it next.
"""

import os
import secrets
import shutil
import struct
from functools import cache
from pathlib import Path

from tests.benchmarks.dicom import MIB, big_image, warm
from tests.builders import UNDEFINED, element, image_bytes, item, sequence_end

FRAGMENT = 256 * 1024
_PLACEHOLDER = "2.25." + "1" * 38


def large_sample(folder: Path, mib: int) -> Path:
    """One image of native pixels."""
    folder.mkdir()
    big_image(folder / "image.dcm", mib)
    return folder


def huge_sample(folder: Path, mib: int) -> Path:
    """One image of fragments, whose pixels are holes of the file: its size is no matter of the disk."""
    folder.mkdir()
    small = image_bytes(transfer_syntax="jpeg")
    start = small.rindex(b"\xe0\x7f\x10\x00OB")
    with (folder / "image.dcm").open("wb") as out:
        out.write(small[:start] + element(0x7FE00010, "OB", b"", length=UNDEFINED) + item())
        for _ in range(mib * MIB // FRAGMENT):
            out.write(struct.pack("<HHI", 0xFFFE, 0xE000, FRAGMENT))
            out.seek(FRAGMENT, os.SEEK_CUR)
        out.write(sequence_end())
    return folder


def small_sample(folder: Path, images: int, kib: int) -> Path:
    """Images of so many KiB each, alike but for their UIDs."""
    folder.mkdir()
    content = _small_image(kib)
    for number in range(images):
        uid = f"2.25.{secrets.randbelow(9 * 10**37) + 10**37}"
        (folder / f"{number:04d}.dcm").write_bytes(content.replace(_PLACEHOLDER.encode(), uid.encode()))
    return folder


@cache
def _small_image(kib: int) -> bytes:
    return image_bytes(rows=kib * 4, columns=256, sop_instance_uid=_PLACEHOLDER)


def copied(sample: Path, target: Path) -> Path:
    """A copy in memory (as far as the machine has some) and on the disk."""
    shutil.copytree(sample, target)
    os.sync()
    for file in sorted(target.iterdir()):
        warm(file)
    return target
