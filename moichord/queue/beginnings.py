"""The beginning of a step: its row, and that the submission is at it.

Owns the intent of a step. It must not know what a step does. No error of its own leaves it.
"""

from sqlalchemy import Connection, Double, String, bindparam, exists, func, insert, literal, select, update

from moichord.queue.schema import circuits, steps, submissions
from moichord.sample import Api, Step

_API_OF = {Step.METADATA: Api.METADATA, Step.UPLOAD: Api.UPLOAD, Step.ANALYTICS: Api.ANALYTICS}

_OF = bindparam("of", type_=String)
_STEP = bindparam("at_step", type_=String)
_SUCCESSES = select(circuits.c.successes).where(circuits.c.api == bindparam("at_api", type_=String)).scalar_subquery()
_ROW = {
    "submission": submissions.c.uuid,
    "step": _STEP,
    "started_at": bindparam("now", type_=Double),
    "held_before": submissions.c.held_seconds,
    "tries": literal(0),
    "failures": literal(0),
    "successes_seen": func.coalesce(_SUCCESSES, 0),
    "outage_turns": literal(0),
    "outage_successes": literal(0),
    "requests": literal(0),
}
_BEGUN = exists().where(steps.c.submission == _OF, steps.c.step == _STEP)
_BEGIN = insert(steps).from_select(list(_ROW), select(*_ROW.values()).where(submissions.c.uuid == _OF, ~_BEGUN))
_AT_STEP = update(submissions).where(submissions.c.uuid == _OF).values(step=_STEP)


def begin(connection: Connection, submission: str, step: Step, now: float) -> None:
    """`step` begins, unless it has: what was counted of it stands."""
    api = _API_OF.get(step)
    values = {"of": submission, "at_step": str(step), "now": now, "at_api": None if api is None else str(api)}
    connection.execute(_BEGIN, values)


def go_to(connection: Connection, submission: str, step: Step, now: float) -> None:
    """`step` begins, unless it has, and is the one that the submission is at."""
    begin(connection, submission, step, now)
    connection.execute(_AT_STEP, {"of": submission, "at_step": str(step)})
