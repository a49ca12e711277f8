"""Generated samples: a folder of whole-slide images as a scanner exports it, and ways to drop it into an inbox.

Owns which images a sample has and how they arrive. It must not know the daemon. `OSError` leaves it.
"""

import shutil
import threading
from enum import StrEnum
from pathlib import Path
from random import Random

from PIL import Image

from moichord.sandbox.catalogue import Animal
from moichord.sandbox.drawing import label, overview, smear
from moichord.sandbox.slides import Flavor, Scan, scanned_width_mm, write_image

WIDTH, HEIGHT = 1024, 768
MOST_IMAGES = 5


class Manner(StrEnum):
    """How a sample comes into the inbox."""

    SLOWLY = "slowly"
    """Image by image, each in pieces, as a scanner writes into a share."""
    RENAMED = "renamed"
    """Copied beside the inbox, then moved in whole."""
    MARKED = "marked"
    """Image by image, then a ready marker."""


def make_sample(folder: Path, sample_id: str, animal: Animal, seed: int, images: int = 3) -> list[Path]:
    """Write 1 to 5 images of one slide into `folder`, which is created: the scanned level (1024 x 768 pixels), a
    level of half the size, a thumbnail, the label, the overview. The same arguments give the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scan = Scan(sample_id, seed)
    field = smear(WIDTH, HEIGHT, animal.blood, Random(f"{sample_id}/{seed}"))  # noqa: S311 - a picture, no secret
    files = []
    for number, (flavor, picture, width_mm) in enumerate(_pictures(field, sample_id)[:images], start=1):
        file = folder / f"DCM_{number - 1}.dcm"
        write_image(file, scan, number, flavor, picture, width_mm)
        files.append(file)
    return files


def _pictures(field: Image.Image, sample_id: str) -> list[tuple[Flavor, Image.Image, float]]:
    """Flavour, picture and width on the slide in millimetres of every image that a scan can have."""
    width_mm = scanned_width_mm(field.width)
    return [
        (Flavor.VOLUME, field, width_mm),
        (Flavor.VOLUME, field.reduce(2), width_mm),
        (Flavor.THUMBNAIL, field.reduce(4), width_mm),
        (Flavor.LABEL, label(400, 300, [sample_id, "Blood smear", "moichord sandbox"]), 25.0),
        (Flavor.OVERVIEW, overview(600, 200, field), 75.0),
    ]


def drop(
    sample: Path,
    inbox: Path,
    manner: Manner,
    *,
    stop: threading.Event,
    pause: float = 0.05,
    piece: int = 64 << 10,
    marker: str = "COMPLETE",
) -> Path:
    """Bring a copy of the folder `sample` into `inbox`, under the same name; `stop` cuts the arrival short.

    `pause` seconds pass after every `piece` bytes. Returns the folder in the inbox.

    Raises:
        FileExistsError: the inbox holds a folder of that name.
    """
    target = inbox / sample.name
    if target.exists():
        raise FileExistsError(f"{target} is already there")
    if manner is Manner.RENAMED:
        beside = inbox.parent / f".{sample.name}.arriving"
        shutil.copytree(sample, beside)
        return beside.rename(target)
    target.mkdir()
    for file in sorted(f for f in sample.rglob("*") if f.is_file()):
        copy = target / file.relative_to(sample)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not _copy_slowly(file, copy, piece, pause, stop):
            return target
    if manner is Manner.MARKED:
        (target / marker).touch()
    return target


def _copy_slowly(source: Path, target: Path, piece: int, pause: float, stop: threading.Event) -> bool:
    """Copy a file piece by piece; say whether it is whole."""
    with source.open("rb") as reader, target.open("xb", buffering=0) as writer:
        while data := reader.read(piece):
            writer.write(data)
            if stop.wait(pause):
                return False
    return True
