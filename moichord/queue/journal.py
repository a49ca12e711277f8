"""What the pipeline's steps write down while a submission is processed: the `Journal` of the daemon.

Owns `steps` and `images`. It must not know what a step does. Errors: Hold while an API's circuit is open, Stopped
when the submission is to be left, StateUnwritable.

Intent first: a step's start, and each image's request, is committed before the first byte goes out; the answer after.
Where no side effect lies between a result and the next intent, both are one commit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from moichord import retry
from moichord.errors import ApiFailure, ApiOutage, Stopped
from moichord.queue.beginnings import go_to
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.rows import exactly, exactly_one, image_of, image_row, step_of
from moichord.queue.schema import images, steps, submissions
from moichord.queue.timekeeping import Timekeeper, passed_over, seconds_since
from moichord.queue.units import Alike
from moichord.retry import Record
from moichord.sample import Acknowledgement, Api, Image, Step, StepRecord, Submission

_PROGRESS = update(submissions).where(submissions.c.uuid == bindparam("of")).values(crashes=0)
_STEPS_OF = select(steps).where(steps.c.submission == bindparam("of"))
_STEP = _STEPS_OF.where(steps.c.step == bindparam("at_step"))
_FINISH = (
    update(steps)
    .where(steps.c.submission == bindparam("of"), steps.c.step == bindparam("at_step"))
    .values(finished_at=bindparam("now"), result=bindparam("outcome"), last_problem=None)
)
_GOES_BY = (
    update(steps)
    .where(steps.c.submission == bindparam("of"), steps.c.step == bindparam("at_step"))
    .values(result=bindparam("terms"))
)
_COUNT_REQUEST = (
    update(steps)
    .where(steps.c.submission == bindparam("of"), steps.c.step == bindparam("at_step"))
    .values(requests=steps.c.requests + 1)
)
_AT_STEP = update(submissions).where(submissions.c.uuid == bindparam("of")).values(step=bindparam("at_step"))
_SEEN = (
    update(submissions)
    .where(submissions.c.uuid == bindparam("of"))
    .values(manifest=bindparam("seen"), manifest_at=bindparam("now"))
)
_SEEN_AT = select(submissions.c.manifest, submissions.c.manifest_at).where(submissions.c.uuid == bindparam("of"))
_FORGET_STEPS = delete(steps).where(
    steps.c.submission == bindparam("of"), steps.c.step.in_(bindparam("which", expanding=True))
)
_IMAGES_OF = select(images).where(images.c.submission == bindparam("of")).order_by(images.c.number)
_FORGET_IMAGES = delete(images).where(images.c.submission == bindparam("of"))
_PLAN = images.insert()
_SENDING = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None))
    .values(requests=images.c.requests + 1)
)
_NOT_DONE = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None), images.c.requests > 0)
    .values(requests=images.c.requests - 1)
)
_ACKNOWLEDGED = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None))
    .values(
        acknowledged_at=bindparam("now"),
        status=bindparam("answer"),
        reply=bindparam("replied"),
        already_stored=bindparam("was_there"),
        tail_digest=bindparam("digest"),
        refused=None,
    )
)
_REFUSED = update(images).where(images.c.number == bindparam("which")).values(refused=bindparam("why"))
_ARCHIVED = update(images).where(images.c.number == bindparam("which")).values(sha256=bindparam("digest"))


class QueueJournal:
    """The journal of one submission, in the state's database."""

    def __init__(
        self,
        database: Database,
        time: Timekeeper,
        circuits: Circuits,
        submission: Submission,
        must_stop: Callable[[], str | None],
    ) -> None:
        self._database = database
        self._time = time
        self._circuits = circuits
        self._must_stop = must_stop
        self.submission = submission

    def steps(self) -> Mapping[Step, StepRecord]:
        with self._database.read() as connection:
            found = (step_of(row) for row in connection.execute(_STEPS_OF, {"of": self.submission.uuid}))
            return {record.step: record for record in found}

    def begin(self, step: Step) -> None:
        """Intent: `step` is about to be done for the first time."""
        of = self.submission.uuid
        self._database.write(lambda connection: go_to(connection, of, step, self._time.now(connection)))

    def advance(
        self,
        step: Step,
        result: Any,
        begins: Step | None,
        planned: Sequence[Image] | None = None,
        terms: Any = None,
    ) -> None:
        """Result of `step`, its images where it is the tags step, and the intent of the next step: one commit."""
        of = self.submission.uuid

        def unit(connection: Connection) -> None:
            now = self._time.now(connection)
            if planned is not None:
                connection.execute(_FORGET_IMAGES, {"of": of})
                if planned:
                    connection.execute(_PLAN, [image_row(of, image) for image in planned])
            values = {"of": of, "at_step": str(step), "now": now, "outcome": result}
            exactly_one(connection.execute(_FINISH, values).rowcount, of, f"finish {step}")
            self._clear_suspicion(connection)
            if begins is not None:
                go_to(connection, of, begins, now)
                if terms is not None:
                    connection.execute(_GOES_BY, {"of": of, "at_step": str(begins), "terms": terms})

        if step is Step.ARCHIVE:
            # The decision how it ended follows at once; what is archived is recognised if that never came.
            self._database.write_along(unit)
        else:
            self._database.write(unit)

    def images(self) -> list[Image]:
        with self._database.read() as connection:
            return [image_of(row) for row in connection.execute(_IMAGES_OF, {"of": self.submission.uuid})]

    def seconds_since_taken(self) -> float:
        """How long ago the sample was taken, without what the machine's clock has passed over meanwhile."""

        def unit(connection: Connection) -> float:
            now = self._time.now(connection)  # notices a step that has just come
            return seconds_since(self.submission.taken_at, now, passed_over(connection))

        return self._database.write(unit)

    def unchanged_for(self, manifest: str) -> float | None:
        """Seconds since the sample's files were last seen to change, remembering a change; None if none since taken."""
        now = self._time.clock.now()
        of = self.submission.uuid
        with self._database.read() as connection:
            row = connection.execute(_SEEN_AT, {"of": of}).one()
        if row.manifest != manifest:
            self._database.write(lambda connection: connection.execute(_SEEN, {"of": of, "seen": manifest, "now": now}))
            return 0.0
        return None if row.manifest_at is None else max(0.0, now - float(row.manifest_at))

    def replan(self) -> None:
        """Forget the tags step and what followed: nothing of it was sent, and the files have changed."""
        of = self.submission.uuid

        def unit(connection: Connection) -> None:
            connection.execute(_FORGET_STEPS, {"of": of, "which": [str(Step.TAGS), str(Step.UPLOAD)]})
            connection.execute(_AT_STEP, {"of": of, "at_step": str(Step.TAGS)})

        self._database.write(unit)

    def check_stop(self) -> None:
        """Raise Stopped when this submission is to be left where it is."""
        why = self._must_stop()
        if why is not None:
            raise Stopped(why, maybe_done=False)

    def admit(self, api: Api) -> None:
        """Raise Stopped or Hold unless a request to `api` may go out now."""
        self.check_stop()
        self._circuits.admit(api, self.submission.uuid)

    def cautious(self, api: Api) -> bool:
        """Whether `api` is believed down, so that one request is to go out by itself."""
        return self._circuits.is_open(api)

    def requesting(self, step: Step) -> None:
        """Intent of one request that is not an image's."""
        # The step's beginning is committed; how often it asked may be written with its answer.
        values = {"of": self.submission.uuid, "at_step": str(step)}
        self._database.write_along(Alike(_count_requests, [values]))

    def answered(self, api: Api) -> None:
        """A request to `api` was answered well."""
        if self._circuits.is_steady(api):
            self._database.write_along(Alike(self._circuits.succeeded_often, [api]))
        else:
            self._database.write(lambda connection: self._circuits.succeeded(connection, api))

    def failed(self, step: Step, failure: ApiFailure, *images: Image) -> None:
        """A request failed: what that means for the API's circuit, and whether `images` may be stored through it."""
        of = self.submission.uuid

        def unit(connection: Connection) -> None:
            row = connection.execute(_STEP, {"of": of, "at_step": str(step)}).one()
            record = Record(outage_turns=row.outage_turns, outage_successes=row.outage_successes)
            circuit = self._circuits.read(connection, failure.api)
            alone = isinstance(failure, ApiOutage) and retry.is_suspect(record, circuit)
            if circuit.is_open or not alone:
                self._circuits.failed(connection, failure, of)
            if images and not failure.maybe_done:
                connection.execute(_NOT_DONE, _numbers(images))

        self._database.write(unit)

    def sending(self, *images: Image) -> None:
        """Intent: the first byte of the request that brings `images` is about to go out."""
        self._database.write(Alike(_intend_to_send, _numbers(images)))

    def not_sent(self, *images: Image) -> None:
        """The request of `images` that was intended has not gone out."""
        if not images:
            return
        # Written along: if it is lost, the server is thought to have had that request.
        self._database.write_along(Alike(_take_back, _numbers(images)))

    def acknowledged(self, *acknowledgements: Acknowledgement) -> None:
        """Result: the server has these images; never sent again. One commit: all of them or none."""
        now = self._time.clock.now()
        rows = [
            {
                "which": one.image.number,
                "now": now,
                "answer": one.status,
                "replied": one.reply,
                "was_there": one.already_stored,
                "digest": one.tail_digest,
            }
            for one in acknowledgements
        ]
        request = _Answered(self._circuits, rows)

        def unit(connection: Connection) -> None:
            _acknowledge(connection, [request])
            self._clear_suspicion(connection)

        self._database.write(unit if self.submission.crashes else Alike(_acknowledge, [request]))

    def _clear_suspicion(self, connection: Connection) -> None:
        """What has brought a sample further has not broken moichord off."""
        if self.submission.crashes:
            connection.execute(_PROGRESS, {"of": self.submission.uuid})

    def refused(self, image: Image, why: str) -> None:
        """Result: the server refuses `image` for good."""
        self._database.write(self._on_image(_REFUSED, image, {"why": why}, "record a refused image"))

    def archived(self, image: Image, sha256: str) -> None:
        """Result: `image` lies as it is to be kept; SHA-256 of the whole file as sent."""
        # Written along: an image that lies there in its new form is recognised, and its digest taken again.
        self._database.write_along(Alike(_note_archived, [{"which": image.number, "digest": sha256}]))

    def _on_image(
        self, statement: Any, image: Image, values: Mapping[str, Any], what: str
    ) -> Callable[[Connection], None]:
        def unit(connection: Connection) -> None:
            changed = connection.execute(statement, {"which": image.number, **values}).rowcount
            exactly_one(changed, self.submission.uuid, what)

        return unit


def _count_requests(connection: Connection, rows: list[Any]) -> None:
    connection.execute(_COUNT_REQUEST, rows)


def _intend_to_send(connection: Connection, rows: list[Any]) -> None:
    exactly(len(rows), connection.execute(_SENDING, rows).rowcount, _of_images(rows), "send an image")


def _take_back(connection: Connection, rows: list[Any]) -> None:
    connection.execute(_NOT_DONE, rows)


@dataclass(frozen=True, slots=True)
class _Answered:
    """An upload request that was answered well: the rows of its images."""

    circuits: Circuits
    rows: list[dict[str, Any]]


def _acknowledge(connection: Connection, requests: list[_Answered]) -> None:
    rows = [row for request in requests for row in request.rows]
    exactly(len(rows), connection.execute(_ACKNOWLEDGED, rows).rowcount, _of_images(rows), "acknowledge an image")
    requests[0].circuits.succeeded_often(connection, [Api.UPLOAD] * len(requests))


def _note_archived(connection: Connection, rows: list[Any]) -> None:
    exactly(len(rows), connection.execute(_ARCHIVED, rows).rowcount, _of_images(rows), "archive an image")


def _of_images(rows: list[Any]) -> str:
    return f"of image {', '.join(str(row['which']) for row in rows)}"


def _numbers(images: Sequence[Image]) -> list[dict[str, Any]]:
    return [{"which": image.number} for image in images]
