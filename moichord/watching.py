"""From settings to what looks at folders: the scanner, its rules, and what a scan means to the pipeline.

Owns the translation of the `watch` block, and the scanner's question about an image, asked of the `dicom` room. It
must not decide anything. Errors: Hold from a listing, where a folder cannot be read.
"""

import struct
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from moichord.config import Settings
from moichord.dicom import DicomError, Incomplete, NotDicom, PositionedFile, inspect
from moichord.errors import Hold
from moichord.inbox.intake import IntakeRules, sample_id_of
from moichord.inbox.scanner import Inspect, Scanner
from moichord.inbox.seen import FolderSeen, Inspection, Verdict, WatchRules
from moichord.inbox.settling import SettleRule
from moichord.pipeline.equipment import Contents

NOT_DICOM_ADVICE = "take it out of the folder, or export the image again"
UNREADABLE_SECONDS = 30.0
MOST_FILES, DEEPEST = 10_000_000, 200
BEYOND_UNDERSTANDING = (ArithmeticError, LookupError, RecursionError, ValueError, struct.error)
MALFORMED_ADVICE = "export it again, and show this to the scanner's maker if it comes out the same"


def intake_rules(settings: Settings) -> IntakeRules:
    watch = settings.watch
    settle = SettleRule(
        settle_time=watch.settle_time,
        incomplete_timeout=watch.incomplete_timeout,
        ready_marker=watch.ready_marker,
    )
    return IntakeRules(watch.sample_id, settle, watch.scan_interval)


def scanner(settings: Settings, inspect: Inspect | None = None) -> Scanner:
    """The scanner of the inbox; `inspect` judges an image, by default by walking it."""
    watch = settings.watch

    def is_sample_id(folder_name: str) -> bool:
        return sample_id_of(folder_name, watch.sample_id) is not None

    rules = WatchRules(
        images=watch.images,
        ignore=watch.ignore,
        temporary=watch.temporary,
        ready_marker=watch.ready_marker,
        mount_marker=watch.mount_marker,
        max_files=watch.limits.files,
        max_depth=watch.limits.depth,
    )
    return Scanner(settings.folders.inbox, rules, inspect or inspect_image, is_sample_id)


def lister(settings: Settings) -> Callable[[Path, tuple[str, ...]], str]:
    """What digests the names and lengths of a sample's files but for those to ignore, without walking any of them.

    Nothing else that is configured has a part in it: what was planned is compared with it after any change.
    """

    @cache  # few: what was ignored when a sample was planned, and what is now
    def by_name(ignore: tuple[str, ...]) -> Scanner:
        rules = WatchRules(ignore=ignore, temporary=(), max_files=MOST_FILES, max_depth=DEEPEST)
        return Scanner(settings.folders.inbox, rules, None, lambda _: True)

    def listing(folder: Path, ignore: tuple[str, ...]) -> str:
        seen = by_name(ignore).scan_folder(folder)
        if seen.unreadable is not None:
            raise Hold(seen.unreadable, held_by="disk", seconds=UNREADABLE_SECONDS)
        files = sorted((file.path, file.kind, file.size) for file in seen.files)
        return blake2b(repr(files).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    return listing


def inspect_image(file: BinaryIO) -> Inspection:
    """The scanner's question about an image, asked of the `dicom` room."""
    try:
        inspect(PositionedFile(file))
    except Incomplete as error:
        return Inspection(Verdict.MAY_BECOME_COMPLETE, str(error))
    except DicomError as error:
        advice = NOT_DICOM_ADVICE if isinstance(error, NotDicom) else MALFORMED_ADVICE
        return Inspection(Verdict.NEVER, f"{error}: {advice}")
    except BEYOND_UNDERSTANDING as error:
        # None is known; but one file must not keep the whole inbox from being looked at.
        return Inspection(Verdict.NEVER, f"is beyond moichord's understanding ({type(error).__name__}): show it to us")
    return Inspection(Verdict.COMPLETE)


def contents_of(seen: FolderSeen) -> Contents:
    """What a scan of one folder means to the steps."""
    return Contents(
        manifest=seen.manifest,
        images=tuple(sorted(file.path for file in seen.images)),
        unfinished=tuple((file.path, file.problem or "incomplete") for file in seen.waiting_for),
        unusable=seen.doomed,
        unreadable=seen.unreadable,
    )
