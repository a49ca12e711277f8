"""A submission's turns: claimed by a worker, and waiting again for a time, a server or a person.

Owns `state` between ready and waiting (`schema` draws the picture; `endings` has the way out and back). It must not
move folders or send requests. Errors: IllegalTransition, StateUnwritable.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from moichord import retry
from moichord.clock import Clock
from moichord.errors import ApiFailure, ApiOutage
from moichord.outage import Circuit
from moichord.queue import migrations
from moichord.queue.circuits import Circuits, holder_name
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember, submission_of
from moichord.queue.schema import steps, submissions
from moichord.retry import Decision, GiveUp, Policy, Record, RetryAt
from moichord.sample import FINISHED, Api, State, Step, Submission

s = submissions.c
_PROCESSING = s.state == str(State.PROCESSING)
_IDLE = s.state.in_([str(State.READY), str(State.WAITING)])

_DUE = select(submissions).where(_IDLE, s.next_try_at <= bindparam("now")).order_by(s.next_try_at).limit(1)
_PROBE = (
    select(submissions)
    .where(s.state == str(State.WAITING), s.held_by == bindparam("holder"), s.next_try_at.is_(None))
    .order_by(s.probed_at.asc().nulls_first(), s.smallest_image, s.taken_at)
    .limit(1)
)
_NEXT_DUE = select(func.min(s.next_try_at)).where(_IDLE)
_ANY_HELD = select(func.count()).select_from(submissions).where(_IDLE, s.next_try_at.is_(None))
_CLAIM = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _IDLE)
    .values(
        state=str(State.PROCESSING),
        owner=bindparam("by"),
        next_try_at=None,
        probed_at=func.coalesce(bindparam("probed"), s.probed_at),
        held_seconds=s.held_seconds + func.coalesce(bindparam("now") - s.held_since, 0.0),
        held_since=None,
        held_by=None,
        reason=None,
        remedy=None,
    )
)
_WAIT = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _PROCESSING)
    .values(
        state=str(State.WAITING),
        owner=None,
        reason=bindparam("why"),
        remedy=bindparam("mend"),
        next_try_at=bindparam("at"),
        held_by=bindparam("holder"),
        held_since=bindparam("since"),
    )
)
_ADD_HELD = (
    update(submissions)
    .where(s.state.not_in([str(state) for state in FINISHED]), s.held_since.is_(None))
    .values(held_seconds=s.held_seconds + bindparam("more"))
)
_STEP = select(steps).where(steps.c.submission == bindparam("of"), steps.c.step == bindparam("at_step"))
_COUNT_FAILURE = (
    update(steps)
    .where(steps.c.submission == bindparam("of"), steps.c.step == bindparam("at_step"))
    .values(
        {
            name: bindparam("new_" + name)
            for name in ("tries", "failures", "successes_seen", "outage_turns", "outage_successes", "last_problem")
        }
    )
)
_ONE = select(submissions).where(s.uuid == bindparam("of"))
_LEFT_PROCESSING = select(submissions).where(_PROCESSING)


class Transitions:
    """The verbs. Each names the old state in its WHERE clause and checks that exactly one row changed."""

    def __init__(self, database: Database, clock: Clock, circuits: Circuits, owner: str) -> None:
        self._database = database
        self._clock = clock
        self._circuits = circuits
        self._owner = owner

    def claim(self) -> Submission | None:
        """The next submission to process: one whose time has come, or the probe of an open circuit."""
        now = self._clock.now()

        def unit(connection: Connection) -> Submission | None:
            if migrations.fact(connection, "paused_at") is not None:
                return None
            for api in self._circuits.free_to_probe(connection, now):
                row = connection.execute(_PROBE, {"holder": holder_name(api)}).first()
                if row is not None:
                    self._circuits.give_probe(api, row.uuid)
                    return self._claim(connection, submission_of(row), now, probed=now)
            row = connection.execute(_DUE, {"now": now}).first()
            return None if row is None else self._claim(connection, submission_of(row), now, probed=None)

        return self._database.write(unit)

    def claim_this(self, submission: Submission) -> Submission:
        """Claim a submission that is not being processed, whether or not its time has come: for cancel."""
        now = self._clock.now()
        return self._database.write(lambda connection: self._claim(connection, submission, now, probed=None))

    def _claim(self, connection: Connection, found: Submission, now: float, probed: float | None) -> Submission:
        values = {"of": found.uuid, "by": self._owner, "probed": probed, "now": now}
        exactly_one(connection.execute(_CLAIM, values).rowcount, found.uuid, "claim it")
        remember(connection, found, now, State.PROCESSING, f"processing, from {found.step}", step=found.step)
        return submission_of(connection.execute(_ONE, {"of": found.uuid}).one())

    def next_due(self) -> float | None:
        """When the next claim may succeed; None while nothing waits for a time or a probe."""
        with self._database.read() as connection:
            due: float | None = connection.execute(_NEXT_DUE).scalar()
            held = connection.execute(_ANY_HELD).scalar_one() > 0
        probe = self._circuits.next_probe_at() if held else None
        return min((at for at in (due, probe) if at is not None), default=None)

    def release(self, submission: Submission, why: str) -> None:
        """The daemon stops: the submission waits for its next run, and nothing counts."""
        self._wait(submission, why, None, self._clock.now(), None)

    def hold(self, submission: Submission, reason: str, held_by: str, seconds: float | None) -> None:
        """Nothing is wrong with the sample; it waits for what holds it, or for `seconds`."""
        now = self._clock.now()
        self._wait(submission, reason, None, None if seconds is None else now + seconds, held_by)

    def defer(self, submission: Submission, step: Step, failure: ApiFailure, policy: Policy) -> Decision:
        """A request of `step` failed: decide what follows, and write it, unless the decision is to give up."""
        now = self._clock.now()

        def unit(connection: Connection) -> Decision:
            circuit = self._circuits.read(connection, failure.api)
            record = self._record(connection, submission, step, now)
            decision = retry.decide(failure, record, circuit, policy, now)
            _count(connection, submission, step, failure, record, decision, circuit)
            if isinstance(decision, GiveUp):
                return decision
            at, holder = (decision.at, None) if isinstance(decision, RetryAt) else (None, failure.api)
            self._write_wait(connection, submission, failure.problem, failure.remedy, at, holder, step)
            return decision

        decision = self._database.write(unit)
        if not isinstance(decision, GiveUp):
            self._circuits.release(submission.uuid)
        return decision

    def _record(self, connection: Connection, submission: Submission, step: Step, now: float) -> Record:
        row = connection.execute(_STEP, {"of": submission.uuid, "at_step": str(step)}).one()
        held = connection.execute(_ONE, {"of": submission.uuid}).one().held_seconds - row.held_before
        return Record(
            row.tries,
            row.failures,
            row.successes_seen,
            row.outage_turns,
            row.outage_successes,
            elapsed=now - row.started_at - held,
        )

    def postpone(self, submission: Submission, step: Step, problem: str, policy: Policy) -> int | None:
        """Something unforeseen broke: a try of `step`, later again; None when the tries are spent."""
        now = self._clock.now()

        def unit(connection: Connection) -> int | None:
            record = self._record(connection, submission, step, now)
            values = _counted(submission, step, record, problem, tries=record.tries + 1)
            connection.execute(_COUNT_FAILURE, values)
            if record.tries + 1 >= policy.max_tries:
                return None
            at = now + retry.delay(record.failures, policy)
            self._write_wait(connection, submission, problem, None, at, None, step)
            return record.tries + 1

        tries = self._database.write(unit)
        self._circuits.release(submission.uuid)
        return tries

    def _wait(self, submission: Submission, why: str, mend: str | None, at: float | None, held_by: str | None) -> None:
        api = next((api for api in Api if held_by == holder_name(api)), None)

        def unit(connection: Connection) -> None:
            self._write_wait(connection, submission, why, mend, at, api or held_by, None)

        self._database.write(unit)
        self._circuits.release(submission.uuid)

    def _write_wait(
        self,
        connection: Connection,
        submission: Submission,
        why: str,
        mend: str | None,
        at: float | None,
        held_by: Api | str | None,
        step: Step | None,
    ) -> None:
        now = self._clock.now()
        if isinstance(held_by, Api) and at is None and not self._circuits.read(connection, held_by).is_open:
            at = now  # it closed while this turn was ending: nothing would wake the submission
        values = {
            "of": submission.uuid,
            "why": why,
            "mend": mend,
            "at": at,
            "holder": holder_name(held_by) if isinstance(held_by, Api) else held_by,
            "since": None if held_by is None else now,
        }
        exactly_one(connection.execute(_WAIT, values).rowcount, submission.uuid, "wait")
        remember(connection, submission, now, State.WAITING, why, step=step, detail={"until": at})

    def left_processing(self) -> list[Submission]:
        """For recovery: submissions that an earlier run was processing when it ended."""
        with self._database.read() as connection:
            return [submission_of(row) for row in connection.execute(_LEFT_PROCESSING)]


def _count(
    connection: Connection,
    submission: Submission,
    step: Step,
    failure: ApiFailure,
    record: Record,
    decision: Decision,
    circuit: Circuit,
) -> None:
    values = _counted(submission, step, record, failure.problem, tries=record.tries)
    if isinstance(decision, RetryAt) and decision.counted:
        values |= {"new_tries": record.tries + 1, "new_successes_seen": circuit.successes}
    if isinstance(failure, ApiOutage):
        values |= {"new_outage_turns": retry.turns(record, circuit), "new_outage_successes": circuit.successes}
    connection.execute(_COUNT_FAILURE, values)


def _counted(submission: Submission, step: Step, record: Record, problem: str, *, tries: int) -> dict[str, Any]:
    return {
        "of": submission.uuid,
        "at_step": str(step),
        "new_tries": tries,
        "new_failures": record.failures + 1,
        "new_successes_seen": record.successes_seen,
        "new_outage_turns": record.outage_turns,
        "new_outage_successes": record.outage_successes,
        "new_last_problem": problem,
    }


def exclude_paused_time(connection: Connection, seconds: float) -> None:
    """The time that the daemon was paused is not the submissions' own; those held count it already."""
    connection.execute(_ADD_HELD, {"more": seconds})
