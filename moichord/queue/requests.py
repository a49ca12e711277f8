"""What people asked for, as rows that the daemon carries out: retry, cancel, pause, resume.

Owns `requests` and the rule of what may be asked of a submission. Commands write here from their own process; the
daemon looks here every second. Errors: UsageRefused, which names what makes no sense and why; StateUnwritable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, exists, select, update

from moichord.clock import Clock
from moichord.errors import UsageRefused
from moichord.queue import migrations, timekeeping
from moichord.queue.circuits import ask_soon
from moichord.queue.database import Database
from moichord.queue.endings import Reopening
from moichord.queue.occasions import note
from moichord.queue.rows import remember, submission_of
from moichord.queue.schema import requests, submissions
from moichord.queue.timekeeping import PAUSED_AT
from moichord.sample import FINISHED, STEPS, Image, State, Step, StepRecord, Submission, printable

REFUSED = "refused"
"""How the outcome of a request begins that was not carried out."""

_ASK = requests.insert()
_OPEN = select(requests).where(requests.c.done_at.is_(None)).order_by(requests.c.number)
_FORGOTTEN = (requests.c.done_at.is_(None), ~exists().where(submissions.c.uuid == requests.c.submission))
_ANY_FORGOTTEN = select(requests.c.number).where(*_FORGOTTEN).limit(1)
_CLOSE_FORGOTTEN = update(requests).where(*_FORGOTTEN).values(done_at=bindparam("now"), outcome=bindparam("came"))
_DONE = (
    update(requests)
    .where(requests.c.number == bindparam("which"), requests.c.done_at.is_(None))
    .values(done_at=bindparam("now"), outcome=bindparam("came"))
)
_ONE = select(submissions).where(submissions.c.uuid == bindparam("of"))


@dataclass(frozen=True, slots=True)
class Request:
    """One request that is not carried out yet. `kind` is "retry" or "cancel"."""

    number: int
    kind: str
    submission: Submission
    from_step: Step | None


class Requests:
    """What people asked for."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ask_retry(self, submission: Submission, from_step: Step | None) -> None:
        """The newest submission of a sample is to be continued; `reopening` has said that it can be."""
        self._ask(submission, "retry", from_step)

    def ask_cancel(self, submission: Submission) -> None:
        """The submission is to be stopped and moved to failed."""
        if submission.state in FINISHED:
            raise UsageRefused(f"{submission.sample_id} is {submission.state} already: there is nothing to cancel.")
        require_cancellable(submission)
        self._ask(submission, "cancel", None)

    def _ask(self, submission: Submission, kind: str, from_step: Step | None) -> None:
        now = self._clock.now()
        step = None if from_step is None else str(from_step)
        row = {"at": now, "kind": kind, "submission": submission.uuid, "from_step": step}

        def unit(connection: Connection) -> None:
            connection.execute(_ASK, row)
            remember(connection, submission, now, None, f"{kind} requested", step=from_step)

        self._database.write(unit)

    def open(self) -> list[Request]:
        """What is still to be carried out, oldest first; not what was asked of a submission that is forgotten."""
        with self._database.read() as connection:
            rows = connection.execute(_OPEN).all()
            asked = [(row, connection.execute(_ONE, {"of": row.submission}).first()) for row in rows]
            return [
                Request(
                    row.number,
                    row.kind,
                    submission_of(found),
                    None if row.from_step is None else Step(row.from_step),
                )
                for row, found in asked
                if found is not None
            ]

    def close_forgotten(self) -> None:
        """What was asked just when its submission was forgotten can never be carried out."""
        with self._database.read() as connection:
            if connection.execute(_ANY_FORGOTTEN).first() is None:
                return
        values = {"now": self._clock.now(), "came": f"{REFUSED}: the sample is forgotten."}
        self._database.write(lambda connection: connection.execute(_CLOSE_FORGOTTEN, values).rowcount)

    def done(self, request: Request, outcome: str) -> None:
        """The request was carried out, or refused: `outcome` says which. A refusal is remembered, for whoever asked."""
        now = self._clock.now()
        values = {"which": request.number, "now": now, "came": outcome}

        def unit(connection: Connection) -> None:
            closed = connection.execute(_DONE, values).rowcount == 1
            if closed and outcome.startswith(REFUSED):
                remember(connection, request.submission, now, None, f"{request.kind} {outcome}")

        self._database.write(unit)

    def pause(self) -> None:
        """Nothing is taken and no submission or retry starts, until `resume`. Persisted."""

        def unit(connection: Connection) -> None:
            at = timekeeping.pause(connection, self._clock)
            if at is not None:
                note(connection, at, "paused: nothing is taken and nothing new starts", "paused")

        self._database.write(unit)

    def resume(self) -> None:
        """Go on; the time paused does not count towards give_up_after."""

        def unit(connection: Connection) -> None:
            at = timekeeping.resume(connection, self._clock)
            if at is not None:
                ask_soon(connection, at)
                note(connection, at, "resumed", "resumed")

        self._database.write(unit)

    def is_paused(self) -> bool:
        with self._database.read() as connection:
            return migrations.fact(connection, PAUSED_AT) is not None


def reopening(
    submission: Submission,
    steps: Mapping[Step, StepRecord],
    images: Sequence[Image],
    from_step: Step | None,
) -> Reopening:
    """How `retry` is to continue `submission`; UsageRefused if it cannot, or not from that step."""
    _require_not_deleted(submission)
    if submission.state is State.DONE:
        return _of_a_done_sample(submission, from_step)
    _require_ended(submission)
    if not any(image.upload_began for image in images):
        return _from_the_beginning(submission, from_step)
    _require_possible(submission, steps, images, from_step)
    return _from(from_step or _first_unfinished(steps))


def _require_not_deleted(submission: Submission) -> None:
    if submission.deleted_at is not None or submission.intent == "delete":
        raise UsageRefused(
            f"The folder of {submission.sample_id} was deleted, as archive.retention says.",
            remedy="Drop the sample again.",
        )


def _of_a_done_sample(submission: Submission, from_step: Step | None) -> Reopening:
    name = submission.sample_id
    if from_step is not Step.ANALYTICS:
        raise UsageRefused(
            f"{name} is done; of a done sample only analytics can be repeated.",
            remedy=f"Use `moichord retry {name} --from analytics`, or drop the folder again to send all of it.",
        )
    return Reopening(Step.ANALYTICS, forget=(), reset=(Step.ANALYTICS,))


def _require_ended(submission: Submission) -> None:
    """And not lost: what is left of it can go on."""
    name = submission.sample_id
    if submission.state not in {State.FAILED, State.CANCELLED}:
        raise UsageRefused(
            f"{name} is {submission.state}: only a failed or cancelled sample can be retried.",
            remedy=f"It goes on by itself: `moichord status {name}` says how far it is, and what it waits for.",
        )
    if submission.is_lost:
        raise UsageRefused(
            f"The folder of {name} was removed from work: there is nothing left that could go on.",
            remedy="Drop the sample into the inbox again.",
        )


def _from_the_beginning(submission: Submission, from_step: Step | None) -> Reopening:
    if from_step not in {None, Step.METADATA}:
        raise UsageRefused(
            f"Nothing of {submission.sample_id} was uploaded yet, so it can only begin at metadata.",
            remedy="Leave out --from.",
        )
    return Reopening(Step.METADATA, forget=STEPS, reset=())


def _require_possible(
    submission: Submission, steps: Mapping[Step, StepRecord], images: Sequence[Image], from_step: Step | None
) -> None:
    """Once an upload has begun: the step that is asked for must neither be behind it nor need what is missing."""
    name = submission.sample_id
    if from_step in {Step.METADATA, Step.TAGS}:
        raise UsageRefused(
            f"The upload of {name} had begun: its metadata and tags stand, so that all its images agree.",
            remedy="Use --from upload, or drop the folder again for a new attempt with new metadata.",
        )
    missing = sum(image.to_send and image.acknowledged_at is None for image in images)
    if missing and from_step in {Step.ANALYTICS, Step.ARCHIVE}:
        raise UsageRefused(
            f"{missing} of the images of {name} are not stored yet: it can only go on at upload.",
            remedy="Leave out --from.",
        )
    if from_step is Step.UPLOAD and Step.ARCHIVE in steps:
        raise UsageRefused(
            f"All images of {name} are stored, and its filing had begun: there is nothing left to upload.",
            remedy="Leave out --from, or use --from analytics.",
        )


def require_cancellable(submission: Submission) -> None:
    """UsageRefused once a sample is being filed: some of its images may be as received no more."""
    if submission.step is Step.ARCHIVE and submission.intent is None:
        raise UsageRefused(
            f"Everything of {submission.sample_id} is sent, and only its filing is left: there is nothing to cancel."
        )


def require_unaltered(folder: Path, images: Sequence[Image], found: Mapping[str, int]) -> None:
    """UsageRefused unless `found`, bytes by relative path, are the images that were planned, as received or as sent."""
    planned = {image.relative_path: {image.size, image.sent_length} for image in images}
    for path in sorted(planned.keys() | found.keys()):
        if path not in planned:
            change = "was added"
        elif path not in found:
            change = "is gone"
        elif found[path] not in planned[path]:
            change = "has another size"
        else:
            continue
        raise UsageRefused(
            f"{printable(str(folder))} was altered: {printable(path)} {change}",
            remedy="Put it back as it was, or drop the sample into the inbox again as a new submission.",
        )


def _from(step: Step) -> Reopening:
    return Reopening(step, forget=STEPS[STEPS.index(step) + 1 :], reset=(step,))


def _first_unfinished(steps: Mapping[Step, StepRecord]) -> Step:
    unfinished = (step for step in STEPS if step not in steps or steps[step].finished_at is None)
    return next(unfinished, Step.ARCHIVE)
