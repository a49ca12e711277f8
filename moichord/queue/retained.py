"""What has ended and is old enough to go: folders by the retention of done and failed, rows by that of history.

Owns `intent` "delete" and `deleted_at`, and the deleting of rows. It must not touch folders: callers commit the intent
here, let `spool` delete, and commit the result here. Attempt numbers are never deleted. Errors: IllegalTransition,
StateUnwritable.
"""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, delete, exists, or_, select, update

from moichord.clock import Clock
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, remember, submission_of
from moichord.queue.schema import history, requests, submissions
from moichord.sample import FINISHED, State, Submission

EVENTS_PER_COMMIT = 1000
SUBMISSIONS_PER_COMMIT = 5  # each may have thousands of images

s = submissions.c
_ENDED = s.state.in_([str(state) for state in FINISHED])
_OLD = s.finished_at < bindparam("before")
_IN_STATES = s.state.in_(bindparam("states", expanding=True))
_TO_DELETE = (
    select(submissions)
    .where(_OLD, _IN_STATES, s.intent.is_(None), s.deleted_at.is_(None))
    .order_by(s.finished_at)
    .limit(bindparam("most"))
)
_INTEND = (
    update(submissions)
    .where(s.uuid == bindparam("of"), _ENDED, s.intent.is_(None), s.deleted_at.is_(None))
    .values(intent="delete")
)
_INTENDED = select(submissions).where(s.intent == "delete")
_DELETED = (
    update(submissions)
    .where(s.uuid == bindparam("of"), s.intent == "delete")
    .values(intent=None, deleted_at=bindparam("now"))
)
_ASKED_FOR = exists().where(requests.c.submission == s.uuid, requests.c.done_at.is_(None))
_TO_FORGET = (
    select(s.uuid)
    .where(_OLD, _ENDED, s.intent.is_(None), or_(s.deleted_at.is_not(None), _IN_STATES), ~_ASKED_FOR)
    .limit(SUBMISSIONS_PER_COMMIT)
)
_FORGET = delete(submissions).where(s.uuid.in_(bindparam("these", expanding=True)))
_OLD_EVENTS = select(history.c.number).where(history.c.at < bindparam("before")).limit(EVENTS_PER_COMMIT)
_FORGET_EVENTS = delete(history).where(history.c.number.in_(_OLD_EVENTS))
_FORGET_REQUESTS = delete(requests).where(requests.c.done_at < bindparam("before"))


class Retained:
    """The submissions that have ended, and what is remembered of them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ended_before(self, moment: float, states: Collection[State], most: int) -> list[Submission]:
        """Those in `states` that ended before `moment` and whose folder was not deleted yet; the oldest `most`."""
        values = {"before": moment, "states": [str(state) for state in states], "most": most}
        with self._database.read() as connection:
            return [submission_of(row) for row in connection.execute(_TO_DELETE, values)]

    def intend(self, submission: Submission) -> None:
        """Intent: its folder is to be deleted. It cannot be retried any more."""

        def unit(connection: Connection) -> None:
            changed = connection.execute(_INTEND, {"of": submission.uuid}).rowcount
            exactly_one(changed, submission.uuid, "delete its folder")

        self._database.write(unit)

    def intended(self) -> list[Submission]:
        """Those whose folder is to be deleted, and of whose deletion nothing is recorded."""
        with self._database.read() as connection:
            return [submission_of(row) for row in connection.execute(_INTENDED)]

    def deleted(self, submission: Submission, text: str) -> None:
        """Result: its folder is gone, durably; `text` for history."""
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            changed = connection.execute(_DELETED, {"of": submission.uuid, "now": now}).rowcount
            exactly_one(changed, submission.uuid, "record that its folder is deleted")
            remember(connection, submission, now, None, text)

        self._database.write(unit)

    def forget_before(self, moment: float, without_folder_retention: Collection[State]) -> bool:
        """Delete some of the rows that are older than `moment`; say whether there may be more.

        A submission is forgotten once its folder is deleted, or at once where folders of its state are kept for ever.
        """
        values = {"before": moment, "states": [str(state) for state in without_folder_retention]}

        def unit(connection: Connection) -> bool:
            these = list(connection.execute(_TO_FORGET, values).scalars())
            if these:
                connection.execute(_FORGET, {"these": these})
            events = connection.execute(_FORGET_EVENTS, {"before": moment}).rowcount
            connection.execute(_FORGET_REQUESTS, {"before": moment})
            return len(these) == SUBMISSIONS_PER_COMMIT or events == EVENTS_PER_COMMIT

        return self._database.write(unit)
