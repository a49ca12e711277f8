"""Whether the disks and shares can take what comes: folders that are there, writable, with room to spare.

Owns what is known of the four places that are written (state, work, done, failed), and says once when one of them
fails and once when it serves again. It must not know samples; it never writes to what it looks at. Errors: `Hold` from
`require` and `require_place`; StateUnwritable where the state cannot be read.

    state   too little space   nothing begins
    work    gone               nothing begins
            too little space   nothing is filed
    done    gone, read-only, too little space   nothing is filed in done
    failed  gone, read-only    nothing is filed in failed

A share that was mounted and is not any more leaves an empty folder behind, and what were filed there would be hidden
when it comes back. So the mount points are remembered, across restarts too; an administrator who has moved a folder to
another file system for good says so with `moichord check --accept-folders`.
"""

import logging
import os
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from moichord.errors import Hold, StateUnwritable

log = logging.getLogger(__name__)

Key = Literal["state", "work", "done", "failed"]

PLACES: tuple[Key, ...] = ("state", "work", "done", "failed")
HELD_BY: Mapping[Key, str] = {key: f"disk:{key}" for key in PLACES}
"""What `held_by` says of a submission that waits for one of them."""

GIB = 2**30
ACCEPT = "if it lies elsewhere now for good: moichord check --accept-folders"


class Mounts(Protocol):
    """What is remembered of mount points across restarts, by folder. StateUnwritable leaves it."""

    def known(self) -> Mapping[Path, Path]: ...

    def remember(self, found: Mapping[Path, Path]) -> None: ...


def free_space(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path`. Raises OSError."""
    return shutil.disk_usage(path).free


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a place cannot serve; `gone` if not only space is missing."""

    text: str
    gone: bool


class Storage:
    """The places of one daemon. `work_is_ours` says whether work lies there and is this state's; OSError leaves it
    where that cannot be known. `min_free` is in bytes."""

    def __init__(
        self,
        places: Mapping[Key, Path],
        min_free: int,
        work_is_ours: Callable[[], bool],
        mounts: Mounts,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        self._places = places
        self._min_free = min_free
        self._work_is_ours = work_is_ours
        self._free = free
        self._lock = threading.Lock()
        self._mounts = mounts
        self._mounted: dict[Path, tuple[int, Path]] = {}  # the device that it lies on, and where that is mounted
        self._unsaved: set[Path] = set()
        self._known: dict[Key, Problem] = {}

    def unmounted(self, *keys: Key) -> str | None:
        """Why one of these places is not the one that served before; None if each is, or cannot be looked at."""
        for key in keys:
            with suppress(OSError):
                if (problem := self._unmounted(key, self._places[key])) is not None:
                    return problem
        return None

    def keep_free(self, min_free: int) -> None:
        """From now on so many bytes are to stay free."""
        self._min_free = min_free

    def look(self) -> None:
        """Look at every place, and say what is new."""
        for key in PLACES:
            self._look_at(key)

    @property
    def notices(self) -> list[str]:
        """What people should know, as of the last look: a sentence for each place that cannot serve."""
        with self._lock:
            return [f"{problem.text}; {_CONSEQUENCE[key]}" for key, problem in self._in_order()]

    @property
    def problems(self) -> Mapping[Key, Problem]:
        """The places that cannot serve, as of the last look, and why."""
        with self._lock:
            return dict(self._in_order())

    @property
    def serving(self) -> list[Key]:
        """The places without a problem, as of the last look."""
        with self._lock:
            return [key for key in PLACES if key not in self._known]

    def hindrance(self) -> str | None:
        """Why nothing may begin, as of the last look; None if it may."""
        found = self._hindrance()
        return None if found is None else found[1].text

    def has_room(self, size: int) -> bool:
        """Whether work could take so many bytes for a while without coming near to where filing is held."""
        try:
            return self._free(self._places["work"]) - size >= 2 * self._min_free
        except OSError:
            return False

    def require(self, *, filing: bool = False) -> None:
        """Raise Hold if nothing may begin, or, with `filing`, if a finished sample could not be filed now."""
        found = self._hindrance()
        if found is None and filing:
            found = self._first_problem("work", "done")
        if found is not None:
            raise _hold(*found)

    def require_place(self, kind: Literal["done", "failed"]) -> None:
        """Raise Hold if no folder can be moved there now."""
        found = self._first_problem(kind)
        if found is not None:
            raise _hold(*found)

    def _hindrance(self) -> tuple[Key, Problem] | None:
        with self._lock:
            return next(((key, one) for key, one in self._in_order() if key == "state" or _stops_all(key, one)), None)

    def _in_order(self) -> list[tuple[Key, Problem]]:
        return [(key, self._known[key]) for key in PLACES if key in self._known]

    def _first_problem(self, *keys: Key) -> tuple[Key, Problem] | None:
        """Looked at now: what is written next may not go beside the share."""
        for key in keys:
            problem = self._look_at(key)
            if problem is not None:
                return key, problem
        return None

    def _look_at(self, key: Key) -> Problem | None:
        problem = self._problem(key)
        with self._lock:
            before = self._known.pop(key, None)
            if problem is not None:
                self._known[key] = problem
        if problem is not None and problem != before:
            log.error("%s; %s", problem.text, _CONSEQUENCE[key])
        elif problem is None and before is not None:
            log.warning("%s can be used again", _NAME[key])
        return problem

    def _problem(self, key: Key) -> Problem | None:
        path = self._places[key]
        try:
            gone = self._absence(key, path)
            if gone is not None:
                return Problem(gone, gone=True)
            if key != "failed" and self._min_free and self._free(path) < self._min_free:
                wanted = f"{self._min_free / GIB:.1f} GiB"
                text = f"the disk of {_NAME[key]} ({path}) has less than {wanted} free (watch.min_free_space)"
                return Problem(text, gone=False)
        except OSError as error:
            return Problem(f"{_NAME[key]} is not there ({path}: {error.strerror})", gone=True)
        return None

    def _absence(self, key: Key, path: Path) -> str | None:
        if not stat.S_ISDIR(path.stat().st_mode):
            return f"{_NAME[key]} is not there ({path} is not a folder)"
        if (unmounted := self._unmounted(key, path)) is not None:
            return unmounted
        if key == "work" and not self._work_is_ours():
            return f"{_NAME[key]} is not there ({path} does not carry the mark of this state)"
        if not os.access(path, os.W_OK | os.X_OK):
            return f"{_NAME[key]} cannot be written ({path})"
        return None

    def _unmounted(self, key: Key, path: Path) -> str | None:
        device = path.stat().st_dev
        before, last = self._mounted.get(path, (None, None))
        if device == before and path not in self._unsaved:
            return None  # what is mounted or unmounted there brings another device
        mount = mount_point(path)
        # Read again each time: what is missing may have been accepted meanwhile. A state knows its own place by itself.
        known = {} if key == "state" else self._mounts.known()
        missing = missing_mount(path, known.get(path, last))
        if missing is not None and not (key == "work" and self._work_is_ours()):
            return f"the share of {_NAME[key]} is not mounted ({missing}; {ACCEPT})"
        self._mounted[path] = device, mount
        if key != "state" and known.get(path) != mount:
            self._remember(path, mount)
        return None

    def _remember(self, path: Path, mount: Path) -> None:
        self._unsaved.add(path)
        with suppress(StateUnwritable):  # said by whoever has more to write; tried again at the next look
            self._mounts.remember({path: mount})
            self._unsaved.discard(path)


def missing_mount(path: Path, known: Path | None) -> Path | None:
    """The mount point at which the file system of `path` is missing, if it was `known`. Raises OSError.

    A link that leads elsewhere now was changed by somebody: nothing is missing.
    """
    if known is None or not path.resolve(strict=True).is_relative_to(known):
        return None
    mount = mount_point(path)
    return known if mount != known and known.is_relative_to(mount) else None


def mount_point(path: Path) -> Path:
    """Where the file system that holds `path` is mounted. Raises OSError."""
    path = path.resolve(strict=True)
    return next(place for place in (path, *path.parents) if place.is_mount() or place == place.parent)


_NAME: Mapping[Key, str] = {
    "state": "the state",
    "work": "the folder work",
    "done": "the folder done",
    "failed": "the folder failed",
}
_CONSEQUENCE: Mapping[Key, str] = {
    "state": "nothing new begins until that ends",
    "work": "samples wait until that ends",
    "done": "samples that are sent wait to be filed until that ends",
    "failed": "samples that have failed wait to be filed until that ends",
}


def _stops_all(key: Key, problem: Problem) -> bool:
    return key == "work" and problem.gone


def _hold(key: Key, problem: Problem) -> Hold:
    return Hold(f"{problem.text}.", held_by=HELD_BY[key])
