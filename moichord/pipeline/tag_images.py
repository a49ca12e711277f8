"""Step 2: verify every image and plan its new header; nothing is changed, nothing is sent.

Owns the plan: which files are images, that they belong together, and the header that each will be sent with; and
that the received files, all of them, survive a power cut from then on.
Errors: SampleFailure, Hold while files still change, Stopped.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from moichord.dicom import Identity, PositionedFile, disagreements, identity, inspect
from moichord.dicom.dictionary import find
from moichord.dicom.identities import SPECIMEN_IDENTIFIER
from moichord.durable import sync_tree
from moichord.errors import Hold, SampleFailure
from moichord.pipeline.equipment import Contents, Equipment, Patience
from moichord.pipeline.image_files import as_received, dressed, opened
from moichord.pipeline.journal import Journal
from moichord.pipeline.new_headers import NewHeaders
from moichord.pipeline.wanted_tags import Tagging, wanted_values
from moichord.sample import Image, printable

LOOKS_WHILE_SETTLING = 3
STILL_WRITTEN = "still being written: its files changed after it was taken"
UNREADABLE_SECONDS = 30.0
BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What every image will be sent with."""

    tagging: Tagging
    images: tuple[Image, ...]
    headers: NewHeaders


def tag_images(journal: Journal, equipment: Equipment, folder: Path, record: Mapping[str, Any]) -> Plan:
    """Plan the tags of all images of the sample in `folder`."""
    submission = journal.submission
    listing = equipment.listing(folder, equipment.ignored)
    contents = equipment.look(folder)
    _require_settled(journal, equipment, contents)
    now = datetime.fromtimestamp(equipment.clock.now(), UTC)
    tagging = Tagging(
        wanted_values(equipment.tags.rules, record, submission),
        coerced_at=now.strftime("%Y%m%d%H%M%S.%f+0000"),
        listing=listing,
        ignored=equipment.ignored,
        record_changes=equipment.tags.record_changes,
        signed=equipment.tags.signed,
    )
    try:
        headers = NewHeaders()
        plan = Plan(tagging, tuple(_planned(journal, equipment, folder, contents, tagging, headers)), headers)
    except SampleFailure:
        # What a file is blamed for may be that somebody still writes to it.
        if equipment.look(folder).manifest == contents.manifest:
            raise
        raise Hold(STILL_WRITTEN, held_by="settling", seconds=_again(equipment.patience)) from None
    # From here on moichord answers for the files, and whoever wrote them may have left them in memory.
    sync_tree(folder)
    return plan


def _planned(
    journal: Journal,
    equipment: Equipment,
    folder: Path,
    contents: Contents,
    tagging: Tagging,
    headers: NewHeaders,
) -> Iterable[Image]:
    planned: list[Image] = []
    identities: list[Identity] = []
    for relative_path in contents.images:
        journal.check_stop()
        with opened(folder, relative_path) as file:
            image, who = _plan(file, relative_path, tagging, equipment, headers)
        planned.append(image)
        identities.append(who)
    if not any(image.to_send for image in planned):
        raise SampleFailure(
            "The sample holds no image that could be sent.", remedy="Export the sample again with its images."
        )
    _require_one_sample(planned, identities, equipment.tags.consistent, tagging)
    return _without_second_copies(folder, planned)


def _require_one_sample(
    planned: list[Image], identities: list[Identity], keywords: tuple[str, ...], tagging: Tagging
) -> None:
    """Refuse images that contradict one another; a value that is wanted anyway was put there by an earlier run."""
    wanted = {(value.keyword, value.text) for value in tagging.values}
    said = [
        (
            printable(image.relative_path),
            {name: text for name, text in who.values.items() if (name, text) not in wanted},
        )
        for image, who in zip(planned, identities, strict=True)
    ]
    found = disagreements(said, (*keywords, SPECIMEN_IDENTIFIER))
    if found:
        raise SampleFailure(
            f"{'; '.join(str(disagreement) for disagreement in found)}.",
            remedy="Sort the images by sample on the scanner's side, then drop each sample in its own folder.",
            brief=f"The images disagree about {', '.join(disagreement.keyword for disagreement in found)}.",
        )


def _require_settled(journal: Journal, equipment: Equipment, contents: Contents) -> None:
    """A writer may have kept a file open over the rename: then the sample waits here, under the inbox's rule."""
    if contents.unreadable is not None:
        raise Hold(contents.unreadable, held_by="disk", seconds=UNREADABLE_SECONDS)
    patience = equipment.patience
    again = _again(patience)
    unchanged = journal.unchanged_for(contents.manifest)
    if contents.unusable and (unchanged is None or unchanged >= patience.settle_time):
        raise SampleFailure(
            f"{'; '.join(contents.unusable[:3])}.", remedy="Correct the folder and drop it into the inbox again."
        )
    if contents.unfinished:
        relative_path, problem = contents.unfinished[0]
        if unchanged is not None and unchanged < patience.incomplete_timeout:
            raise Hold(
                f"still being written: {printable(relative_path)} ({problem})", held_by="settling", seconds=again
            )
        raise SampleFailure(f"{printable(relative_path)} is incomplete: {problem}.", remedy="Export or copy it again.")
    if unchanged is not None and unchanged < patience.settle_time:
        raise Hold(STILL_WRITTEN, held_by="settling", seconds=again)


def _again(patience: Patience) -> float:
    return max(1.0, patience.settle_time / LOOKS_WHILE_SETTLING)


def _plan(
    file: PositionedFile, relative_path: str, tagging: Tagging, equipment: Equipment, headers: NewHeaders
) -> tuple[Image, Identity]:
    part10 = inspect(file)
    who = identity(file, part10, [find(keyword) for keyword in equipment.tags.consistent])
    carried = who.is_dicomdir or (not who.has_pixel_data and equipment.tags.non_image == "carry")
    new = as_received(file, part10) if carried else dressed(file, tagging, part10)
    headers.keep(file, relative_path, new.image)
    file.require_unchanged()
    if who.problems and not who.is_dicomdir:
        raise SampleFailure(
            f"{printable(relative_path)}: {'; '.join(who.problems)}.",
            remedy="Export the sample again; if it comes out the same, show this message to the scanner's maker.",
        )
    inode, size, mtime_ns = file.stamp
    image = Image(
        relative_path=relative_path,
        size=size,
        mtime_ns=mtime_ns,
        inode=inode,
        sop_instance_uid=who.sop_instance_uid,
        header_length=new.image.header_length,
        header_digest=new.image.header_digest,
        tail_offset=new.image.tail_offset,
        tail_length=new.image.tail_length,
        changes=new.changes,
        warnings=(*new.notes, *who.notes),
        carried=carried,
    )
    return image, who


def _without_second_copies(folder: Path, planned: Iterable[Image]) -> Iterable[Image]:
    """The same bytes under two names are sent once; different bytes under one SOP Instance UID fail the sample."""
    first_of: dict[str, Image] = {}
    for image in planned:
        first = first_of.setdefault(image.sop_instance_uid, image) if image.to_send else image
        if first is image:
            yield image
            continue
        names = f"{printable(first.relative_path)} and {printable(image.relative_path)}"
        if _digest(folder, first.relative_path) != _digest(folder, image.relative_path):
            raise SampleFailure(
                f"{names} have the same SOP Instance UID ({image.sop_instance_uid!r}) but different contents.",
                remedy="Export the sample again: the scanner's export is wrong, or two exports were mixed.",
            )
        warning = f"the same file as {printable(first.relative_path)}: sent once"
        yield replace(image, duplicate_of=first.relative_path, warnings=(*image.warnings, warning))


def _digest(folder: Path, relative_path: str) -> bytes:
    digest = blake3()
    with opened(folder, relative_path) as file:
        for offset in range(0, file.size, BLOCK):
            digest.update(file.read_at(offset, BLOCK))
    return bytes(digest.digest())
