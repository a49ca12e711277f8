"""A submission's turns: claimed by a worker, and waiting again for a time, a server or a person.

Owns `state` between ready and waiting (`schema` draws the picture; `endings` has the way out and back). It must not
move folders or send requests. Errors: IllegalTransition, StateUnwritable.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, exists, func, not_, or_, select, update

from moichord import retry
from moichord.errors import ApiFailure, ApiOutage
from moichord.outage import Circuit, held_api, holder_name
from moichord.queue import migrations
from moichord.queue.beginnings import begin
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember, submission_of
from moichord.queue.schema import requests, steps, submissions
from moichord.queue.timekeeping import Timekeeper
from moichord.retry import Decision, GiveUp, HoldForApi, Policy, Record
from moichord.sample import LONG_REQUEST, LONGEST_RETRY_AFTER, SENT_WHOLE, Api, State, Step, Submission

s = submissions.c
_PROCESSING = s.state == str(State.PROCESSING)
_IDLE = s.state.in_([str(State.READY), str(State.WAITING)])

# What somebody wants cancelled gets no turn: after a crash, nothing of it is sent before that is carried out.
_WANTED = ~exists().where(requests.c.submission == s.uuid, requests.c.kind == "cancel", requests.c.done_at.is_(None))
# Of large samples that are still to be sent only so many are in hand: the others wait, and what is small goes before.
_QUICK = or_(s.size < LONG_REQUEST, s.step.in_([str(step) for step in SENT_WHOLE]), s.intent.is_not(None))
_LONG_IN_HAND = select(func.count()).where(_PROCESSING, not_(_QUICK)).correlate(None).scalar_subquery()
_FITS = or_(_QUICK, bindparam("most_long") > _LONG_IN_HAND)
# Only what is ready or waiting has a `next_try_at`: asking for the state too would cost the index.
_DUE = select(submissions).where(s.next_try_at <= bindparam("now"), _WANTED, _FITS).order_by(s.next_try_at).limit(1)
# Nothing is ever made to wait that long: the machine's clock has jumped back, and the time means nothing.
_JUMPED = (
    select(submissions).where(s.next_try_at > bindparam("longest"), _WANTED).order_by(s.next_try_at.desc()).limit(1)
)
_PROBE = (
    select(submissions)
    .where(s.state == str(State.WAITING), s.held_by == bindparam("holder"), s.next_try_at.is_(None), _WANTED)
    .order_by(s.probed_at.asc().nulls_first(), s.smallest_image, s.taken_at)
    .limit(1)
)
_NEXT_DUE = select(s.next_try_at).where(s.next_try_at.is_not(None), _WANTED, _FITS).order_by(s.next_try_at).limit(1)
# Who was processed when moichord broke off, and has come no further since: the index holds hardly any.
_SUSPECT = select(submissions).where(s.crashes > 0, _WANTED).limit(1)
_IN_HAND = select(s.uuid).where(_PROCESSING).limit(1)
_HOLDERS = select(s.held_by).where(s.state == str(State.WAITING), s.next_try_at.is_(None), _WANTED).distinct()
# Once an end is decided, `reason` and `remedy` are its own, whatever delays the move of the folder.
_ENDING = s.intent == "conclude"
_CLAIM = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _IDLE)
    .values(
        state=str(State.PROCESSING),
        owner=bindparam("by"),
        next_try_at=None,
        probing=bindparam("at_api"),
        probed_at=case((bindparam("at_api").is_(None), s.probed_at), else_=bindparam("now")),
        held_seconds=s.held_seconds + func.coalesce(bindparam("now") - s.held_since, 0.0),
        held_since=None,
        held_by=None,
        reason=case((_ENDING, s.reason), else_=None),
        remedy=case((_ENDING, s.remedy), else_=None),
    )
)
_WAIT = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _PROCESSING)
    .values(
        state=str(State.WAITING),
        owner=None,
        reason=case((_ENDING, s.reason), else_=bindparam("why")),
        remedy=case((_ENDING, s.remedy), else_=bindparam("mend")),
        probing=None,
        crashes=0,
        next_try_at=bindparam("at"),
        held_by=bindparam("holder"),
        held_since=bindparam("since"),
    )
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

    def __init__(
        self, database: Database, time: Timekeeper, circuits: Circuits, owner: str, most_long: int = 8
    ) -> None:
        self._database = database
        self._time = time
        self._circuits = circuits
        self._owner = owner
        self._most_long = most_long

    def claim(self) -> Submission | None:
        """The next submission to process: one whose time has come, or the probe of an open circuit."""

        def unit(connection: Connection) -> Submission | None:
            now = self._time.now(connection)
            if migrations.fact(connection, "paused_at") is not None:
                return None
            suspect = connection.execute(_SUSPECT).first()
            if suspect is not None:
                # Alone, so that it is known whose fault it is if moichord breaks off again.
                in_hand = connection.execute(_IN_HAND).first() is not None
                return None if in_hand else self._given(connection, suspect, now)
            for api in self._circuits.free_to_probe(connection, now):
                row = connection.execute(_PROBE, {"holder": holder_name(api)}).first()
                if row is not None:
                    self._circuits.probe_given(connection, api, row.uuid)
                    return self._given(connection, row, now, probing=api)
            row = connection.execute(_DUE, {"now": now, "most_long": self._most_long}).first()
            row = row or connection.execute(_JUMPED, {"longest": now + LONGEST_RETRY_AFTER}).first()
            return None if row is None else self._given(connection, row, now)

        return self._database.write(unit)

    def claim_this(self, submission: Submission) -> Submission:
        """Claim a submission that is not being processed, whether or not its time has come: for cancel."""

        def unit(connection: Connection) -> Submission:
            self._claim(connection, submission, self._time.now(connection))
            return submission_of(connection.execute(_ONE, {"of": submission.uuid}).one())

        return self._database.write(unit)

    def _given(self, connection: Connection, row: Row[Any], now: float, probing: Api | None = None) -> Submission:
        """What was read in this unit, claimed; the step that it is at begins with that."""
        found = submission_of(row)
        self._claim(connection, found, now, probing)
        ending = found.intent == "conclude"
        if not ending and found.doomed is None:
            begin(connection, found.uuid, found.step, now)
        reason, remedy = (found.reason, found.remedy) if ending else (None, None)
        return replace(found, state=State.PROCESSING, next_try_at=None, held_by=None, reason=reason, remedy=remedy)

    def _claim(self, connection: Connection, found: Submission, now: float, probing: Api | None = None) -> None:
        api = None if probing is None else str(probing)
        values = {"of": found.uuid, "by": self._owner, "at_api": api, "now": now}
        exactly_one(connection.execute(_CLAIM, values).rowcount, found.uuid, "claim it")
        remember(connection, found, now, State.PROCESSING, f"processing, from {found.step}", step=found.step)

    def next_due(self) -> float | None:
        """When the next claim may succeed; None while nothing waits for a time or a probe, or all is paused."""
        with self._database.read() as connection:
            if migrations.fact(connection, "paused_at") is not None:
                return None
            if connection.execute(_SUSPECT).first() is not None and connection.execute(_IN_HAND).first() is not None:
                return None
            due: float | None = connection.execute(_NEXT_DUE, {"most_long": self._most_long}).scalar()
            holders = [held_api(holder) for holder in connection.execute(_HOLDERS).scalars()]
        probes = [self._circuits.next_probe_at(api) for api in holders if api is not None]
        return min((at for at in (due, *probes) if at is not None), default=None)

    def release(self, submission: Submission, why: str) -> None:
        """The daemon stops: the submission waits for its next run, and nothing counts."""
        self._wait(submission, why, None, 0.0, None)

    def hold(self, submission: Submission, reason: str, held_by: str, seconds: float | None) -> None:
        """Nothing is wrong with the sample; it waits for what holds it, or for `seconds`."""
        self._wait(submission, reason, None, seconds, held_by)

    def defer(self, submission: Submission, step: Step, failure: ApiFailure, policy: Policy) -> Decision:
        """A request of `step` failed: decide what follows, and write it, unless the decision is to give up."""

        def unit(connection: Connection) -> Decision:
            now = self._time.now(connection)
            circuit = self._circuits.read(connection, failure.api)
            record = self._record(connection, submission, step, now)
            decision = retry.decide(failure, record, circuit, policy, now)
            _count(connection, submission, step, failure, record, decision, circuit)
            if isinstance(decision, GiveUp):
                return decision
            at = decision.until if isinstance(decision, HoldForApi) else decision.at
            holder = failure.api if isinstance(decision, HoldForApi) else None
            self._write_wait(connection, submission, failure.problem, failure.remedy, at, holder, step)
            return decision

        return self._database.write(unit)

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

        def unit(connection: Connection) -> int | None:
            now = self._time.now(connection)
            record = self._record(connection, submission, step, now)
            values = _counted(submission, step, record, problem, tries=record.tries + 1)
            connection.execute(_COUNT_FAILURE, values)
            if record.tries + 1 >= policy.max_tries:
                return None
            at = now + retry.delay(record.failures, policy)
            self._write_wait(connection, submission, problem, None, at, None, step)
            return record.tries + 1

        return self._database.write(unit)

    def _wait(
        self, submission: Submission, why: str, mend: str | None, seconds: float | None, held_by: str | None
    ) -> None:
        holder = held_api(held_by) or held_by

        def unit(connection: Connection) -> None:
            at = None if seconds is None else self._time.now(connection) + seconds
            self._write_wait(connection, submission, why, mend, at, holder, None)

        self._database.write(unit)

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
        now = self._time.now(connection)
        if isinstance(held_by, Api) and at is None:
            circuit = self._circuits.read(connection, held_by)
            mend = mend or circuit.remedy
            if not circuit.is_open:
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
        self._circuits.turn_ended(connection, submission.uuid)
        remember(connection, submission, now, State.WAITING, why, step=step, detail={"until": at})

    def exclude_downtime(self, boot: str | None) -> None:
        """For recovery, before all else: the time since the last change is not the submissions' own.

        `boot` is what tells this start of the machine from others.
        """
        self._database.write(lambda connection: self._time.begin(connection, boot))

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
    if isinstance(decision, HoldForApi):
        if decision.until is None:
            values["new_failures"] = record.failures
    elif decision.counted:
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
