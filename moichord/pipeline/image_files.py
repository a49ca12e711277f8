"""An image file of a sample, opened safely and dressed in its new header.

Owns the joint between a sample's folder and the `dicom` room: opening, and the sentences in which that room's errors
become reasons for a sample. Errors: SampleFailure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moichord.dicom import (
    Changed,
    DicomError,
    Incomplete,
    Part10,
    PositionedFile,
    Provenance,
    TaggedImage,
    Unfit,
    Wanted,
    lookup,
    tagged,
)
from moichord.durable import NotRegular, open_regular
from moichord.errors import Moved, SampleFailure
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import Change, Image, native, printable

MODIFYING_SYSTEM = "moichord"
GONE_REMEDY = "Mount the share again, or put the folder back: moichord goes on by itself."
CHANGED_WHILE_SENT = "changed while being sent"


@contextmanager
def opened(folder: Path, relative_path: str) -> Iterator[PositionedFile]:
    """The file, open for positioned reads; whatever is wrong with it becomes a SampleFailure that names it."""
    shown = printable(relative_path)
    try:
        with open_regular(native(folder, relative_path)) as file:
            yield PositionedFile(file)
    except NotRegular as error:
        raise SampleFailure(f"{shown} is {error.what}, not a plain file.", remedy=error.remedy) from error
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise Moved(f"The sample's folder is gone from work: {folder}", remedy=GONE_REMEDY) from error
        raise SampleFailure(
            f"{shown} was there when the sample was taken and is gone.", remedy="Drop the complete sample again."
        ) from error
    except DicomError as error:
        raise SampleFailure(f"{shown}: {error}.", remedy=_remedy(error), brief=f"{shown}: {error.brief}.") from error


@dataclass(frozen=True, slots=True)
class Dressed:
    """An image with its wanted tags: what is sent, what that changes, and what is odd about it."""

    image: TaggedImage
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def dressed(file: PositionedFile, tagging: Tagging, part10: Part10 | None = None) -> Dressed:
    """Walk the file to its end, unless it was (`part10`), and give it its new header. Raises DicomError."""
    wanted = [
        Wanted(lookup(value.keyword), value.text, on_mismatch=value.on_mismatch, source=value.source)
        for value in tagging.values
    ]
    provenance = Provenance(coercion_datetime=tagging.coerced_at, modifying_system=MODIFYING_SYSTEM)
    image, coercion, walked = tagged(
        file, wanted, provenance, record_changes=tagging.record_changes, signed=tagging.signed, part10=part10
    )
    changes = tuple(Change(change.keyword, change.before, change.after) for change in coercion.changes)
    return Dressed(image, changes, (*walked.notes, *coercion.notes, *image.notes))


def as_received(file: PositionedFile, part10: Part10) -> Dressed:
    """An image that keeps every byte, since it goes nowhere."""
    return Dressed(TaggedImage(file, part10), (), part10.notes)


def has_stamp_of(file: PositionedFile, image: Image) -> bool:
    """Whether the file is as it was when it was planned, by size and time.

    Not by inode: nobody but moichord replaces files in work, and some shares number theirs anew after a restart.
    """
    return file.stamp[1:] == (image.size, image.mtime_ns)


def as_planned(file: PositionedFile, image: Image, tagging: Tagging) -> TaggedImage:
    """The image with its new header, if both are what was planned. Raises SampleFailure, DicomError."""
    tagged = dressed(file, tagging).image
    if not has_stamp_of(file, image) or tagged.header_digest != image.header_digest:
        raise changed_while_sent(image.relative_path)
    return tagged


def changed_while_sent(relative_path: str) -> SampleFailure:
    """The file is no longer the one that was planned: somebody still had it open."""
    return SampleFailure(
        f"{printable(relative_path)} {CHANGED_WHILE_SENT}: a program still had it open after the sample was taken.",
        remedy="Drop the sample again once the copy is finished.",
    )


def _remedy(error: DicomError) -> str:
    match error:
        case Changed():
            return "Drop the sample again once the copy is finished."
        case Incomplete():
            return "The file is cut off. Export or copy the sample again."
        case Unfit(source=source) if source:
            return f"Correct it where it comes from ({source}), then retry the sample."
        case _:
            return "Export the sample again; if it comes out the same, show this message to the scanner's maker."
