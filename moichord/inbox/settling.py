"""Manifests over time: take a sample now, or not yet, because ...

Owns the rule of when a sample is taken (CONTRACT: "When a sample is taken"). Pure: what was seen, what was known and
what time it is come in, a verdict and what to remember go out. It must not look at files or clocks. No error leaves it.

A sample settles on the daemon's own monotonic clock, never by comparing a file's time with the wall clock: copies
carry old times, and clocks jump.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from moichord.inbox.seen import FileSeen, FolderSeen
from moichord.sample import printable

_ARRIVING = "still arriving: "
_NAMED = 3
_SOONEST = 0.05


@dataclass(frozen=True, slots=True)
class SettleRule:
    """When a sample counts as settled. Times in seconds; `ready_marker` is the marker's name or pattern, or None."""

    settle_time: float = 60.0
    incomplete_timeout: float = 86_400.0
    min_scans: int = 3
    ready_marker: str | None = None


class Span(NamedTuple):
    """A time between two moments (epoch seconds); one that has not ended has no `until`."""

    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Tracked:
    """What is remembered of a folder between two scans.

    `manifest` was seen in `unchanged_scans` scans in a row, the first at `unchanged_since` (monotonic seconds of this
    process). `last_change_at` (epoch seconds) is for people and for the next process; `idle_before` are the seconds
    that had passed since then when this process first looked.
    """

    name: str
    manifest: str
    unchanged_scans: int
    unchanged_since: float
    last_change_at: float
    idle_before: float = 0.0

    def quiet_for(self, monotonic: float) -> float:
        """Seconds without a change that this process has witnessed."""
        return monotonic - self.unchanged_since

    def idle_for(self, monotonic: float) -> float:
        """Seconds since the last change, restarts included."""
        return self.idle_before + self.quiet_for(monotonic)


@dataclass(frozen=True, slots=True)
class Take:
    """Take it now. `doomed` says why it must fail at once; None for a good sample."""

    doomed: str | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """Leave it. `reason` is for people; `look_again_in` are seconds after which time alone may change the verdict."""

    reason: str
    look_again_in: float | None = None


def restored(
    name: str, manifest: str, last_change_at: float, *, monotonic: float, now: float, unseen: Sequence[Span] = ()
) -> Tracked:
    """What an earlier process remembered: the settle clock begins again, the time since the last change runs on.

    `unseen` are the times in which the inbox could not be looked at, which count for no timeout.
    """
    away = sum(max(0.0, min(now, span.until or now) - max(last_change_at, span.since)) for span in unseen)
    return Tracked(name, manifest, 0, monotonic, last_change_at, idle_before=max(0.0, now - last_change_at - away))


def judge(
    seen: FolderSeen,
    tracked: Tracked | None,
    rule: SettleRule,
    *,
    monotonic: float,
    now: float,
    blocked: str | None = None,
) -> tuple[Tracked, Take | NotYet]:
    """Decide on one folder after one scan, and say what to remember until the next.

    `blocked` is a reason outside the folder for which it stays ("an earlier submission of A123 is still being
    processed"); it is taken when that ends. `monotonic` and `now` are the time of the scan.
    """
    tracked = follow(seen, tracked, monotonic=monotonic, now=now)
    stays = _stays(seen, blocked)
    if stays is not None:
        return tracked, NotYet(stays)
    wanting = _lacks(seen) or _unsettled(seen, tracked, rule, monotonic)
    if wanting is None:
        return tracked, Take(_doomed(seen))
    return tracked, _unless_timed_out(wanting, tracked, rule, monotonic)


def held_open(path: str, tracked: Tracked, rule: SettleRule, *, monotonic: float) -> Take | NotYet:
    """Instead of a `Take`, where a program on this machine still has the file `path` open for writing."""
    wanting = NotYet(f"{printable(path)} is still open for writing by a program on this machine")
    return _unless_timed_out(wanting, tracked, rule, monotonic)


def interrupted(tracked: Tracked, *, since: float, monotonic: float) -> Tracked:
    """After a time in which the inbox could not be seen, from `since` on: nobody has witnessed that nothing changed.

    The settle clock begins again; the time away is no fault of the sample, so that it counts for no timeout.
    """
    return replace(tracked, unchanged_scans=0, unchanged_since=monotonic, idle_before=tracked.idle_for(since))


def follow(seen: FolderSeen, tracked: Tracked | None, *, monotonic: float, now: float) -> Tracked:
    """What to remember after this scan: one scan more of the same, or a new beginning."""
    if tracked is None or tracked.manifest != seen.manifest:
        return Tracked(seen.name, seen.manifest, 1, monotonic, now)
    return replace(tracked, unchanged_scans=tracked.unchanged_scans + 1)


def _stays(seen: FolderSeen, blocked: str | None) -> str | None:
    """Why no passing of time will get this folder taken; a person or another submission must act."""
    if not seen.is_sample:
        return "its name is not a sample ID: rename the folder to the ID of the sample"
    return seen.unreadable or blocked


def _lacks(seen: FolderSeen) -> NotYet | None:
    """What must still arrive."""
    if seen.waiting_for:
        return NotYet(f"{_ARRIVING}{_listed([_incomplete(file) for file in seen.waiting_for])}")
    if seen.image_count == 0 and not seen.doomed:
        return NotYet("no image yet")
    return None


def _incomplete(file: FileSeen) -> str:
    because = f": {file.problem}" if file.problem else ""
    return f"{printable(file.path)} is incomplete{because}"


def _unsettled(seen: FolderSeen, tracked: Tracked, rule: SettleRule, monotonic: float) -> NotYet | None:
    """What the clock still asks for. A ready marker replaces the waiting and the scans, nothing else."""
    if rule.ready_marker is not None:
        return None if seen.marker_present else NotYet(f"waiting for {rule.ready_marker}")
    seconds = max(0.0, rule.settle_time - tracked.quiet_for(monotonic))
    scans = max(0, rule.min_scans - tracked.unchanged_scans)
    if seconds == 0 and scans == 0:
        return None
    look_again_in = max(_SOONEST, seconds / max(1, scans))
    if seconds > 0:
        return NotYet(f"waiting {duration(seconds)} more without a change", look_again_in)
    return NotYet(f"waiting for {scans} more {'look' if scans == 1 else 'looks'} without a change", look_again_in)


def _unless_timed_out(wanting: NotYet, tracked: Tracked, rule: SettleRule, monotonic: float) -> Take | NotYet:
    if not _timed_out(tracked, rule, monotonic):
        return wanting
    lacking = wanting.reason.removeprefix(_ARRIVING)
    return Take(f"Still incomplete after {duration(rule.incomplete_timeout)} without a change: {lacking}")


def _timed_out(tracked: Tracked, rule: SettleRule, monotonic: float) -> bool:
    """A new process must first see for itself that nothing moves any more: the copy may have gone on meanwhile."""
    witnessed = tracked.unchanged_scans >= rule.min_scans and tracked.quiet_for(monotonic) >= rule.settle_time
    return witnessed and tracked.idle_for(monotonic) >= rule.incomplete_timeout


def _doomed(seen: FolderSeen) -> str | None:
    if not seen.doomed:
        return None
    return _listed(list(seen.doomed))


def _listed(parts: list[str]) -> str:
    more = len(parts) - _NAMED
    shown = "; ".join(parts[:_NAMED])
    return shown if more <= 0 else f"{shown}; and {more} more"


def duration(seconds: float) -> str:
    """Seconds as people say them, rounded up: `43 s`, `10 min`, `24 h`, `3 d`."""
    whole = math.ceil(seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole % size == 0 and whole >= 2 * size:
            return f"{whole // size} {unit}"
    if whole > 600:
        return f"{math.ceil(whole / 60)} min"
    return f"{whole} s"
