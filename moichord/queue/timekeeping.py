"""What the machine's clock does to persisted times: it is set, the machine is suspended, no daemon runs.

Owns what of that is nobody's own time, and the correction of what was written by the clock as it was before. It must
not know why a submission waits. No error of its own leaves it.

A step of the clock is seen by comparing it with the monotonic one, which is neither set nor counts a suspend. Every
unit that reads the time for what counts (`now`) looks for one first, in its own transaction, so that no decision is
made between a step and its correction. Forward or back, a step is no submission's own time; those that are held need
no correction, since what they are held for is measured by the same clock.
"""

import logging

from sqlalchemy import Connection, bindparam, select, update

from moichord.clock import LARGEST_STEP, Clock
from moichord.queue import migrations
from moichord.queue.database import after_commit
from moichord.queue.schema import circuits, history, submissions
from moichord.sample import FINISHED, State

log = logging.getLogger(__name__)

OFFSET = "clock_offset"
PAUSED_AT = "paused_at"

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

    def begin(self, connection: Connection) -> None:
        """For recovery, before all else: the time since the last change is not the submissions' own."""
        now, offset = self._read()
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
            self._correct(connection, offset)
        return now

    def _correct(self, connection: Connection, offset: float) -> None:
        known = migrations.fact(connection, OFFSET)
        step = offset - known if isinstance(known, float | int) else 0.0
        migrations.set_fact(connection, OFFSET, offset)
        after_commit(connection, lambda: self._learn(offset))
        if abs(step) <= LARGEST_STEP:
            return  # another unit of this commit has seen to it
        exclude_time(connection, step)
        connection.execute(_MOVE_SETTLING, {"moved": step})
        paused_at = migrations.fact(connection, PAUSED_AT)
        if isinstance(paused_at, float | int):
            migrations.set_fact(connection, PAUSED_AT, paused_at + step)
        if step < 0:
            _bring_back(connection, step)
        after_commit(connection, lambda: log.warning("%s", told(step)))

    def _read(self) -> tuple[float, float]:
        now = self.clock.now()
        return now, now - self.clock.monotonic()

    def _learn(self, offset: float) -> None:
        self._offset = offset


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
