"""What the pipeline's steps write down while a submission is processed: the `Journal` of the daemon.

Owns `steps`, and when something is written of `images` (`image_records` has how). It must not know what a step does.
Errors: Hold while an API's circuit is open, Stopped when the submission is to be left, StateUnwritable.

Intent first: a step's start, and each image's request, is committed before the first byte goes out; the answer after.
Where no side effect lies between a result and the next intent, both are one commit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from moichord import retry
from moichord.errors import ApiFailure, ApiOutage, StateUnwritable, Stopped
from moichord.queue import image_records
from moichord.queue.beginnings import go_to
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.rows import exactly_one, step_of
from moichord.queue.schema import steps, submissions
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
_NOTHING_FOLLOWS_OUTSIDE = (Step.METADATA, Step.ARCHIVE)
"""Before what follows these leaves this machine, or moves the sample, there is another commit; and should that never
come, the metadata is fetched again, and what is archived is recognised."""


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
        self._planned: list[Image] | None = None  # as they stand in the state, until somebody asks for them
        self._all_stored = False
        self._unwritten: BaseException | None = None  # why an acknowledgement is missing
        self._along = False  # whether the result before this one was not waited for
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
        """Result of `step`, its images where it is the tags step, and the intent of the next step: one commit.

        The upload has a result once all that was acknowledged is written: else what kept that from being written is
        raised, or StateUnwritable.
        """
        of = self.submission.uuid

        def unit(connection: Connection) -> list[Image] | None:
            now = self._time.now(connection)
            if step is Step.UPLOAD and image_records.missing(connection, of):
                raise self._unwritten or StateUnwritable("What the server acknowledged could not be written down.")
            if planned is not None:
                image_records.plan(connection, of, planned)
            values = {"of": of, "at_step": str(step), "now": now, "outcome": result}
            finished = connection.execute(_FINISH, values).rowcount
            if not finished and self._along:
                raise StateUnwritable("The result of the step before could not be written down.")
            exactly_one(finished, of, f"finish {step}")
            self._clear_suspicion(connection)
            if begins is not None:
                go_to(connection, of, begins, now)
                if terms is not None:
                    connection.execute(_GOES_BY, {"of": of, "at_step": str(begins), "terms": terms})
            return None if planned is None else image_records.images_of(connection, of)

        if step in _NOTHING_FOLLOWS_OUTSIDE and not self.submission.crashes:
            self._database.write_along(unit)
            self._along = True
        else:
            self._planned = self._database.write(unit)
            self._all_stored = step is Step.UPLOAD

    def images(self) -> list[Image]:
        planned, self._planned = self._planned, None
        if planned is not None:
            return planned
        with self._database.read() as connection:
            return image_records.images_of(connection, self.submission.uuid)

    def missing(self) -> int:
        if self._all_stored:
            return 0
        with self._database.read() as connection:
            return image_records.missing(connection, self.submission.uuid)

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
                image_records.take_back(connection, image_records.numbers(images))

        self._database.write(unit)

    def sending(self, *images: Image) -> None:
        """Intent: the first byte of the request that brings `images` is about to go out."""
        self._database.write(Alike(image_records.intend_to_send, image_records.numbers(images)))

    def not_sent(self, *images: Image) -> None:
        """The request of `images` that was intended has not gone out."""
        if not images:
            return
        # Written along: if it is lost, the server is thought to have had that request.
        self._database.write_along(Alike(image_records.take_back, image_records.numbers(images)))

    def acknowledged(self, *acknowledgements: Acknowledgement, written: Callable[[], None] | None = None) -> None:
        """Result: the server has these images; never sent again. One commit: all of them or none.

        It is not waited for while nothing is amiss: the result of the step, which needs them all, is written after it.
        """
        request = image_records.answered(self._circuits, acknowledgements, self._time.clock.now())

        def unit(connection: Connection) -> None:
            image_records.acknowledge(connection, [request])
            self._clear_suspicion(connection)

        def ended(error: BaseException | None) -> None:
            self._unwritten = self._unwritten or error
            if written is not None:
                written()

        if not self.submission.crashes and self._circuits.is_steady(Api.UPLOAD):
            self._database.write_soon(Alike(image_records.acknowledge, [request]), ended)
            return
        try:
            self._database.write(unit)
        finally:
            if written is not None:
                written()

    def _clear_suspicion(self, connection: Connection) -> None:
        """What has brought a sample further has not broken moichord off."""
        if self.submission.crashes:
            connection.execute(_PROGRESS, {"of": self.submission.uuid})

    def refused(self, image: Image, why: str) -> None:
        """Result: the server refuses `image` for good."""
        self._database.write(lambda connection: image_records.refuse(connection, image, why))

    def archived(self, image: Image, sha256: str) -> None:
        """Result: `image` lies as it is to be kept; SHA-256 of the whole file as sent."""
        # Written along: an image that lies there in its new form is recognised, and its digest taken again.
        self._database.write_along(Alike(image_records.note_archived, [image_records.digest(image, sha256)]))


def _count_requests(connection: Connection, rows: list[Any]) -> None:
    connection.execute(_COUNT_REQUEST, rows)
