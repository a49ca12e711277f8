"""What people are to be told of, and how far each receiver has been told: rows of history, and a mark in them.

Owns the fact `announced`: by receiver, the number of the last row that it needs to hear no more of. It must not know
how anybody is told, nor which rows are news to whom. Errors: StateUnwritable.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from moichord.outage import Circuit
from moichord.queue import migrations
from moichord.queue.circuits import circuit_of
from moichord.queue.database import Database
from moichord.queue.occasions import NOBODY
from moichord.queue.rows import event_of
from moichord.queue.schema import circuits, history, submissions
from moichord.sample import Event, State

FACT = "announced"

h = history.c
_LAST = select(func.max(h.number))
_WORTH_TELLING = or_(h.sample_id == NOBODY, and_(h.state == str(State.FAILED), h.submission.is_not(None)))
_ROWS = (
    select(history, submissions.c.attempt_number, submissions.c.step.label("at_step"))
    .select_from(history.outerjoin(submissions, submissions.c.uuid == h.submission))
    .where(h.number > bindparam("after"), h.number <= bindparam("upto"), _WORTH_TELLING)
    .order_by(h.number)
    .limit(bindparam("most"))
)
_FAILURES = (
    select(h.number, h.submission, h.at)
    .join(submissions, submissions.c.uuid == h.submission)  # what was forgotten meanwhile cannot be reported
    .where(h.number > bindparam("after"), h.state == str(State.FAILED))
    .order_by(h.number)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of history: a failed submission (with its attempt number and the step it ended at), or an occasion."""

    number: int
    event: Event
    attempt_number: int | None
    at_step: str | None


class Announcements:
    """The rows that are worth telling, and the marks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> int:
        """The number of the newest row of history; 0 if there is none."""
        with self._database.read() as connection:
            return int(connection.execute(_LAST).scalar() or 0)

    def rows(self, after: int, upto: int, most: int) -> list[Row]:
        """What is worth telling of the rows after one and up to another, oldest first."""
        with self._database.read() as connection:
            found = connection.execute(_ROWS, {"after": after, "upto": upto, "most": most})
            return [Row(row.number, event_of(row), row.attempt_number, row.at_step) for row in found]

    def failures(self, after: int, most: int) -> list[tuple[int, str, float]]:
        """Rows that say that a submission has failed: number, its UUID and when, oldest first."""
        with self._database.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(_FAILURES, {"after": after, "most": most})]

    def marks(self) -> dict[str, int]:
        """By receiver, up to which row it was told."""
        with self._database.read() as connection:
            return _marks(connection)

    def mark(self, receiver: str, number: int) -> None:
        """It was told of all rows up to this one, or needs not be."""

        def unit(connection: Connection) -> None:
            migrations.set_fact(connection, FACT, {**_marks(connection), receiver: number})

        self._database.write(unit)

    def forget_others(self, kind: str, receivers: Collection[str]) -> None:
        """Marks of this kind (the beginning of a receiver's name) are kept for these receivers only."""

        def unit(connection: Connection) -> None:
            marks = _marks(connection)
            kept = {name: at for name, at in marks.items() if not name.startswith(kind) or name in receivers}
            migrations.set_fact(connection, FACT, kept or None)

        if any(name.startswith(kind) and name not in receivers for name in self.marks()):
            self._database.write(unit)

    def hindrances(self) -> tuple[list[Circuit], float | None]:
        """The servers that serve nobody, the longest ailing first; and since when all is paused, if it is."""
        with self._database.read() as connection:
            found = [circuit_of(row) for row in connection.execute(select(circuits))]
            paused = migrations.fact(connection, "paused_at")
        held = sorted((one for one in found if one.is_open), key=lambda one: one.open_since or 0.0)
        return held, float(paused) if isinstance(paused, float | int) else None


def _marks(connection: Connection) -> dict[str, int]:
    known = migrations.fact(connection, FACT)
    return {str(name): int(number) for name, number in known.items()} if isinstance(known, dict) else {}
