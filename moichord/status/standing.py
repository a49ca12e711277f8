"""Everything at one moment: what the state says, and what only this machine can say of it.

Owns the gathering. It must not know how it is worded or drawn. Errors: `OSError` where the lock cannot be asked.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moichord.clock import Clock
from moichord.outage import Circuit
from moichord.queue.glance import Glance, Overview
from moichord.sample import Api, Arrival, Submission
from moichord.status.forecast import WINDOW, rate
from moichord.status.phrases import MOICHORD

LOST_SECONDS = 7 * 86400.0
"""So long a sample needs somebody whose folder was removed from work: no folder is there to be taken away."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system: which of moichord's folders lie there, the bytes that are free and all that it has."""

    folders: tuple[str, ...]
    free: int
    size: int


@dataclass(frozen=True, slots=True)
class Standing:
    """`attention` are the failed samples whose folder still lies in failed, as their newest submission; oldest first.

    `attention` also holds those whose folder was removed from work, for a week. `taken_out` are the failed ones whose
    folder somebody took out of failed. `sending` are the bytes of requests in flight, by submission; `daemon` says
    whether one runs; `command` is how whoever looks here calls moichord. `rate` is how many bytes go out in a second,
    while any do; `disks` are those that were asked for.
    """

    at: float
    overview: Overview
    attention: list[Submission]
    daemon: bool
    sending: Mapping[str, int]
    taken_out: int = 0
    command: str = MOICHORD
    rate: float | None = None
    disks: tuple[Disk, ...] = ()

    @property
    def paused(self) -> bool:
        """Whether nothing that waits starts, because somebody wants it so."""
        return self.overview.paused_at is not None

    @property
    def bytes_left(self) -> int:
        """Bytes of samples in work that the image server does not have yet; as received, of what is not planned yet."""
        return self.overview.bytes_left

    @property
    def seconds_left(self) -> float | None:
        """How long that takes at the present rate; None while that is not known."""
        in_flight = sum(self.sending.values())
        return None if not self.rate else max(0, self.bytes_left - in_flight) / self.rate

    @property
    def outages(self) -> list[Circuit]:
        """The servers that serve nobody, the longest ailing first."""
        return sorted((one for one in self.overview.circuits if one.is_open), key=lambda one: one.open_since or 0.0)

    @property
    def misnamed(self) -> list[Arrival]:
        """The folders in the inbox that nobody but a person can bring on: their name is not a sample ID."""
        return [one for one in self.overview.receiving if one.sample_id is None]

    @property
    def arriving(self) -> list[Arrival]:
        """The folders in the inbox that are on their way to be taken."""
        return [one for one in self.overview.receiving if one.sample_id is not None]

    def circuit(self, api: Api) -> Circuit | None:
        return next((one for one in self.overview.circuits if one.api is api), None)


class Reads(Protocol):
    """Whoever reads the state: `queue.views`, or a command that only looks."""

    def glance(self, *, since: float, recent: int, most: int | None) -> Glance: ...


def look(
    views: Reads,
    failed: Path,
    daemon_runs: Callable[[], bool],
    clock: Clock,
    *,
    recent: int = 10,
    most: int | None = None,
    command: str = MOICHORD,
    places: Mapping[str, Path] | None = None,
) -> Standing:
    """The state as it is now, with at most `most` of the samples in work.

    `failed` is the folder of failed samples, `places` are the folders whose disks matter.
    """
    now = clock.now()
    seen = views.glance(since=now - WINDOW, recent=recent, most=most)
    running = daemon_runs()
    # One that has ended since is told of next time.
    ended = [one for one in seen.failed if one.deleted_at is None and (one.finished_at or 0.0) <= now]
    attention = [one for one in ended if _needs_somebody(failed, one, now)]
    return Standing(
        at=now,
        overview=seen.overview,
        attention=attention,
        daemon=running,
        sending=seen.sending if running else {},
        taken_out=sum(not one.is_lost for one in ended) - sum(not one.is_lost for one in attention),
        command=command,
        rate=rate(seen.uploads, now) if running else None,
        disks=tuple(disks(places or {})),
    )


def disks(places: Mapping[str, Path]) -> list[Disk]:
    """The file systems of these folders, each once; one that cannot be asked is left out. It may wait for a share."""
    found: dict[int, Disk] = {}
    for name, path in places.items():
        with suppress(OSError):
            device, usage = path.stat().st_dev, shutil.disk_usage(path)
            others = found[device].folders if device in found else ()
            found[device] = Disk((*others, name), usage.free, usage.total)
    return list(found.values())


def _needs_somebody(failed: Path, submission: Submission, now: float) -> bool:
    """A folder that somebody took away needs nobody any more; one that we may not look for still may."""
    if submission.is_lost:
        return now - (submission.finished_at or now) < LOST_SECONDS
    try:
        os.lstat(failed / (submission.place or submission.folder_name))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
