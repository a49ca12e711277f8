"""What the machine's clock does to persisted times: it is set, the machine is suspended, no daemon runs.

Owns what of that is nobody's own time, and the correction of what was written by the clock as it was before. It must
not know why a submission waits. No error of its own leaves it.

A step of the clock is seen by comparing it with the monotonic one, which is neither set nor counts a suspend. Every
unit that reads the time for what counts (`now`) looks for one first, in its own transaction, so that no decision is
made between a step and its correction. Forward or back, a step is no submission's own time; those that are held need
no correction, since what they are held for is measured by the same clock. What the clock has passed over on its way
ahead is kept, for times that are never corrected (`since`).
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, bindparam, select, update

from moichord.clock import LARGEST_STEP, Clock
from moichord.queue import migrations
from moichord.queue.database import after_commit
from moichord.queue.schema import circuits, history, submissions
from moichord.sample import FINISHED, State

log = logging.getLogger(__name__)

OFFSET = "clock_offset"
PAUSED_AT = "paused_at"
PASSED_OVER = "passed_over"
BOOT = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STEPS_KEPT = 20

s = submissions.c
_UNFINISHED = s.state.in_([str(state) for state in State if state not in FINISHED])
_ADD_HELD = (
    update(submissions)
    .where(_UNFINISHED, s.held_since.is_(None))
    .values(held_seconds=s.held_seconds + bindparam("more"))
)
_MOVE_SETTLING = (
    update(submissions)
    .where(_UNFINISHED, s.manifest_at.is_not(None))
    .values(manifest_at=s.manifest_at + bindparam("moved"))
)
_MOVE_NEXT_TRY = (
    update(submissions).where(s.next_try_at.is_not(None)).values(next_try_at=s.next_try_at + bindparam("moved"))
)
_MOVE_PROBES = (
    update(circuits)
    .where(circuits.c.next_probe_at.is_not(None))
    .values(next_probe_at=circuits.c.next_probe_at + bindparam("moved"))
)
# Changes of state are the daemon's; what people ask for is remembered without one.
_LAST_SIGN_OF_LIFE = select(history.c.at).where(history.c.state.is_not(None)).order_by(history.c.number.desc()).limit(1)


class Timekeeper:
    """The time for what is persisted. Its methods are called within units of the writer thread."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._offset = self._read()[1]

    def begin(self, connection: Connection, boot: str | None) -> None:
        """For recovery, before all else: the time since the last change is not the submissions' own.

        `boot` is what tells this start of the machine from others; within one, a step while no daemon ran shows.
        """
        now, offset = self._read()
        if (step := _unnoticed_in(boot, connection, offset)) != 0:
            _pass_over(connection, now, step)
        migrations.set_fact(connection, OFFSET, offset)
        after_commit(connection, lambda: self._learn(offset))
        since: float | None = connection.execute(_LAST_SIGN_OF_LIFE).scalar()
        if since is None:
            return
        if now < since:
            _bring_back(connection, now - since)
        elif migrations.fact(connection, PAUSED_AT) is None:
            exclude_time(connection, now - since)

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch, UTC, once what a step of the clock would falsify has been put right."""
        now, offset = self._read()
        if abs(offset - self._offset) > LARGEST_STEP:
            self._correct(connection, now, offset)
        return now

    def _correct(self, connection: Connection, now: float, offset: float) -> None:
        step = _unnoticed(connection, offset)
        migrations.set_fact(connection, OFFSET, offset)
        after_commit(connection, lambda: self._learn(offset))
        if not step:
            return  # another unit of this commit has seen to it
        exclude_time(connection, step)
        _pass_over(connection, now, step)
        connection.execute(_MOVE_SETTLING, {"moved": step})
        paused_at = migrations.fact(connection, PAUSED_AT)
        if isinstance(paused_at, float | int):
            migrations.set_fact(connection, PAUSED_AT, paused_at + step)
        if step < 0:
            _bring_back(connection, step)
        after_commit(connection, lambda: log.warning("%s", told(step)))

    def _read(self) -> tuple[float, float]:
        return _now_and_offset(self.clock)

    def _learn(self, offset: float) -> None:
        self._offset = offset


def pause(connection: Connection, clock: Clock) -> float | None:
    """Nothing begins from now on; the time, or None if that was so already. Any process may call it."""
    now, offset = _now_and_offset(clock)
    if migrations.fact(connection, PAUSED_AT) is not None:
        return None
    # A step that the daemon has still to notice is yet to be added to this time.
    migrations.set_fact(connection, PAUSED_AT, now - _unnoticed_in(boot_of_machine(), connection, offset))
    return now


def resume(connection: Connection, clock: Clock) -> float | None:
    """What was paused goes on, and that time is not the submissions' own; the time now, or None if nothing was paused.

    Any process may call it. A step that the daemon has still to notice is excluded by the daemon, and not here.
    """
    now, offset = _now_and_offset(clock)
    since = migrations.fact(connection, PAUSED_AT)
    if not isinstance(since, float | int):
        return None
    exclude_time(connection, max(0.0, now - _unnoticed_in(boot_of_machine(), connection, offset) - since))
    migrations.set_fact(connection, PAUSED_AT, None)
    return now


def passed_over(connection: Connection) -> list[tuple[float, float]]:
    """The times (from, until; epoch seconds) that the clock has passed over: it was set ahead, or did not run."""
    kept = migrations.fact(connection, PASSED_OVER)
    return [(begin, end) for begin, end in kept] if isinstance(kept, list) else []


def seconds_since(moment: float, now: float, left_out: Iterable[tuple[float, float]]) -> float:
    """Seconds from `moment` until `now`, without what these times, which may overlap, have of it; never negative."""
    out = sum(max(0.0, min(now, end) - max(moment, begin)) for begin, end in united(left_out))
    return max(0.0, now - moment - out)


def united(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times without overlaps, in order."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def boot_of_machine(file: Path = BOOT_ID) -> str | None:
    """What tells one start of this machine from the next (random(4)); None where the system does not say."""
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return None


def _now_and_offset(clock: Clock) -> tuple[float, float]:
    now = clock.now()
    return now, now - clock.monotonic()


def _unnoticed(connection: Connection, offset: float) -> float:
    """The seconds by which the clock was set since the daemon last looked; 0 if it was not."""
    known = migrations.fact(connection, OFFSET)
    step = offset - known if isinstance(known, float | int) else 0.0
    return step if abs(step) > LARGEST_STEP else 0.0


def _unnoticed_in(boot: str | None, connection: Connection, offset: float) -> float:
    """The same for a process that does not know how old what the daemon noted is: each boot has its own offset."""
    same = boot is not None and migrations.fact(connection, BOOT) == boot
    return _unnoticed(connection, offset) if same else 0.0


def _pass_over(connection: Connection, now: float, step: float) -> None:
    """Remember a step ahead; one back lets the times come that another had passed over."""
    kept: Sequence[tuple[float, float]] = [span for span in passed_over(connection) if span[1] <= now]
    if step > 0:
        kept = [*kept, (now - step, now)][-STEPS_KEPT:]
    migrations.set_fact(connection, PASSED_OVER, [list(span) for span in kept] or None)


def exclude_time(connection: Connection, seconds: float) -> None:
    """That much of the time by the clock is not the submissions' own; those that are held count it already."""
    connection.execute(_ADD_HELD, {"more": seconds})


def told(step: float) -> str:
    """What is logged of a step of that many seconds."""
    if step < 0:
        return f"the clock of this machine went back by {-step:.0f} s: what waits for a time waits no longer for it"
    return (
        f"the clock of this machine went {step:.0f} s ahead: it was set, or the machine was suspended; that time "
        "counts against no sample"
    )


def _bring_back(connection: Connection, step: float) -> None:
    """Times to come lie in the reach of the clock again: what had an hour to wait has no more than that now."""
    connection.execute(_MOVE_NEXT_TRY, {"moved": step})
    connection.execute(_MOVE_PROBES, {"moved": step})
