"""Read models: what status, history, receipts, page and metrics show.

Owns the questions that people ask of the state. It changes nothing and must not know how answers are drawn.
Errors: none of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Select, bindparam, exists, func, select

from moichord.queue import files, migrations
from moichord.queue.database import Database
from moichord.queue.glance import Glance, Overview, Progress, glance, read_overview, read_progress, read_receiving
from moichord.queue.rows import event_of, image_of, step_of, submission_of
from moichord.queue.schema import arrivals, history, images, steps, submissions
from moichord.sample import Arrival, Event, Image, State, Step, StepRecord, Submission

_newer = submissions.alias("newer").c
_IS_NEWEST = ~exists().where(
    _newer.sample_id == submissions.c.sample_id, _newer.attempt_number > submissions.c.attempt_number
)

_LAST_NUMBER = select(func.max(history.c.number))
_LAST_TAKEN = (
    select(history.c.at)
    .where(history.c.number > bindparam("after"), history.c.state == str(State.READY))
    .order_by(history.c.number.desc())
    .limit(1)
)
_LAST_SEEN = select(func.max(arrivals.c.first_seen_at))
# Asked at the end of every trip: built once.
_ONE = select(submissions).where(submissions.c.uuid == bindparam("of"))
_STEPS_OF = select(steps).where(steps.c.submission == bindparam("of"))
_IMAGES_OF = select(images).where(images.c.submission == bindparam("of")).order_by(images.c.number)
_EVENTS_OF = select(history).where(history.c.submission == bindparam("of")).order_by(history.c.number)


@dataclass(frozen=True, slots=True)
class Detail:
    """One submission with all that is known of it."""

    submission: Submission
    steps: dict[Step, StepRecord]
    images: list[Image]
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest submission of a sample ID, in short. `reason` says why it waits or how it ended."""

    sample_id: str
    attempt_number: int
    state: State
    reason: str | None
    taken_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class LastArrival:
    """When a sample was last seen for the first time, None if none was ever; as of this number of history's rows."""

    at: float | None
    number: int


NEVER = LastArrival(None, 0)


class Views:
    """Questions about the state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self) -> object:
        """Another value once anything of the state has changed; None where that is not known. Cheap to ask."""
        return files.mark_of(self._database.path)

    def glance(self, *, since: float, recent: int, most: int | None) -> Glance:
        """Everything at one moment; uploads that ended after `since`."""
        with self._database.read() as connection:
            return glance(connection.exec_driver_sql, since=since, recent=recent, most=most)

    def overview(self, recent: int = 10, most: int | None = None) -> Overview:
        """What arrives, what is in work (with `most`, no more of it), and the `recent` submissions that ended last."""
        with self._database.read() as connection:
            return read_overview(connection.exec_driver_sql, recent=recent, most=most)

    def progress(self, uuids: Iterable[str]) -> dict[str, Progress]:
        """How far these submissions are, by UUID; nothing of what is not planned yet."""
        with self._database.read() as connection:
            return read_progress(connection.exec_driver_sql, uuids)

    def receiving(self) -> list[Arrival]:
        """What arrives."""
        with self._database.read() as connection:
            return read_receiving(connection.exec_driver_sql)

    def newest(self, sample_id: str) -> Submission | None:
        """The newest submission of a sample ID (or the one with that UUID)."""
        s = submissions.c
        wanted = select(submissions).where((s.sample_id == sample_id) | (s.uuid == sample_id))
        with self._database.read() as connection:
            row = connection.execute(wanted.order_by(s.attempt_number.desc()).limit(1)).first()
            return None if row is None else submission_of(row)

    def in_state(self, *states: State) -> list[Submission]:
        """The newest submission of each sample ID, where it is in one of `states`; oldest first."""
        s = submissions.c
        those = s.state.in_([str(state) for state in states])
        wanted = select(submissions).where(those, _IS_NEWEST).order_by(s.taken_at)
        with self._database.read() as connection:
            return _submissions(connection, wanted)

    def newest_of_each(self, since: float | None) -> list[Newest]:
        """The newest submission of every sample ID; with `since`, of those that were taken after that time only."""
        s = submissions.c
        wanted = select(s.sample_id, s.attempt_number, s.state, s.reason, s.taken_at, s.finished_at).where(_IS_NEWEST)
        if since is not None:
            wanted = wanted.where(s.taken_at >= since)
        with self._database.read() as connection:
            return [Newest(row[0], row[1], State(row[2]), *row[3:]) for row in connection.execute(wanted)]

    def last_arrival(self, known: LastArrival = NEVER) -> LastArrival:
        """When a sample was last seen for the first time. Of history only what is newer than `known` is read."""
        with self._database.read() as connection:
            number = connection.execute(_LAST_NUMBER).scalar() or 0
            taken = connection.execute(_LAST_TAKEN, {"after": known.number}).scalar()
            seen = connection.execute(_LAST_SEEN).scalar()
        found = [float(at) for at in (known.at, taken, seen) if at is not None]
        return LastArrival(max(found, default=None), number)

    def detail(self, uuid: str) -> Detail:
        """All about the submission `uuid`."""
        with self._database.read() as connection:
            of = {"of": uuid}
            row = connection.execute(_ONE, of).one()
            step_rows = connection.execute(_STEPS_OF, of)
            image_rows = connection.execute(_IMAGES_OF, of)
            events = connection.execute(_EVENTS_OF, of)
            return Detail(
                submission_of(row),
                {record.step: record for record in map(step_of, step_rows)},
                [image_of(image) for image in image_rows],
                [event_of(event) for event in events],
            )

    def history(self, sample_id: str | None, since: float | None, limit: int = 10_000) -> list[Event]:
        """Rows of history, oldest first; at most the `limit` newest."""
        wanted = select(history).limit(limit)
        if sample_id is not None:
            wanted = wanted.where(history.c.sample_id == sample_id)
        elif since is not None:
            wanted = wanted.order_by(history.c.at.desc())  # else the whole history would be gone through
        if since is not None:
            wanted = wanted.where(history.c.at >= since)
        wanted = wanted.order_by(history.c.number.desc())
        with self._database.read() as connection:
            return [event_of(row) for row in connection.execute(wanted)][::-1]

    def submissions_of(self, sample_id: str) -> list[Submission]:
        """All submissions of a sample ID, first to last."""
        s = submissions.c
        with self._database.read() as connection:
            wanted = select(submissions).where(s.sample_id == sample_id).order_by(s.attempt_number)
            return _submissions(connection, wanted)

    def arrival_of(self, sample_id: str) -> Arrival | None:
        """The folder of this sample ID that is still in the inbox, if any."""
        with self._database.read() as connection:
            wanted = select(arrivals).where(arrivals.c.sample_id == sample_id)
            row = connection.execute(wanted.limit(1)).first()
            return None if row is None else Arrival(**row._mapping)

    def fact(self, name: str) -> object:
        """A single value of the state, or None."""
        with self._database.read() as connection:
            return migrations.fact(connection, name)


def _submissions(connection: Connection, wanted: Select[tuple[object, ...]]) -> list[Submission]:
    return [submission_of(row) for row in connection.execute(wanted)]
