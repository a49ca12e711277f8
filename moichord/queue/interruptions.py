"""What holds or breaks off the daemon as a whole, and what that means for the submissions.

Owns the count of crashes, the waking of those that waited for a disk, and the time in which nothing could begin. It
must not know what went wrong. Errors: IllegalTransition, StateUnwritable.
"""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, case, select, update

from moichord.clock import Clock
from moichord.queue import migrations
from moichord.queue.circuits import ask_soon
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember
from moichord.queue.schema import submissions
from moichord.queue.timekeeping import BOOT, exclude_time
from moichord.sample import Api, State, Submission

s = submissions.c
_INTERRUPTED = (
    update(submissions)
    .where(s.uuid == bindparam("of"), s.state == str(State.PROCESSING))
    .values(
        state=str(State.WAITING),
        owner=None,
        probing=None,
        reason=case((s.intent == "conclude", s.reason), else_=bindparam("why")),
        next_try_at=bindparam("now"),
        crashes=bindparam("crashed"),
    )
)
_HELD = (s.state == str(State.WAITING)) & s.held_by.in_(bindparam("holders", expanding=True)) & s.next_try_at.is_(None)
_ANY_HELD = select(s.uuid).where(_HELD).limit(1)
_WAKE = update(submissions).where(_HELD).values(next_try_at=bindparam("now"))


class Interruptions:
    """Stops of all kinds that are no submission's own affair, or not yet known to be."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin_run(self, boot: str | None) -> bool:
        """Remember in which start of the machine this run takes place; whether the one before was in the same."""

        def unit(connection: Connection) -> bool:
            before = migrations.fact(connection, BOOT)
            migrations.set_fact(connection, BOOT, boot)
            return before == boot

        return self._database.write(unit)

    def interrupted(self, submission: Submission, *, crashes: int) -> None:
        """It was processed when moichord broke off, and goes on; `crashes` is how often that was, without progress."""
        now = self._clock.now()
        why = "interrupted; goes on"

        def unit(connection: Connection) -> None:
            values = {"of": submission.uuid, "why": why, "now": now, "crashed": crashes}
            exactly_one(connection.execute(_INTERRUPTED, values).rowcount, submission.uuid, "go on")
            remember(connection, submission, now, State.WAITING, why, detail={"until": now})

        self._database.write(unit)

    def wake(self, holders: Collection[str]) -> bool:
        """Whoever waits for one of these, for no time of its own, is due; say whether there was any."""
        values = {"holders": list(holders)}
        with self._database.read() as connection:
            if connection.execute(_ANY_HELD, values).first() is None:
                return False
        now = self._clock.now()
        self._database.write(lambda connection: connection.execute(_WAKE, {**values, "now": now}).rowcount)
        return True

    def ask_soon(self, mended: Collection[Api] = ()) -> None:
        """After a start or a reload: servers that are believed down are asked now; `mended` have other settings."""
        now = self._clock.now()
        self._database.write(lambda connection: ask_soon(connection, now, mended))

    def exclude(self, seconds: float) -> None:
        """Nothing could begin for that long: it is not the submissions' own time."""
        self._database.write(lambda connection: exclude_time(connection, seconds))
