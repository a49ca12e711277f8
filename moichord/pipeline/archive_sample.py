"""Step 5: lay every image as it is to be kept, and note the SHA-256 of what was sent.

Owns the images' final form in work; moving the folder to done is the worker's, deleting images (`archive.images:
none`) happens there too, once the receipt is durable. Errors: SampleFailure, OSError of the disk, Hold, Stopped.

It can be repeated at any point: an image that lies there in its new form already is recognised by its length and the
digest of its header.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from moichord.dicom import PositionedFile
from moichord.durable import fsync_folder, put_in_place
from moichord.errors import SampleFailure
from moichord.pipeline.equipment import ArchiveImages
from moichord.pipeline.image_files import as_planned, changed_while_sent, has_stamp_of, opened
from moichord.pipeline.journal import Journal
from moichord.pipeline.laying_ahead import Draft, LayingAhead
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import Image, native

BLOCK = 1024 * 1024
TOGETHER = 64 * 1024 * 1024
"""Bytes of images that are laid before their folder is synced and they are noted; a crash lets them be hashed again."""


def archive_sample(
    journal: Journal, folder: Path, tagging: Mapping[str, Any], images: ArchiveImages, ahead: LayingAhead | None = None
) -> None:
    """Return when every image that was sent lies as `images` says; some may have been laid `ahead`."""
    wanted = Tagging.from_json(tagging)
    update = images == "updated"
    left = [image for image in journal.images() if not image.carried and image.sha256 is None]
    for image in left:
        _require_as_sent(folder, image)  # of all of them first: none is laid of a sample that fails here
    laid: list[tuple[Image, str]] = []
    size = 0
    for image in left:
        journal.check_stop()
        draft = ahead.taken(folder, image) if ahead is not None and update else None
        laid.append((image, lay(folder, image, wanted, update=update, draft=draft)))
        size += image.sent_length
        if size >= TOGETHER:
            _note(journal, folder, laid, updated=update)
            laid, size = [], 0
    _note(journal, folder, laid, updated=update)


def _note(journal: Journal, folder: Path, laid: Sequence[tuple[Image, str]], *, updated: bool) -> None:
    """What is noted to lie there is never laid again: so the disk has it before, if it was `updated`."""
    if updated:
        sync_folders_of(folder, [image for image, _ in laid])
    for image, sha256 in laid:
        journal.archived(image, sha256)


def sync_folders_of(folder: Path, images: Iterable[Image]) -> None:
    """Return when the names of these images are on the disk: whatever was laid is durable."""
    for parent in sorted({native(folder, image.relative_path).parent for image in images}):
        fsync_folder(parent)


def lay(folder: Path, image: Image, tagging: Tagging, *, update: bool, draft: Draft | None = None) -> str:
    """Lay one image in its new form (`update`) or leave it as received; SHA-256 of the whole file as sent.

    Durable once `sync_folders_of` it.
    """
    with ExitStack() as files:
        file = files.enter_context(opened(folder, image.relative_path))
        if is_updated(file, image):
            return _sha256(file)
        tagged = as_planned(file, image, tagging)
        # While a draft is still being written, that takes the processor, and this the disk.
        sha256 = (draft and draft.sha256()) or tagged.sha256()
        if update and not tagged.unchanged and not (draft and draft.take_place()):

            def write(target: BinaryIO) -> None:
                tagged.write_to(target)
                files.close()  # before the file is replaced: Windows replaces no open file

            put_in_place(native(folder, image.relative_path), write)
    return sha256


def _require_as_sent(folder: Path, image: Image) -> None:
    with opened(folder, image.relative_path) as file:
        if not has_stamp_of(file, image) and not is_updated(file, image):
            raise changed_while_sent(image.relative_path)


def is_updated(file: PositionedFile, image: Image) -> bool:
    """Whether the file is `image` in the form in which it was sent."""
    if file.size != image.sent_length:
        return False
    return bool(blake3(file.read_at(0, image.header_length)).hexdigest() == image.header_digest)


def updated_already(folder: Path, images: Iterable[Image]) -> list[str]:
    """The paths of those images that lie in `folder` with their new tags, where these are new."""
    return [image.relative_path for image in images if image.changes and _lies_updated(folder, image)]


def _lies_updated(folder: Path, image: Image) -> bool:
    try:
        with opened(folder, image.relative_path) as file:
            return is_updated(file, image)
    except SampleFailure:
        return False


def _sha256(file: PositionedFile) -> str:
    digest = hashlib.sha256()
    for offset in range(0, file.size, BLOCK):
        digest.update(file.read_at(offset, BLOCK))
    return digest.hexdigest()
