"""What is arriving in the inbox, and the taking of it.

Owns `arrivals` and `attempts`, the fact `unseen`, and a submission's rows until its folder is in work. It must not read
folders: it is told what was seen. Errors: StateUnwritable.

Taking is intent -> rename -> result: `intend` writes the submissions and gives them their UUIDs and attempt numbers;
the caller moves the folders; `taken` and `withdraw` record what came of each.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from moichord.clock import Clock
from moichord.queue import migrations, timekeeping
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember, remember_all, submission_of
from moichord.queue.schema import arrivals, attempts, submissions
from moichord.sample import FINISHED, Arrival, State, Step, Submission

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Taking:
    """A folder that is to be taken: what is known of it at that moment. Sizes in bytes."""

    folder_name: str
    sample_id: str
    manifest: str
    file_count: int
    image_count: int
    size: int
    smallest_image: int
    doomed: str | None = None


_INSERT_ARRIVAL = arrivals.insert()
_FIRST_SEEN = select(arrivals.c.first_seen_at).where(arrivals.c.folder_name == bindparam("name"))
_DELETE_ARRIVAL = delete(arrivals).where(arrivals.c.folder_name == bindparam("name"))
_LAST_ATTEMPT = select(attempts.c.last_attempt).where(attempts.c.sample_id == bindparam("of"))
_FIRST_ATTEMPT = attempts.insert()
_NEXT_ATTEMPT = (
    update(attempts).where(attempts.c.sample_id == bindparam("of")).values(last_attempt=attempts.c.last_attempt + 1)
)
_RETURN_ATTEMPT = (
    update(attempts)
    .where(attempts.c.sample_id == bindparam("of"), attempts.c.last_attempt == bindparam("attempt"))
    .values(last_attempt=attempts.c.last_attempt - 1)
)
_INSERT_SUBMISSION = submissions.insert()
_CLAIMED = submissions.c.intent == "claim"
_TAKEN = (
    update(submissions)
    .where(submissions.c.uuid == bindparam("of"), submissions.c.state == str(State.RECEIVING), _CLAIMED)
    .values(state=str(State.READY), intent=None, next_try_at=bindparam("now"))
)
_WITHDRAW = delete(submissions).where(
    submissions.c.uuid == bindparam("of"), submissions.c.state == str(State.RECEIVING), _CLAIMED
)
# Said so that no index of states is used: by the sample ID few rows are read, by the state all that wait.
_IN_WORK = submissions.c.state.not_in([str(state) for state in sorted(FINISHED)])
_BUSY = select(submissions.c.sample_id).where(or_(_IN_WORK, submissions.c.intent == "bring_back")).distinct()
_IS_BUSY = _BUSY.where(submissions.c.sample_id == bindparam("of"))
_BUSY_AMONG = _BUSY.where(submissions.c.sample_id.in_(bindparam("these", expanding=True)))
_INTENDED = select(submissions).where(_CLAIMED)


class Arrivals:
    """Receiving samples, and their taking."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def load(self) -> dict[str, Arrival]:
        """The receiving samples as last recorded, by folder name."""
        with self._database.read() as connection:
            found = (Arrival(**row._mapping) for row in connection.execute(select(arrivals)))
            return {arrival.folder_name: arrival for arrival in found}

    def record(self, changed: Iterable[Arrival], gone: Collection[str]) -> None:
        """Write what has changed about the receiving samples, and forget the folders that are gone."""
        rows = [asdict(arrival) for arrival in changed]

        def unit(connection: Connection) -> None:
            names = [{"name": name} for name in (*gone, *(row["folder_name"] for row in rows))]
            if names:
                connection.execute(_DELETE_ARRIVAL, names)
            if rows:
                connection.execute(_INSERT_ARRIVAL, rows)

        self._database.write(unit)

    def unseen(self) -> list[tuple[float, float | None]]:
        """When the inbox could not be looked at: since, until (epoch seconds); the last may not have ended."""
        with self._database.read() as connection:
            spans = migrations.fact(connection, "unseen")
        return [(since, until) for since, until in spans] if isinstance(spans, list) else []

    def record_unseen(self, spans: Sequence[tuple[float, float | None]]) -> None:
        """In place of what was recorded before."""
        rows = [list(span) for span in spans]
        self._database.write(lambda connection: migrations.set_fact(connection, "unseen", rows or None))

    def passed_over(self) -> list[tuple[float, float]]:
        """The times that the machine's clock has passed over (epoch seconds), which nobody had."""
        with self._database.read() as connection:
            return timekeeping.passed_over(connection)

    def busy_samples(self, among: Iterable[str]) -> set[str]:
        """Those of these sample IDs that have a submission in work, or on its way back there."""
        wanted, busy = sorted(set(among)), set[str]()
        if not wanted:
            return busy
        with self._database.read() as connection:
            for begin in range(0, len(wanted), AT_ONCE):
                some = {"these": wanted[begin : begin + AT_ONCE]}
                busy.update(connection.execute(_BUSY_AMONG, some).scalars())
        return busy

    def intend(self, takings: Iterable[Taking]) -> list[Submission]:
        """Write the submissions that are to be taken; their attempt numbers are given here.

        A sample that a retry brought back into work meanwhile is left out: its folder stays in the inbox.
        """
        now = self._clock.now()
        chosen = [(str(uuid.uuid4()), taking) for taking in takings]

        def unit(connection: Connection) -> list[Submission]:
            rows = []
            for of, taking in chosen:
                if connection.execute(_IS_BUSY, {"of": taking.sample_id}).first() is None:
                    row = _new_row(of, taking, _next_attempt(connection, taking.sample_id), now)
                    connection.execute(_INSERT_SUBMISSION, row)
                    rows.append(row)
            return [_as_submission(row) for row in rows]

        return self._database.write(unit) if chosen else []

    def taken(self, moved: Iterable[Submission], *, note: str = "taken from the inbox") -> None:
        """The folders are in work, durably: the submissions are ready."""
        now = self._clock.now()
        done = list(moved)

        def unit(connection: Connection) -> None:
            for submission in done:
                found = connection.execute(_TAKEN, {"of": submission.uuid, "now": now})
                exactly_one(found.rowcount, submission.uuid, "take it")
            names = [{"name": submission.folder_name} for submission in done]
            seen = [connection.execute(_FIRST_SEEN, name).scalar() for name in names]
            connection.execute(_DELETE_ARRIVAL, names)
            events = [_taken_event(one, first, now, note) for one, first in zip(done, seen, strict=True)]
            remember_all(connection, events)

        if done:
            self._database.write(unit)

    def withdraw(self, submission: Submission, why: str | None) -> None:
        """The folder could not be moved: it was never taken, and its attempt number is free again.

        `why` goes into history; None if it is there already.
        """
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            found = connection.execute(_WITHDRAW, {"of": submission.uuid})
            exactly_one(found.rowcount, submission.uuid, "withdraw its taking")
            number = {"of": submission.sample_id, "attempt": submission.attempt_number}
            connection.execute(_RETURN_ATTEMPT, number)
            if why is not None:
                remember(connection, submission, now, State.RECEIVING, why)

        self._database.write(unit)

    def intended(self) -> list[Submission]:
        """The takings whose result was never recorded: for recovery."""
        with self._database.read() as connection:
            return [submission_of(row) for row in connection.execute(_INTENDED)]

    def raise_attempts(self, known: Mapping[str, int]) -> None:
        """Make sure that no attempt number found in a receipt is given again (a lost state)."""
        self._database.write(lambda connection: _raise_attempts(connection, known))

    def pass_by_attempts(self, known: Mapping[str, int], names: Iterable[str]) -> None:
        """The same for a copy that was put back; and of these sample IDs one number more, which stands nowhere yet."""

        def unit(connection: Connection) -> None:
            _raise_attempts(connection, known)
            for name in names:
                _next_attempt(connection, name)

        self._database.write(unit)

    def is_copy(self) -> bool:
        """Whether this state is a copy that somebody put back, and does not know yet what has happened since."""
        with self._database.read() as connection:
            return migrations.fact(connection, migrations.COPIED_AT) is not None

    def is_copy_no_more(self) -> None:
        """What has happened since is known."""
        self._database.write(lambda connection: migrations.set_fact(connection, migrations.COPIED_AT, None))

    def count_attempts(self) -> int:
        """How many sample IDs this state knows; 0 for a new or lost one."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(attempts)).scalar_one()


def _raise_attempts(connection: Connection, known: Mapping[str, int]) -> None:
    for sample_id, number in known.items():
        last = connection.execute(_LAST_ATTEMPT, {"of": sample_id}).scalar()
        if last is None:
            connection.execute(_FIRST_ATTEMPT, {"sample_id": sample_id, "last_attempt": number})
        elif last < number:
            connection.execute(update(attempts).where(attempts.c.sample_id == sample_id).values(last_attempt=number))


def _next_attempt(connection: Connection, sample_id: str) -> int:
    last = connection.execute(_LAST_ATTEMPT, {"of": sample_id}).scalar()
    if last is None:
        connection.execute(_FIRST_ATTEMPT, {"sample_id": sample_id, "last_attempt": 1})
        return 1
    connection.execute(_NEXT_ATTEMPT, {"of": sample_id})
    return int(last) + 1


def _new_row(of: str, taking: Taking, attempt_number: int, now: float) -> dict[str, Any]:
    return {
        **asdict(taking),
        "uuid": of,
        "attempt_number": attempt_number,
        "state": str(State.RECEIVING),
        "step": str(Step.METADATA),
        "intent": "claim",
        "held_seconds": 0.0,
        "taken_at": now,
        "repetition": 0,
        "crashes": 0,
    }


def _as_submission(row: Mapping[str, Any]) -> Submission:
    fields = {name: row[name] for name in Submission.__dataclass_fields__ if name in row}
    return Submission(**{**fields, "state": State(row["state"]), "step": Step(row["step"])})


def _taken_event(submission: Submission, first_seen_at: float | None, now: float, note: str) -> dict[str, Any]:
    seen = {} if first_seen_at is None else {"first_seen_at": first_seen_at}
    return {
        "at": now,
        "sample_id": submission.sample_id,
        "submission": submission.uuid,
        "state": str(State.READY),
        "step": None,
        "text": note,
        "detail": {"attempt_number": submission.attempt_number, "images": submission.image_count, **seen},
    }
