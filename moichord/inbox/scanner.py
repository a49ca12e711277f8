"""The truth about the inbox: its folders read into manifests and verdicts.

Owns the reading of samples, by descriptors and without following anything, so that nothing a stranger puts into the
share can lead it elsewhere, block it or stop it. It must not decide when a sample is taken (settling does), nor know
DICOM: whether an image is whole is asked of `inspect`. It changes nothing.

DIAGNOSTICS: no error leaves it but those that `inspect` should not have raised. What cannot be read is said in the
result: `InboxSeen.problem` for the inbox, `FolderSeen.unreadable` for a sample; a file that vanishes while it is
looked at was not there.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from moichord.durable import TEMPORARY_PREFIX, NotRegular, kind_of, open_flags, open_regular
from moichord.inbox.filesystem import filesystem_type, makes_inodes_up
from moichord.inbox.open_files import first_open_for_writing
from moichord.inbox.seen import FileSeen, FolderSeen, InboxSeen, Inspection, Verdict, WatchRules, manifest_of
from moichord.sample import OWN_FILES, printable

Inspect = Callable[[BinaryIO], Inspection]

LINK_ADVICE = "followed: put the file itself into the folder"
SPECIAL_ADVICE = "opened: take it out of the folder"
MAY_NOT_WRITE = "moichord may not write in the sub-folder"
WRITE_ADVICE = "it belongs to another user. Give the moichord group permission to write in it (see the README, Samba)"

AGAIN_EVERY = 6
"""Scans after which a file that may become complete is read again, though nothing shows that it has changed: what came
between two looks at the clock that stamps it does not show."""

LONGEST_PATH = 3000
"""Bytes from the sample's folder on. A longer path cannot be opened once work or done stand before it: Linux takes 4096
in all (PATH_MAX)."""

_SHOWN = 60
_PREAMBLE_BYTES = 128  # DICOM PS3.10 7.1: a preamble, then "DICM"
_DICOMDIR = "dicomdir"  # DICOM PS3.10 8.6: the name of the directory record, which is no image


class Scanner:
    """Looks at the inbox, again and again; remembers what is settled so that it is read only once.

    One thread calls `scan`. `scan_folder` may be called by any. `filesystem` gives the type of the file system of
    a path. Without `inspect` files are known by name, kind, size and times alone: none is opened, none is an image.
    """

    def __init__(
        self,
        inbox: Path,
        rules: WatchRules,
        inspect: Inspect | None,
        is_sample_id: Callable[[str], bool],
        filesystem: Callable[[Path], str | None] = filesystem_type,
    ) -> None:
        self._inbox = inbox
        self._rules = rules
        self._inspect = inspect
        self._is_sample_id = is_sample_id
        self._filesystem = filesystem
        self._known: dict[str, FolderSeen] = {}
        self._scans = 0

    def scan(self) -> InboxSeen:
        """Everything in the inbox, as it is now."""
        try:
            descriptor = os.open(self._inbox, open_flags(folder=True) & ~getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            return InboxSeen(problem=_gone(self._inbox, error))
        try:
            problem = self._mount_problem(descriptor)
            return InboxSeen(problem=problem) if problem else self._scan_open(descriptor)
        except OSError as error:
            return InboxSeen(problem=_gone(self._inbox, error))
        finally:
            os.close(descriptor)

    def scan_folder(self, path: Path, known: FolderSeen | None = None) -> FolderSeen:
        """One sample wherever it lies, for instance in work; files that are as `known` has them are not read again.

        Renaming a sample's folder changes nothing in its manifest.
        """
        try:
            descriptor = os.open(path, open_flags(folder=True))
        except OSError as error:
            return FolderSeen(path.name, unreadable=_cannot_read("the folder", error))
        try:
            by_inode = self._inspect is not None and not makes_inodes_up(self._filesystem(path))
            return _Reading(self._rules, self._inspect, known, by_inode=by_inode).read(path.name, descriptor)
        finally:
            os.close(descriptor)

    def open_for_writing(self, seen: FolderSeen) -> str | None:
        """The image of this sample of the inbox that a program on this machine has open for writing, if it shows."""
        return first_open_for_writing(self._inbox / seen.name, (file.path for file in seen.images))

    def _mount_problem(self, descriptor: int) -> str | None:
        marker = self._rules.mount_marker
        if marker is None:
            return None
        try:
            os.stat(marker, dir_fd=descriptor)
        except OSError:
            return f"the share is gone: {marker} is missing in {self._inbox}. Mount the share again"
        return None

    def _scan_open(self, descriptor: int) -> InboxSeen:
        strays: list[str] = []
        seen: dict[str, FolderSeen] = {}
        self._scans += 1
        by_inode = not makes_inodes_up(self._filesystem(self._inbox))
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name == self._rules.mount_marker or self._rules.is_ignored(name):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    strays.append(name)
                elif (folder := self._scan_sample(descriptor, name, by_inode)) is not None:
                    seen[name] = folder
        self._known = seen
        return InboxSeen(tuple(seen.values()), tuple(sorted(strays)))

    def _scan_sample(self, inbox: int, name: str, by_inode: bool) -> FolderSeen | None:
        if not self._is_sample_id(name):
            return FolderSeen(name, is_sample=False)
        known = self._known.get(name)
        try:
            descriptor = os.open(name, open_flags(folder=True), dir_fd=inbox)
        except FileNotFoundError:
            return None
        except OSError as error:
            return FolderSeen(name, unreadable=_cannot_read("the folder", error))
        try:
            again = (crc32(os.fsencode(name)) + self._scans) % AGAIN_EVERY == 0  # not all folders in one scan
            reading = _Reading(self._rules, self._inspect, known, by_inode=by_inode, to_be_taken=True, again=again)
            return reading.read(name, descriptor)
        finally:
            os.close(descriptor)


class _Reading:
    """One look at one sample. One that is `to_be_taken` must let its files be replaced, in every folder of it.

    `by_inode` says whether another inode means another file; `again` that what may become complete is read again,
    changed or not.
    """

    def __init__(
        self,
        rules: WatchRules,
        inspect: Inspect | None,
        known: FolderSeen | None,
        *,
        by_inode: bool,
        to_be_taken: bool = False,
        again: bool = True,
    ) -> None:
        self._rules = rules
        self._inspect = inspect
        self._by_inode = by_inode
        self._to_be_taken = to_be_taken
        self._again = again or known is None or known.unreadable is not None
        self._known_folder = known
        self._known = {file.path: file for file in known.files} if known else {}
        self._files: list[FileSeen] = []
        self._over_limits: list[str] = []
        self._unreadable: str | None = None
        self._marker_present = False
        self._device = 0
        self._count = 0

    def read(self, name: str, descriptor: int) -> FolderSeen:
        self._device = os.fstat(descriptor).st_dev
        self._read_folder(descriptor, prefix="", depth=0, temporary=False)
        files = tuple(self._files)
        known = self._known_folder
        seen = FolderSeen(
            name,
            files,
            manifest=known.manifest if known is not None and known.files == files else manifest_of(files),
            marker_present=self._marker_present,
            over_limits=tuple(self._over_limits),
            unreadable=self._unreadable,
        )
        return known if known is not None and known == seen else seen

    def _read_folder(self, descriptor: int, *, prefix: str, depth: int, temporary: bool) -> None:
        """The files of one folder and, within `max_depth`, of those below it."""
        try:
            with os.scandir(descriptor) as entries:
                for entry in self._entries_that_count(entries, top=depth == 0):
                    self._count += 1
                    if self._count > self._rules.max_files:
                        self._limit_broken(f"it holds more than {self._rules.max_files} files and folders")
                        return
                    if len(os.fsencode(prefix + entry.name)) > LONGEST_PATH:
                        path = printable(prefix + entry.name)[:_SHOWN]
                        self._limit_broken(f"the path {path}... is longer than {LONGEST_PATH} bytes: shorten its names")
                    elif entry.is_dir(follow_symlinks=False):
                        self._read_below(descriptor, entry.name, prefix, depth + 1, temporary)
                    else:
                        self._read_entry(descriptor, entry, prefix, temporary)
        except OSError as error:
            self._unreadable = _cannot_read(printable(prefix.rstrip("/")) or "the folder", error)

    def _entries_that_count(self, entries: Iterator[os.DirEntry[str]], *, top: bool) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            own = (top and entry.name in OWN_FILES) or entry.name.startswith(TEMPORARY_PREFIX)
            if not own and not self._rules.is_ignored(entry.name):
                yield entry

    def _read_below(self, parent: int, name: str, prefix: str, depth: int, temporary: bool) -> None:
        path = f"{prefix}{name}"
        if depth > self._rules.max_depth:
            self._limit_broken(f"{printable(path)} lies deeper than {self._rules.max_depth} folders")
            return
        try:
            descriptor = os.open(name, open_flags(folder=True), dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError as error:
            self._unreadable = _cannot_read(printable(path), error)
            return
        try:
            if os.fstat(descriptor).st_dev != self._device:
                self._unreadable = f"{printable(path)} is a mount point: unmount it, samples lie on one file system"
                return
            if self._to_be_taken and not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
                self._unreadable = f"{MAY_NOT_WRITE} {printable(path)}: {WRITE_ADVICE}"
            temporary = temporary or self._rules.is_temporary(name)
            self._read_folder(descriptor, prefix=f"{path}/", depth=depth, temporary=temporary)
        finally:
            os.close(descriptor)

    def _read_entry(self, folder: int, entry: os.DirEntry[str], prefix: str, temporary: bool) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        path = f"{prefix}{entry.name}"
        marker = not prefix and self._rules.is_marker(entry.name) and stat.S_ISREG(status.st_mode)
        self._marker_present = self._marker_present or marker
        kind = kind_of(status.st_mode) or "file"
        inode = status.st_ino if self._by_inode else 0
        stamp = (path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)
        known = self._known.get(path)
        stands = known is not None and (not self._again or known.verdict is not Verdict.MAY_BECOME_COMPLETE)
        if known is not None and known.stamp == stamp and stands:
            self._files.append(known)
            return
        temporary = not marker and (temporary or self._rules.is_temporary(entry.name))
        judged = self._judge(folder, entry.name, path, status, temporary=temporary)
        if judged is not None:
            self._files.append(FileSeen(*stamp, *judged))

    def _judge(
        self, folder: int, name: str, path: str, status: os.stat_result, *, temporary: bool
    ) -> tuple[bool, Verdict, str | None] | None:
        """Whether it is an image, its verdict, and why; None if it is gone."""
        kind = kind_of(status.st_mode)
        if kind is not None:
            link = stat.S_ISLNK(status.st_mode)
            return False, Verdict.NEVER, f"{kind}, which is never {LINK_ADVICE if link else SPECIAL_ADVICE}"
        if temporary:
            return False, Verdict.MAY_BECOME_COMPLETE, "its name is that of a file still being written"
        if self._inspect is None:
            return False, Verdict.COMPLETE, None
        try:
            with open_regular(name, dir_fd=folder, device=self._device) as file:
                return self._judge_contents(name, file, self._inspect)
        except FileNotFoundError:
            return None
        except NotRegular as error:
            return False, Verdict.NEVER, f"{error.what}: put a copy of its own into the folder"
        except OSError as error:
            self._unreadable = _cannot_read(printable(path), error)
            return False, Verdict.MAY_BECOME_COMPLETE, "it cannot be read"

    def _judge_contents(self, name: str, file: BinaryIO, inspect: Inspect) -> tuple[bool, Verdict, str | None]:
        if name.lower() == _DICOMDIR:
            return False, Verdict.COMPLETE, None
        if not self._rules.is_image(name):
            start = file.read(_PREAMBLE_BYTES + 4)
            if start[_PREAMBLE_BYTES:] != b"DICM":
                return False, Verdict.COMPLETE, None
            file.seek(0)
        return True, *inspect(file)

    def _limit_broken(self, problem: str) -> None:
        if problem not in self._over_limits:
            self._over_limits.append(problem)


def _cannot_read(what: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"moichord may not read {what}: give the moichord group permission to read it"
    return f"{what} cannot be read ({error.strerror})"


def _gone(inbox: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"moichord may not read the inbox {inbox}: give the moichord group permission to read it"
    return f"the share is gone: {inbox} cannot be read ({error.strerror}). Mount the share again"
