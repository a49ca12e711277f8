"""The ways out of the queue and back: to done or failed, and into work again by retry.

Owns `state` from processing to done, failed or cancelled, and from there to ready. It must not move folders: callers
commit an intent here, let `spool` move, and commit the result here. Errors: IllegalTransition, StateUnwritable.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, exists, or_, select, union, update

from moichord.clock import Clock
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember, submission_of
from moichord.queue.schema import images, requests, steps, submissions
from moichord.sample import FINISHED, State, Step, Submission

AT_ONCE = 500

s = submissions.c
_other = submissions.alias("other").c
_PROCESSING = s.state == str(State.PROCESSING)
_IDLE = s.state.in_([str(State.READY), str(State.WAITING)])
_ONE = select(submissions).where(s.uuid == bindparam("of"))
_THOSE = select(submissions).where(s.uuid.in_(bindparam("these", expanding=True)))
# Each by an index of its own.
_AT_WORK = union(
    select(s.uuid).where(s.state.in_([str(state) for state in State if state not in FINISHED])),
    select(s.uuid).where(s.intent.is_not(None)),
)
_OF_INTENT = select(submissions).where(s.intent == bindparam("what"))
_CONCLUDE = (
    update(submissions)
    .where(s.uuid == bindparam("of"), or_(_PROCESSING, _IDLE), or_(s.intent.is_(None), s.intent == "conclude"))
    .values(
        state=str(State.PROCESSING),
        intent="conclude",
        outcome=bindparam("how"),
        place=bindparam("where"),
        reason=bindparam("why"),
        remedy=bindparam("mend"),
        owner=bindparam("by"),
        probing=None,
        held_by=None,
        held_since=None,
        next_try_at=None,
        crashes=0,
        finished_at=bindparam("now"),
    )
)
_CONCLUDED = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _PROCESSING, s.intent == "conclude")
    .values(state=s.outcome, intent=None, owner=None)
)
_ENDED_SINCE = (
    update(submissions)
    .where(s.uuid == bindparam("of"))
    .where(or_(s.state != bindparam("how"), s.intent.is_not(None), s.place.is_distinct_from(bindparam("where"))))
    .values(
        state=bindparam("how"),
        intent=None,
        outcome=bindparam("how"),
        place=bindparam("where"),
        reason=bindparam("why"),
        remedy=bindparam("mend"),
        owner=None,
        probing=None,
        held_by=None,
        held_since=None,
        next_try_at=None,
        crashes=0,
        finished_at=bindparam("now"),
    )
)
_BRING_BACK = (
    update(submissions)
    .where(s.uuid == bindparam("of"), s.state.in_([str(state) for state in FINISHED]), s.intent.is_(None))
    .where(~exists().where(_other.sample_id == s.sample_id, _other.attempt_number > s.attempt_number))
    .values(
        intent="bring_back",
        step=bindparam("from_step"),
        doomed=None,
        repetition=s.repetition + bindparam("repeated"),
    )
)
_BROUGHT_BACK = (
    update(submissions)
    .where(s.uuid == bindparam("of"), s.intent == "bring_back")
    .values(
        state=str(State.READY),
        intent=None,
        outcome=None,
        place=None,
        reason=None,
        remedy=None,
        finished_at=None,
        manifest=bindparam("seen"),
        manifest_at=None,
        next_try_at=bindparam("now"),
    )
)
_STAY_OUT = update(submissions).where(s.uuid == bindparam("of"), s.intent == "bring_back").values(intent=None)
_RESET_STEPS = (
    update(steps)
    .where(steps.c.submission == bindparam("of"), steps.c.step.in_(bindparam("which", expanding=True)))
    .values(
        finished_at=None,
        tries=0,
        failures=0,
        outage_turns=0,
        started_at=bindparam("now"),
        held_before=select(s.held_seconds).where(s.uuid == bindparam("of")).scalar_subquery(),
    )
)
_FORGET_STEPS = steps.delete().where(
    steps.c.submission == bindparam("of"), steps.c.step.in_(bindparam("which", expanding=True))
)
_CARRIED_OUT = (
    update(requests)
    .where(requests.c.submission == bindparam("of"), requests.c.kind == "retry", requests.c.done_at.is_(None))
    .values(done_at=bindparam("now"), outcome=bindparam("came"))
)
_PLANNED = select(images.c.number, images.c.relative_path, images.c.size, images.c.mtime_ns).where(
    images.c.submission == bindparam("of")
)
_SAME_FILE = (
    update(images)
    .where(images.c.number == bindparam("which"))
    .values(inode=bindparam("inode_now"), mtime_ns=bindparam("modified_now"))
)
COARSEST_MTIME_NS = 2_000_000_000
"""FAT keeps times of change to two seconds: a copy that comes back from there differs by less."""

_CLEAR_REFUSALS = update(images).where(images.c.submission == bindparam("of")).values(refused=None)


class Receipt(Protocol):
    """What a receipt in done or failed says of its submission; `ended_at` in epoch seconds."""

    @property
    def uuid(self) -> str: ...
    @property
    def outcome(self) -> State: ...
    @property
    def place(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def remedy(self) -> str | None: ...
    @property
    def ended_at(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Reopening:
    """How `retry` continues a submission: steps to do anew, and steps whose tries begin again."""

    from_step: Step
    forget: tuple[Step, ...]
    reset: tuple[Step, ...]


class Endings:
    """Conclude and retry. Each verb names the old state in its WHERE clause."""

    def __init__(self, database: Database, clock: Clock, circuits: Circuits, owner: str) -> None:
        self._database = database
        self._clock = clock
        self._circuits = circuits
        self._owner = owner

    def conclude(
        self, submission: Submission, outcome: State, place: str, reason: str | None, remedy: str | None
    ) -> Submission:
        """Intent: the submission ends as `outcome`, and its folder goes to `place`."""
        values: dict[str, Any] = {
            "of": submission.uuid,
            "how": str(outcome),
            "where": place,
            "why": reason,
            "mend": remedy,
            "by": self._owner,
        }

        def unit(connection: Connection) -> Submission:
            # The end of the archive step is written in the same commit, before this: its time is not the later one.
            values["now"] = self._clock.now()
            exactly_one(connection.execute(_CONCLUDE, values).rowcount, submission.uuid, f"end as {outcome}")
            return submission_of(connection.execute(_ONE, {"of": submission.uuid}).one())

        return self._database.write(unit)

    def concluded(self, submission: Submission) -> State:
        """Result: the folder is at its place, durably. The submission's final state."""
        now = self._clock.now()

        return self._database.write(lambda connection: self._concluded(connection, submission, now))

    def _concluded(self, connection: Connection, submission: Submission, now: float) -> State:
        exactly_one(connection.execute(_CONCLUDED, {"of": submission.uuid}).rowcount, submission.uuid, "end")
        self._circuits.turn_ended(connection, submission.uuid)
        row = connection.execute(_ONE, {"of": submission.uuid}).one()
        state = State(row.state)
        remember(connection, submission, now, state, row.reason or str(state), detail={"remedy": row.remedy})
        return state

    def conclude_without_folder(
        self, submission: Submission, outcome: State, reason: str | None, remedy: str | None
    ) -> None:
        """The submission ends at once: its folder is gone, and there is nothing to move."""
        now = self._clock.now()
        values = {
            **{"of": submission.uuid, "how": str(outcome), "where": None, "why": reason},
            **{"mend": remedy, "by": self._owner, "now": now},
        }

        def unit(connection: Connection) -> None:
            exactly_one(connection.execute(_CONCLUDE, values).rowcount, submission.uuid, f"end as {outcome}")
            self._concluded(connection, submission, now)

        self._database.write(unit)

    def reopen(self, submission: Submission, how: Reopening) -> None:
        """Intent of `retry`: the folder is to come back into work, or analytics of a done sample is repeated."""
        now = self._clock.now()
        repeated = int(submission.state is State.DONE)

        def unit(connection: Connection) -> None:
            values = {"of": submission.uuid, "from_step": str(how.from_step), "repeated": repeated}
            exactly_one(connection.execute(_BRING_BACK, values).rowcount, submission.uuid, "retry it")
            forget = [str(step) for step in how.forget]
            connection.execute(_FORGET_STEPS, {"of": submission.uuid, "which": forget})
            reset = [str(step) for step in how.reset]
            connection.execute(_RESET_STEPS, {"of": submission.uuid, "which": reset, "now": now})
            connection.execute(_CLEAR_REFUSALS, {"of": submission.uuid})

        self._database.write(unit)

    def reopened(
        self, submission: Submission, manifest: str, files: Mapping[str, tuple[int, int, int]] | None = None
    ) -> None:
        """Result of `retry`: the folder is in work again, durably, and what was asked for is carried out.

        `files` gives (inode, size, mtime in ns) by relative path: from another file system a sample comes back as a
        verified copy, whose images are those that were planned although their inodes are others, and their times
        of change as coarse as that file system keeps them.
        """
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            values = {"of": submission.uuid, "seen": manifest, "now": now}
            exactly_one(connection.execute(_BROUGHT_BACK, values).rowcount, submission.uuid, "continue it")
            remember(connection, submission, now, State.READY, "retried by request")
            same = _same_files(connection, submission.uuid, files or {})
            if same:
                connection.execute(_SAME_FILE, same)
            step = connection.execute(_ONE, {"of": submission.uuid}).one().step
            connection.execute(_CARRIED_OUT, {"of": submission.uuid, "now": now, "came": f"goes on at {step}"})

        self._database.write(unit)

    def stay_out(self, submission: Submission) -> None:
        """A folder that was to come back could not: the submission stays as it had ended."""
        self._database.write(lambda connection: connection.execute(_STAY_OUT, {"of": submission.uuid}).rowcount)

    def half_brought_back(self) -> list[Submission]:
        """For recovery: submissions whose folder was on its way back into work."""
        return self._read(_OF_INTENT, {"what": "bring_back"})

    def ended_since(self, filed: Iterable[Receipt]) -> list[Submission]:
        """For a copy of the state that was put back: what ended after it was made, by these receipts, now has ended."""
        now = self._clock.now()
        rows = [
            {
                **{"of": one.uuid, "how": str(one.outcome), "where": one.place, "why": one.reason},
                **{"mend": one.remedy, "now": now if one.ended_at is None else one.ended_at},
            }
            for one in filed
        ]

        def unit(connection: Connection) -> list[Submission]:
            changed = [row for row in rows if connection.execute(_ENDED_SINCE, row).rowcount]
            ended = [submission_of(connection.execute(_ONE, {"of": row["of"]}).one()) for row in changed]
            for one in ended:
                remember(connection, one, now, one.state, one.reason or str(one.state), detail={"remedy": one.remedy})
            return ended

        return self._database.write(unit)

    def at_work(self) -> set[str]:
        """For recovery: the UUIDs of all that belong in work, or are on their way there or out of it."""
        with self._database.read() as connection:
            return set(connection.execute(_AT_WORK).scalars())

    def known(self, uuids: Iterable[str]) -> list[Submission]:
        """For recovery: the submissions among `uuids`, which were found in work."""
        these = list(uuids)
        pieces = (these[begin : begin + AT_ONCE] for begin in range(0, len(these), AT_ONCE))
        return [one for piece in pieces for one in self._read(_THOSE, {"these": piece})]

    def _read(self, statement: Any, values: Mapping[str, Any]) -> list[Submission]:
        with self._database.read() as connection:
            return [submission_of(row) for row in connection.execute(statement, values)]


def _same_files(connection: Connection, uuid: str, files: Mapping[str, tuple[int, int, int]]) -> list[dict[str, int]]:
    """What is to be written of the planned images that lie there as they were planned."""
    same = []
    for row in connection.execute(_PLANNED, {"of": uuid}):
        inode, size, mtime_ns = files.get(row.relative_path, (0, -1, 0))
        if size == row.size and abs(mtime_ns - row.mtime_ns) < COARSEST_MTIME_NS:
            same.append({"which": row.number, "inode_now": inode, "modified_now": mtime_ns})
    return same
