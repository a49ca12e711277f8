"""Where a sample lies, and its moves from place to place.

Owns every rename, copy and removal of a sample's folder. The caller commits its intent before and the result after;
every move may be repeated. DIAGNOSTICS: see the package. After an error each sample is whole in one place.
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moichord import durable
from moichord.errors import ConfigurationInvalid, Moved, UsageRefused
from moichord.sample import FAILED_NAME, OWN_FILES, RECEIPT_NAME
from moichord.spool import moving, preparing
from moichord.spool import names as naming
from moichord.spool.names import Kind, candidates, component, is_there, receipt_owner

_GONE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why a folder stayed in the inbox, in words for people; `gone` if it is not there any more."""

    problem: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Spool:
    """The folders as configured, for the state with this UUID, whose daemon holds `lock`. `check_stop` ends a copy."""

    inbox: Path
    work: Path
    done: Path
    failed: Path
    state_uuid: str
    lock: Path | None = None
    check_stop: Callable[[], None] = moving.go_on

    # Start-up

    def prepare(self, *, adopt: bool = False) -> tuple[str, ...]:
        """Make sure that the folders can serve; create `work` where it is missing.

        With `adopt`, a work folder of another state becomes this state's, and the samples in it return to the inbox;
        the names they got there are returned.
        """
        preparing.require_folders(inbox=self.inbox, done=self.done, failed=self.failed)
        preparing.create_work(self.work)
        returned = preparing.own_work(self.work, self.inbox, self.state_uuid, self.lock, adopt=adopt)
        preparing.remove_leftovers(self.inbox, self.work)
        if (problem := self.rename_problem()) is not None:
            raise ConfigurationInvalid([problem])
        return returned

    def work_is_ours(self) -> bool:
        """Whether `work` is there and carries this state's mark. `OSError` if that cannot be known."""
        return preparing.owner(self.work) == self.state_uuid

    def absence(self) -> str | None:
        """Why done or failed is not there, though both have served this state before: a share to wait for."""
        try:
            if not self.work_is_ours():
                return None  # a first start, in which all are looked at
        except OSError:
            return None
        problems = (preparing.folder_problem(key, path) for key, path in (("done", self.done), ("failed", self.failed)))
        return next((problem for problem in problems if problem is not None), None)

    def last_attempts(self) -> dict[str, int]:
        """The highest attempt number of each sample ID, by the receipts in done and failed: for a lost state."""
        return naming.last_attempts(self.done, self.failed)

    def filed(self) -> list[naming.Filed]:
        """What the receipts in done and failed say of their submissions: for a state that was put back."""
        return naming.filed(self.done, self.failed)

    def rename_problem(self) -> str | None:
        """Why a sample could not be renamed from inbox to work, tried with an empty folder; None if it can."""
        return preparing.rename_problem(self.inbox, self.work)

    # From the inbox into work

    def take(self, chosen: Iterable[tuple[str, str]]) -> dict[str, NotTaken | None]:
        """Move inbox/NAME to work/UUID/NAME for each (name, UUID), all durable together when this returns.

        Gives for each UUID None, or why the folder stayed. A sample that was moved before is fine. `OSError` leaves
        if what was moved could not be made durable, or nobody can say whether it was moved: then repeat.
        """
        results = {uuid: self._take_one(name, uuid) for name, uuid in chosen}
        taken = [uuid for uuid, refusal in results.items() if refusal is None]
        for uuid in taken:
            durable.fsync_folder(self.work / uuid)
        if taken:
            durable.fsync_folder(self.work)
            durable.fsync_folder(self.inbox)
        return results

    def _take_one(self, name: str, uuid: str) -> NotTaken | None:
        source, target = self.inbox / component(name), self.folder(uuid, name)
        try:
            target.parent.mkdir(0o700, exist_ok=True)
            moving.drop_placeholder(source, target)
            if not is_there(target):
                durable.rename_noreplace(source, target)
        except OSError as error:
            there = is_there(source)
            if is_there(target) and not there:
                return None  # a share carried it out, and its answer was lost
            with suppress(OSError):
                target.parent.rmdir()
            return NotTaken(moving.why_not_taken(error), gone=error.errno in _GONE and not there)
        return None

    def folder(self, uuid: str, name: str) -> Path:
        """Where the sample lies while it is processed."""
        return self.work / component(uuid) / component(name)

    def files(self, uuid: str, name: str) -> dict[str, tuple[int, int, int]]:
        """What the disk says of each file of the sample in work: (inode, size, mtime in ns) by relative path."""
        folder = self.folder(uuid, name)
        found = {}
        for here, _, names in os.walk(folder):
            for path in (Path(here, one) for one in names):
                status = path.lstat()
                found[path.relative_to(folder).as_posix()] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def where(self, uuid: str, name: str) -> frozenset[Literal["inbox", "work"]]:
        """In which of inbox and work a folder of this name lies; after a crash that says how far a taking came."""
        found: set[Literal["inbox", "work"]] = set()
        if is_there(self.inbox / component(name)):
            found.add("inbox")
        if is_there(self.folder(uuid, name)):
            found.add("work")
        return frozenset(found)

    def is_removed(self, uuid: str) -> bool:
        """Whether nothing of the sample is in work; what was only renamed there is. `OSError` if unknown."""
        try:
            return not any((self.work / component(uuid)).iterdir())
        except FileNotFoundError:
            return True

    def orphans(self) -> tuple[str, ...]:
        """The UUIDs that have a folder in work."""
        return naming.orphans(self.work)

    def samples_in_work(self, uuid: str) -> list[str]:
        """The names of the folders that lie under this UUID."""
        return preparing.samples_in(self.work / component(uuid))

    def return_to_inbox(self, uuid: str) -> list[str]:
        """Move what lies under this UUID to the inbox, durably; the names that it got there."""
        return preparing.return_to_inbox(self.work, self.inbox, component(uuid))

    # From work to done or failed

    def free_name(self, kind: Kind, name: str, attempt_number: int) -> str:
        """The first of `candidates` that nothing lies under yet."""
        root = self._root(kind)
        return next(place for place in candidates(name, attempt_number) if not is_there(root / place))

    def move_out(self, kind: Kind, uuid: str, name: str, place: str) -> tuple[str, ...]:
        """Move the sample, its receipt inside, to done/PLACE or failed/PLACE by one rename that replaces nothing.

        On another file system a verified copy appears there by one rename; the source stays until `discard`. Repeating
        is fine: a target that holds this submission's receipt counts as moved. Returns what a copy could not hold
        (sockets, devices), a sentence each.
        """
        source, root = self.folder(uuid, name), self._root(kind)
        target = root / component(place)
        missing: tuple[str, ...] = ()
        if not self.arrived(kind, uuid, place):
            if not is_there(source):
                raise Moved(f"{source} is neither in work nor in {root}", remedy="Look for the folder and put it back.")
            if kind == "failed":
                moving.open_for_group(source)
            moving.drop_placeholder(source, target)
            missing = moving.rename_or_copy(source, target, root / f"{durable.TEMPORARY_PREFIX}{uuid}", self.check_stop)
        durable.fsync_folder(root)
        if source.parent.exists():
            durable.fsync_folder(source.parent)
        return missing

    def arrived(self, kind: Kind, uuid: str, place: str) -> bool:
        """Whether PLACE holds this submission, by its receipt."""
        return receipt_owner(self._root(kind) / component(place)) == uuid

    def retire(self, uuid: str) -> bool:
        """Take what is left in work of a submission that lies elsewhere from its name, whole. Whether any is left.

        `remove_retired` removes it. A folder that was empty is just gone, and where a power cut brings it back the
        next start removes it. A name of work that holds a sample therefore always holds all of it, and what
        comes back under that name meanwhile is not removed with it.
        """
        folder, retired = self.work / component(uuid), self._retired(uuid)
        with suppress(OSError):
            folder.rmdir()  # as most are, their sample having been renamed
        if not is_there(folder):
            return is_there(retired)  # an earlier try may have come so far
        durable.remove_tree(retired)
        durable.rename_noreplace(folder, retired)
        return True

    def remove_retired(self, uuid: str) -> None:
        """Remove what `retire` has left, durably."""
        durable.remove_tree(self._retired(uuid))
        durable.fsync_folder(self.work)

    def retired(self) -> tuple[str, ...]:
        """The UUIDs of which something retired is still in work."""
        return naming.orphans(self.work, durable.TEMPORARY_PREFIX)

    def discard(self, uuid: str) -> None:
        """Remove what is left in work of a submission that lies elsewhere, durably; nothing left is fine."""
        self.retire(uuid)
        self.remove_retired(uuid)

    def discard_empty(self, uuid: str) -> bool:
        """Remove a folder of work that holds nothing; False, and it stays, if it does hold something."""
        try:
            (self.work / component(uuid)).rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        durable.fsync_folder(self.work)
        return True

    # Back from done or failed

    def finished_folder(self, kind: Kind, place: str, uuid: str) -> Path:
        """Where a finished sample lies; `UsageRefused` if the folder is gone or is not this submission's any more."""
        folder = self._root(kind) / component(place)
        self._require_owner(folder, uuid)
        return folder

    def bring_back(self, kind: Kind, place: str, uuid: str, name: str) -> None:
        """Move a finished sample back into work, without moichord's own files, so that it can be continued.

        From another file system it is copied; `clear_way_back` then removes the source. Raises `UsageRefused` if the
        folder is gone or is not this submission's any more.
        """
        source, target = self._root(kind) / component(place), self.folder(uuid, name)
        moving.drop_placeholder(source, target)
        if not is_there(target):
            self._require_owner(source, uuid)
            target.parent.mkdir(0o700, exist_ok=True)
            staging = target.parent / f"{durable.TEMPORARY_PREFIX}{uuid}"
            moving.rename_or_copy(source, target, staging, self.check_stop)
            for folder in (target.parent, self.work, source.parent):
                durable.fsync_folder(folder)
        for own in OWN_FILES:
            (target / own).unlink(missing_ok=True)
        durable.fsync_folder(target)

    def clear_way_back(self, kind: Kind, place: str, uuid: str, name: str, explanation: str) -> str | None:
        """Delete what was brought back as a copy from done/PLACE or failed/PLACE, if the copy in work holds all of it.

        Else somebody has put more there meanwhile: it stays, belongs to no submission any more, and says `explanation`
        in its FAILED text. Returns the name that it then lies under.
        """
        root = self._root(kind)
        leaving = root / f"{durable.TEMPORARY_PREFIX}{component(uuid)}"  # nobody adds to it under this name
        if not is_there(leaving) and self.arrived(kind, uuid, place):
            durable.rename_noreplace(root / place, leaving)
        if not is_there(leaving) or durable.holds_all(self.folder(uuid, name), leaving, but=OWN_FILES):
            self.delete(kind, place, uuid)
            return None
        durable.replace_text(leaving / FAILED_NAME, explanation)
        (leaving / RECEIPT_NAME).unlink(missing_ok=True)
        durable.fsync_folder(leaving)
        stays = next(name for name in candidates(place, 1) if not is_there(root / name))
        durable.rename_noreplace(leaving, root / stays)
        durable.fsync_folder(root)
        return stays

    def delete(self, kind: Kind, place: str, uuid: str) -> bool:
        """Delete done/PLACE or failed/PLACE if its receipt is this submission's; say whether it was deleted."""
        root = self._root(kind)
        doomed = root / f"{durable.TEMPORARY_PREFIX}{component(uuid)}"
        half_deleted = is_there(doomed)
        durable.remove_tree(doomed)
        found = self.arrived(kind, uuid, place)
        if found:
            durable.rename_noreplace(root / place, doomed)
            durable.fsync_folder(root)
            durable.remove_tree(doomed)
        durable.fsync_folder(root)  # also what was removed before a crash
        return found or half_deleted

    def _require_owner(self, folder: Path, uuid: str) -> None:
        owner = receipt_owner(folder)
        if owner == uuid:
            return
        if not is_there(folder):
            problem = f"{folder} is gone: it was moved, renamed or deleted"
        elif owner is None:
            problem = f"{folder} was altered: its {RECEIPT_NAME} is missing or cannot be read"
        else:
            problem = f"{folder} was altered: its {RECEIPT_NAME} is that of another submission"
        raise UsageRefused(problem, remedy="Drop the sample into the inbox again as a new submission.")

    def _retired(self, uuid: str) -> Path:
        return self.work / f"{durable.TEMPORARY_PREFIX}{component(uuid)}"

    def _root(self, kind: Kind) -> Path:
        return self.done if kind == "done" else self.failed
