"""Which files of a directory are its images: every `*.dcm` below it, in any case.

Owns the walk. It must not open files: whether one is an image is for the `dicom` room to say. Links to folders are
not followed. Errors: `UsageRefused` for what is no folder, `OSError` for a folder that cannot be read.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from moichord.errors import UsageRefused
from moichord.pipeline.equipment import Contents
from moichord.sample import printable

SUFFIX = ".dcm"
FORK_PREFIX = "._"  # the second half of a file that macOS copied to a share: never an image


def images_of(directory: Path) -> Contents:
    """The images, by their paths relative to `directory`, in a fixed order."""
    if not directory.is_dir():
        raise UsageRefused(
            f"{printable(os.fspath(directory))} is not a folder that can be read.",
            remedy="Check --directory: it is the folder that holds the sample's images.",
        )
    return Contents(manifest="", images=tuple(sorted(_relative(directory, path) for path in _images(directory))))


def linked_folders(directory: Path) -> list[str]:
    """Links to folders below `directory`, whose contents are not taken."""
    found = (os.path.join(here, name) for here, folders, _ in os.walk(directory) for name in folders)
    return sorted(_relative(directory, path) for path in found if os.path.islink(path))


def _images(directory: Path) -> Iterator[str]:
    for here, _, files in os.walk(directory, onerror=_refuse):
        for name in files:
            if name.lower().endswith(SUFFIX) and not name.startswith(FORK_PREFIX):
                yield os.path.join(here, name)


def _relative(directory: Path, path: str) -> str:
    return os.path.relpath(path, directory).replace(os.sep, "/")


def _refuse(error: OSError) -> None:
    # By default a folder that cannot be read would be skipped, and the sample sent without its images.
    raise error
