"""From rows to plain data, and the one statement that writes history.

Owns the translation between the tables and `sample`'s words, for all of the queue. It must not decide anything.
Errors: IllegalTransition, when a row was not in the state that a transition names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row

from moichord.errors import MoichordError
from moichord.queue.schema import history, images, submissions
from moichord.sample import Change, Event, Image, State, Step, StepRecord, Submission

_ADD_HISTORY = history.insert()
_SUBMISSION_FIELDS = tuple(
    name
    for name in Submission.__dataclass_fields__
    if name in submissions.c and name not in {"state", "step", "outcome"}
)
_STEP_FIELDS = tuple(name for name in StepRecord.__dataclass_fields__ if name != "step")
_IMAGE_FIELDS = tuple(name for name in Image.__dataclass_fields__ if name not in {"changes", "warnings"})
_IMAGE_COLUMNS = tuple(name for name in _IMAGE_FIELDS if name in images.c and name != "number")


class IllegalTransition(MoichordError):
    """A submission was not in the state that the transition starts from: another part changed it meanwhile."""


def submission_of(row: Row[Any]) -> Submission:
    fields = {name: getattr(row, name) for name in _SUBMISSION_FIELDS}
    outcome = None if row.outcome is None else State(row.outcome)
    return Submission(state=State(row.state), step=Step(row.step), outcome=outcome, **fields)


def image_of(row: Row[Any]) -> Image:
    fields = {name: getattr(row, name) for name in _IMAGE_FIELDS}
    changes = tuple(Change(*change) for change in row.changes)
    return Image(changes=changes, warnings=tuple(row.warnings), **fields)


def image_row(submission: str, image: Image) -> dict[str, Any]:
    values = {name: getattr(image, name) for name in _IMAGE_COLUMNS}
    changes = [[change.keyword, change.before, change.after] for change in image.changes]
    return {**values, "submission": submission, "changes": changes, "warnings": list(image.warnings)}


def step_of(row: Row[Any]) -> StepRecord:
    fields = {name: getattr(row, name) for name in _STEP_FIELDS}
    return StepRecord(step=Step(row.step), **fields)


def event_of(row: Row[Any]) -> Event:
    state = None if row.state is None else State(row.state)
    step = None if row.step is None else Step(row.step)
    return Event(row.at, row.sample_id, row.submission, state, step, row.text, row.detail or {})


def remember(
    connection: Connection,
    submission: Submission,
    at: float,
    state: State | None,
    text: str,
    *,
    step: Step | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one row of history."""
    remember_all(
        connection,
        [
            {
                "at": at,
                "sample_id": submission.sample_id,
                "submission": submission.uuid,
                "state": None if state is None else str(state),
                "step": None if step is None else str(step),
                "text": text,
                "detail": None if detail is None else dict(detail),
            }
        ],
    )


def remember_all(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of history, with all columns given."""
    connection.execute(_ADD_HISTORY, list(rows))


def exactly_one(rowcount: int, submission: str, transition: str) -> None:
    """Refuse, by name, a transition whose WHERE clause did not find the submission in the state it starts from."""
    exactly(1, rowcount, submission, transition)


def exactly(wanted: int, rowcount: int, submission: str, transition: str) -> None:
    """The same for a transition of several rows at once."""
    if rowcount != wanted:
        raise IllegalTransition(f"Submission {submission} was not in a state from which to {transition}.")
