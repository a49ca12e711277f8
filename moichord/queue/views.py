"""Read models: what status, history, receipts, page and metrics show.

Owns the questions that people ask of the state. It changes nothing and must not know how answers are drawn.
Errors: none of its own.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Select, bindparam, exists, func, or_, select

from moichord.outage import Circuit
from moichord.queue import files, migrations
from moichord.queue.circuits import circuit_of
from moichord.queue.database import Database
from moichord.queue.rows import event_of, image_of, step_of, submission_of
from moichord.queue.schema import arrivals, circuits, history, images, steps, submissions
from moichord.sample import FINISHED, Arrival, Event, Image, State, Step, StepRecord, Submission

# Named one by one, so that an index finds them among the many that have ended.
_IN_WORK = submissions.c.state.in_([str(state) for state in State if state not in FINISHED])
_newer = submissions.alias("newer").c
_IS_NEWEST = ~exists().where(
    _newer.sample_id == submissions.c.sample_id, _newer.attempt_number > submissions.c.attempt_number
)

# Asked at the end of every trip: built once.
_ONE = select(submissions).where(submissions.c.uuid == bindparam("of"))
_STEPS_OF = select(steps).where(steps.c.submission == bindparam("of"))
_IMAGES_OF = select(images).where(images.c.submission == bindparam("of")).order_by(images.c.number)
_EVENTS_OF = select(history).where(history.c.submission == bindparam("of")).order_by(history.c.number)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the upload of one submission is. Images, and bytes as sent."""

    images: int
    images_acknowledged: int
    size: int
    size_acknowledged: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at a glance. `unfinished` is oldest first; `recent` holds finished submissions, newest first."""

    receiving: list[Arrival]
    unfinished: list[Submission]
    recent: list[Submission]
    counts: dict[State, int]
    progress: dict[str, Progress]
    circuits: list[Circuit]
    paused_at: float | None
    notices: list[str]


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
class Upload:
    """When a submission was sent and how much of it, in bytes; one that still is has no `ended`."""

    began: float
    ended: float | None
    size: int


class Views:
    """Questions about the state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self) -> object:
        """Another value once anything of the state has changed; None where that is not known. Cheap to ask."""
        return files.mark_of(self._database.path)

    def overview(self, recent: int = 10) -> Overview:
        """What arrives, what is in work, and the `recent` submissions that finished last."""
        s = submissions.c
        with self._database.read() as connection:
            waiting = _submissions(connection, select(submissions).where(_IN_WORK).order_by(s.taken_at))
            moved = or_(s.intent.is_(None), s.intent != "conclude")
            ended = select(submissions).where(s.finished_at > 0, moved).order_by(s.finished_at.desc()).limit(recent)
            counted = connection.execute(select(s.state, func.count()).group_by(s.state))
            paused = migrations.fact(connection, "paused_at")
            notices = migrations.fact(connection, "notices")
            return Overview(
                receiving=_arrivals(connection),
                unfinished=waiting,
                recent=_submissions(connection, ended),
                counts={State(state): count for state, count in counted},
                progress=_progress(connection),
                circuits=[circuit_of(row) for row in connection.execute(select(circuits))],
                paused_at=float(paused) if isinstance(paused, float | int) else None,
                notices=list(notices) if isinstance(notices, list) else [],
            )

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

    def last_arrival(self) -> float | None:
        """When a sample was last seen for the first time; None if none was ever."""
        taken = (
            select(history.c.at).where(history.c.state == str(State.READY)).order_by(history.c.number.desc()).limit(1)
        )
        seen = select(func.max(arrivals.c.first_seen_at))
        with self._database.read() as connection:
            found = (connection.execute(taken).scalar(), connection.execute(seen).scalar())
        return max((float(at) for at in found if at is not None), default=None)

    def uploads(self, since: float, most: int = 500) -> list[Upload]:
        """Uploads of what is done since then (the newest `most`), and of what is being sent."""
        s, st = submissions.c, steps.c
        times = select(st.started_at, st.finished_at, s.uuid, s.size).join(submissions, s.uuid == st.submission)
        of_upload = times.where(st.step == str(Step.UPLOAD))
        ended = of_upload.where(s.finished_at >= since, s.state == str(State.DONE)).order_by(s.finished_at.desc())
        sending = of_upload.where(s.state == str(State.PROCESSING), s.step == str(Step.UPLOAD))
        with self._database.read() as connection:
            past = [Upload(row[0], row[1], row[3]) for row in connection.execute(ended.limit(most))]
            now = connection.execute(sending).all()
            progress = _progress(connection) if now else {}
        return past + [Upload(row[0], None, progress[row[2]].size_acknowledged) for row in now if row[2] in progress]

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


def _arrivals(connection: Connection) -> list[Arrival]:
    wanted = select(arrivals).order_by(arrivals.c.first_seen_at)
    return [Arrival(**row._mapping) for row in connection.execute(wanted)]


def _progress(connection: Connection) -> dict[str, Progress]:
    i = images.c
    length = i.header_length + i.tail_length
    acknowledged = i.acknowledged_at.is_not(None)
    wanted = (
        select(
            i.submission,
            func.count(),
            func.count(i.acknowledged_at),
            func.sum(length),
            func.coalesce(func.sum(length).filter(acknowledged), 0),
        )
        .join(submissions, submissions.c.uuid == i.submission)
        .where(_IN_WORK, i.carried.is_(False), i.duplicate_of.is_(None))
        .group_by(i.submission)
    )
    return {row[0]: Progress(row[1], row[2], int(row[3]), int(row[4])) for row in connection.execute(wanted)}
