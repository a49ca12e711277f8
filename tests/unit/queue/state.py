"""A real state on disk, with the verbs that tests of the queue speak in."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient, Hold
from moichord.outage import Circuit
from moichord.queue.arrivals import Arrivals, Taking
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.endings import Endings
from moichord.queue.journal import QueueJournal
from moichord.queue.requests import Requests
from moichord.queue.timekeeping import Timekeeper
from moichord.queue.transitions import Transitions
from moichord.queue.views import Views
from moichord.retry import Decision, GiveUp, HoldForApi, Policy
from moichord.sample import STEPS, Acknowledgement, Api, Arrival, Image, State, Step, Submission
from tests.fakes import FakeClock

POLICY = Policy(first_delay=2.0, max_delay=900.0, max_tries=20, give_up_after=3 * 86400.0)
API_OF = {Step.METADATA: Api.METADATA, Step.UPLOAD: Api.UPLOAD, Step.ANALYTICS: Api.ANALYTICS}


class Queue:
    """One daemon's view of one state."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path = path
        self.clock = clock
        self.database = Database(path)
        self.state_uuid = self.database.open()
        self.circuits = Circuits(clock)
        self.arrivals = Arrivals(self.database, clock)
        self.time = Timekeeper(clock)
        self.transitions = Transitions(self.database, self.time, self.circuits, owner="this run")
        self.endings = Endings(self.database, clock, self.circuits, owner="this run")
        self.requests = Requests(self.database, clock)
        self.views = Views(self.database)

    def close(self) -> None:
        self.database.close()

    def drop(self, *sample_ids: str, **known: Any) -> list[Submission]:
        """Take one folder for each sample ID: the submissions are ready."""
        submissions = self.arrivals.intend([taking(sample_id, **known) for sample_id in sample_ids])
        self.arrivals.taken(submissions)
        return [self.now(submission) for submission in submissions]

    def claim(self) -> Submission:
        claimed = self.transitions.claim()
        assert claimed is not None, "there was nothing to claim"
        return claimed

    def journal(self, submission: Submission, must_stop: str | None = None) -> QueueJournal:
        return QueueJournal(self.database, self.time, self.circuits, submission, lambda: must_stop)

    def reach(self, submission: Submission, step: Step, *, images: int = 1) -> QueueJournal:
        """Do the steps before `step`, as far as they are not done, and begin it."""
        journal = self.journal(submission)
        known = journal.steps()
        if not known:
            journal.begin(Step.METADATA)
            known = journal.steps()
        for one, following in pairwise(STEPS):
            if one is step:
                break
            if one not in known or known[one].finished_at is None:
                planned = [image(f"image-{number}.dcm") for number in range(images)] if one is Step.TAGS else None
                if one is Step.UPLOAD:
                    journal.acknowledged(
                        *(stored(image) for image in journal.images() if image.acknowledged_at is None)
                    )
                journal.advance(one, {"of": str(one)}, following, planned)
        self.settle()
        return journal

    def settle(self) -> None:
        """Return when all that was written without waiting is on disk."""
        self.database.write(lambda _: None)

    def turn(self, submission: Submission, step: Step, failure: ApiFailure | None, policy: Policy = POLICY) -> Any:
        """One request of a claimed submission: what the worker and the steps do with its answer.

        Returns what was decided about a failure, the Hold if it was not let out, None if it was answered well; the
        submission is then back in the queue as if the daemon had stopped, so that it can be claimed again.
        """
        journal = self.reach(submission, step)
        api = API_OF[step]
        try:
            journal.admit(api)
        except Hold as hold:
            self.transitions.hold(submission, hold.problem, hold.held_by, hold.seconds)
            return hold
        if failure is None:
            journal.answered(api)
            self.transitions.release(submission, "answered")
            return None
        journal.failed(step, failure)
        decision = self.transitions.defer(submission, step, failure, policy)
        if isinstance(decision, GiveUp):
            self.fail(submission, decision.why)
        return decision

    def fail(self, submission: Submission, reason: str = "it is broken", outcome: State = State.FAILED) -> Submission:
        """End a submission: decided, moved, recorded."""
        ended = self.endings.conclude(submission, outcome, submission.folder_name, reason, "mend it")
        self.endings.concluded(ended)
        return self.now(submission)

    def finish(self, submission: Submission) -> Submission:
        ended = self.endings.conclude(submission, State.DONE, submission.folder_name, None, None)
        self.endings.concluded(ended)
        return self.now(submission)

    def now(self, submission: Submission) -> Submission:
        """The submission as it is in the state now."""
        return self.views.detail(submission.uuid).submission

    def tries(self, submission: Submission, step: Step) -> int:
        return self.views.detail(submission.uuid).steps[step].tries

    def circuit(self, api: Api) -> Circuit:
        return next(circuit for circuit in self.views.overview().circuits if circuit.api is api)

    def told(self, submission: Submission) -> list[str]:
        return [event.text for event in self.views.detail(submission.uuid).events]


@contextmanager
def opened(path: Path, clock: FakeClock | None = None) -> Iterator[Queue]:
    queue = Queue(path, clock or FakeClock())
    try:
        yield queue
    finally:
        queue.close()


@contextmanager
def files_may_not_grow() -> Iterator[None]:
    """Every write beyond the size that the largest file has now fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def taking(sample_id: str = "S1", **known: Any) -> Taking:
    fields: dict[str, Any] = {
        "folder_name": sample_id,
        "sample_id": sample_id,
        "manifest": "m1",
        "file_count": 2,
        "image_count": 1,
        "size": 2000,
        "smallest_image": 1000,
    }
    return Taking(**{**fields, **known})


def arrival(folder_name: str = "S1", **known: Any) -> Arrival:
    fields: dict[str, Any] = {
        "folder_name": folder_name,
        "sample_id": folder_name,
        "reason": "still arriving",
        "manifest": "m1",
        "first_seen_at": 10.0,
        "last_change_at": 20.0,
        "file_count": 3,
        "image_count": 2,
        "size": 3000,
    }
    return Arrival(**{**fields, **known})


def image(relative_path: str = "image.dcm", **known: Any) -> Image:
    fields: dict[str, Any] = {
        "relative_path": relative_path,
        "size": 1000,
        "mtime_ns": 1_700_000_000_123_456_789,
        "inode": 42,
        "sop_instance_uid": "1.2.3",
        "header_length": 200,
        "header_digest": "aa",
        "tail_offset": 180,
        "tail_length": 820,
    }
    return Image(**{**fields, **known})


def outage(api: Api = Api.UPLOAD, problem: str = "nothing listens there", **known: Any) -> ApiOutage:
    return ApiOutage(problem, api=api, remedy="start the server", **known)


def transient(api: Api = Api.UPLOAD, problem: str = "it failed (500)", **known: Any) -> ApiTransient:
    return ApiTransient(problem, api=api, status=500, **known)


def refusal(api: Api = Api.UPLOAD, problem: str = "it refuses (400)") -> ApiRefusal:
    return ApiRefusal(problem, api=api, status=400)


def is_held(decision: Decision | Hold | None) -> bool:
    return isinstance(decision, HoldForApi | Hold)


def stored(image: Image, status: int = 200) -> Acknowledgement:
    return Acknowledgement(image, status, None, already_stored=False, tail_digest=None)
