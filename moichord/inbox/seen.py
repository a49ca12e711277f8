"""The words for what a scan of the inbox saw, as plain data.

Owns: verdicts on files, folders with their manifests, the rules by which names are judged. It must not read files.
No error leaves it, but `ValueError` from a pattern that cannot be understood.

Names and relative paths are carried as `os.fsdecode` gives them, with "/" between components; times are nanoseconds
as the file system gives them, and are only ever compared with each other.
"""

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from moichord.sample import printable


class Verdict(StrEnum):
    """What a file is worth at the moment of the scan."""

    COMPLETE = "complete"
    MAY_BECOME_COMPLETE = "may become complete"
    NEVER = "can never be"


class Inspection(NamedTuple):
    """What reading an image showed; `problem` is what goes after "NAME: " ("the file is empty")."""

    verdict: Verdict
    problem: str | None = None


class FileSeen(NamedTuple):
    """One file of a sample. `kind` is "file" or what else it is; size in bytes."""

    path: str
    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    is_image: bool
    verdict: Verdict
    problem: str | None

    @property
    def stamp(self) -> tuple[str, str, int, int, int, int]:
        """What the manifest says of this file: it has not changed while this has not."""
        return self[:6]


@dataclass(frozen=True)
class FolderSeen:
    """One folder of the inbox as it was at one scan.

    `manifest` is a digest over path, type, size, mtime, ctime and inode (0 where inodes are made up) of every file.
    `over_limits` names the limits that the folder breaks. `unreadable` says why it could not be read whole; what else
    is said is then only a part. `is_sample` is False if its name is no sample ID: then it was not looked into.
    """

    name: str
    files: tuple[FileSeen, ...] = ()
    manifest: str = ""
    marker_present: bool = False
    over_limits: tuple[str, ...] = ()
    unreadable: str | None = None
    is_sample: bool = True

    @cached_property
    def images(self) -> tuple[FileSeen, ...]:
        """The files that are, or may become, images."""
        return tuple(file for file in self.files if file.is_image and file.verdict is not Verdict.NEVER)

    @property
    def image_count(self) -> int:
        return len(self.images)

    @cached_property
    def size(self) -> int:
        """Bytes of all files that count."""
        return sum(file.size for file in self.files)

    @property
    def smallest_image(self) -> int:
        """Bytes of the smallest image; 0 if there is none."""
        return min((file.size for file in self.images), default=0)

    @cached_property
    def waiting_for(self) -> tuple[FileSeen, ...]:
        """The files that may become complete, by path."""
        return self._judged(Verdict.MAY_BECOME_COMPLETE)

    @cached_property
    def doomed(self) -> tuple[str, ...]:
        """Why this sample can never be processed as it is, one sentence part each; mostly empty."""
        files = (f"{printable(file.path)}: {file.problem}" for file in self._judged(Verdict.NEVER))
        return (*self.over_limits, *files)

    def _judged(self, verdict: Verdict) -> tuple[FileSeen, ...]:
        return tuple(sorted(file for file in self.files if file.verdict is verdict))


class InboxSeen(NamedTuple):
    """One scan of the inbox. `problem` says why nothing could be seen ("the share is gone"): then nothing is known."""

    folders: tuple[FolderSeen, ...] = ()
    strays: tuple[str, ...] = ()
    problem: str | None = None


def manifest_of(files: Iterable[FileSeen]) -> str:
    """A digest (BLAKE2b, 32 hexadecimal digits) that changes when any file comes, goes or changes; order is nothing."""
    digest = hashlib.blake2b(digest_size=16)
    for stamp in sorted(file.stamp for file in files):
        digest.update(repr(stamp).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True)
class WatchRules:
    """How names are judged, as configured under `watch`. Patterns are shell patterns, in any case.

    `max_files` (folders count too) and `max_depth` (levels of folders below the sample's own) are limits of one sample.
    """

    images: tuple[str, ...] = ("*.dcm",)
    ignore: tuple[str, ...] = ("._*", ".DS_Store", "Thumbs.db", "desktop.ini")
    temporary: tuple[str, ...] = (".*", "*.tmp", "*.part", "*.partial", "*.filepart", "~*")
    ready_marker: str | None = None
    mount_marker: str | None = None
    max_files: int = 20_000
    max_depth: int = 16

    def is_image(self, name: str) -> bool:
        return self._images.match(name) is not None

    def is_ignored(self, name: str) -> bool:
        return self._ignore.match(name) is not None

    def is_temporary(self, name: str) -> bool:
        return self._temporary.match(name) is not None

    def is_marker(self, name: str) -> bool:
        return self._marker.match(name) is not None

    @cached_property
    def _images(self) -> re.Pattern[str]:
        return _any_of(self.images)

    @cached_property
    def _ignore(self) -> re.Pattern[str]:
        return _any_of(self.ignore)

    @cached_property
    def _temporary(self) -> re.Pattern[str]:
        return _any_of(self.temporary)

    @cached_property
    def _marker(self) -> re.Pattern[str]:
        return _any_of(() if self.ready_marker is None else (self.ready_marker,))


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns; one that nothing matches for none."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)", re.IGNORECASE)
