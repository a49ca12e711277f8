"""A state in which samples are at every point of their trip, made by the queue's own verbs.

Owns the story; its clock is moved by hand. It must not know how the state is shown.
"""

import threading
import uuid
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection, select

from moichord.errors import ApiOutage, ApiTransient
from moichord.queue.arrivals import Arrivals, Taking
from moichord.queue.bulletin import Bulletin
from moichord.queue.circuits import Circuits
from moichord.queue.database import Database
from moichord.queue.endings import Endings
from moichord.queue.journal import QueueJournal
from moichord.queue.requests import Requests
from moichord.queue.schema import history, submissions
from moichord.queue.timekeeping import Timekeeper
from moichord.queue.transitions import Transitions
from moichord.queue.views import Views
from moichord.receipt import receipt, receipt_text
from moichord.retry import Policy
from moichord.sample import RECEIPT_NAME, Acknowledgement, Api, Arrival, Change, Image, State, Step, Submission
from moichord.status.standing import Standing, look

MIB = 2**20
NOON = 1_700_000_000.0
PATIENT = "Secret^Name"
REFUSED = "The image server at http://images.test/ refused the connection: nothing listens there."


class HandClock:
    """Stands still until it is moved."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.at += seconds
        return event.is_set()


class Lab:
    """One state and its folders below `root`."""

    def __init__(self, root: Path, clock: HandClock | None = None) -> None:
        self.clock = clock or HandClock()
        self.root = root
        self.failed = root / "failed"
        self.state = root / "state" / "state.db"
        for folder in ("inbox", "work", "done", "failed", "state"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.database = Database(self.state)
        self.database.open()
        circuits = Circuits(self.clock)
        self._circuits = circuits
        self.arrivals = Arrivals(self.database, self.clock)
        self.time = Timekeeper(self.clock)
        self.transitions = Transitions(self.database, self.time, circuits, "test")
        self.endings = Endings(self.database, self.clock, circuits, "test")
        self.requests = Requests(self.database, self.clock)
        self.bulletin = Bulletin(self.database)
        self.views = Views(self.database)

    def close(self) -> None:
        self.database.close()

    def standing(self, *, daemon: bool = True) -> Standing:
        return look(self.views, self.failed, lambda: daemon, self.clock)

    def arriving(self, name: str, reason: str = "waiting 43 s more without a change", **fields: object) -> Arrival:
        now = self.clock.now()
        known: dict[str, object] = {"sample_id": name, "first_seen_at": now - 20, "last_change_at": now - 2}
        known |= {"file_count": 3, "image_count": 3, "size": 40 * MIB} | fields
        arrival = Arrival(folder_name=name, reason=reason, manifest="m", **known)  # type: ignore[arg-type]
        self.arrivals.record([arrival], [])
        return arrival

    def taken(self, sample_id: str, size: int = 100 * MIB) -> Submission:
        taking = Taking(sample_id, sample_id, "m", 4, 3, size, MIB)
        (submission,) = self.arrivals.intend([taking])
        self.arrivals.taken([submission])
        return self.now(submission)

    def processing(self, sample_id: str, upto: Step = Step.METADATA) -> Submission:
        """In work, at the step `upto`; its images are planned before the upload."""
        submission = self.transitions.claim_this(self.taken(sample_id))
        journal = self.journal(submission)
        journal.begin(Step.METADATA)
        order = list(Step)
        for step, following in pairwise(order):
            if order.index(step) >= order.index(upto):
                break
            self.clock.at += 1
            if step is Step.UPLOAD:
                journal.acknowledged(*(Acknowledgement(image, 200, {}, tail_digest="00") for image in journal.images()))
            journal.advance(step, {"patient-name": PATIENT}, following, _images() if step is Step.TAGS else None)
        self.settle()
        return self.now(submission)

    def journal(self, submission: Submission) -> QueueJournal:
        return QueueJournal(self.database, self.time, self._circuits, submission, lambda: None)

    def sent(self, submission: Submission, count: int) -> None:
        """That many of its images are acknowledged."""
        journal = self.journal(submission)
        for image in journal.images()[:count]:
            journal.sending(image)
            journal.acknowledged(
                Acknowledgement(image, 200, {"Status": "Success", "ParentPatient": PATIENT}, tail_digest="00")
            )
        self.settle()

    def settle(self) -> None:
        """Return when all that was written without waiting is on disk."""
        self.database.write(lambda _: None)

    def refused(self, submission: Submission, why: str) -> None:
        """The server refuses its last image."""
        journal = self.journal(submission)
        image = journal.images()[-1]
        journal.sending(image)
        journal.refused(image, why)

    def transient(self, submission: Submission) -> Submission:
        failure = ApiTransient(
            "The metadata server failed (500).",
            api=Api.METADATA,
            remedy="Nothing to do now: moichord tries again. If this goes on, look at that server's own log.",
        )
        self.transitions.defer(submission, submission.step, failure, Policy(2.0, 900.0, 20, 86400.0 * 3))
        return self.now(submission)

    def outage(self, submission: Submission) -> Submission:
        failure = ApiOutage(REFUSED, api=Api.UPLOAD, remedy="Start that server, or check upload.url.")
        self.journal(submission).failed(Step.UPLOAD, failure)
        self.transitions.defer(submission, Step.UPLOAD, failure, Policy(2.0, 900.0, 20, 86400.0 * 3))
        return self.now(submission)

    def ended(
        self, submission: Submission, outcome: State, reason: str | None = None, remedy: str | None = None
    ) -> None:
        """It ends, and its folder lies where it belongs, with its receipt."""
        concluded = self.endings.conclude(submission, outcome, submission.folder_name, reason, remedy)
        self.endings.concluded(concluded)
        place = self.root / ("done" if outcome is State.DONE else "failed") / submission.folder_name
        place.mkdir()
        place.joinpath(RECEIPT_NAME).write_text(receipt_text(receipt(self.now(submission), {}, [])))

    def copies(self, submission: Submission, number: int) -> None:
        """As many more like this one, of other sample IDs; finished ones each a few minutes before the last."""

        def unit(connection: Connection) -> None:
            row = connection.execute(select(submissions).where(submissions.c.uuid == submission.uuid)).one()._mapping
            ended = row["finished_at"]
            made = [
                {**row, "uuid": str(uuid.uuid4()), "sample_id": f"MO-{n}", "finished_at": ended and ended - 200 * n}
                for n in range(1, number + 1)
            ]
            connection.execute(submissions.insert(), made)
            event = {
                "at": ended or self.clock.now(),
                "state": "ready",
                "step": None,
                "text": "taken from the inbox",
                "detail": None,
            }
            events = [{**event, "sample_id": one["sample_id"], "submission": one["uuid"]} for one in made]
            connection.execute(history.insert(), events)

        self.database.write(unit)

    def now(self, submission: Submission) -> Submission:
        found = self.views.newest(submission.uuid)
        assert found is not None
        return found


def _images() -> list[Image]:
    changes = (Change("PatientName", None, PATIENT),)
    sizes = (20 * MIB, 30 * MIB, 50 * MIB)
    return [
        Image(f"slide-{number}.dcm", size, 0, number, f"2.25.{number}", 1000, "ab", 1000, size - 1000, changes=changes)
        for number, size in enumerate(sizes)
    ]


def whole_story(lab: Lab) -> None:
    """Samples in every state."""
    lab.ended(lab.processing("MO-1000", Step.ARCHIVE), State.DONE)
    lab.clock.at += 3700
    unknown = "The metadata server does not know the sample MO-1003 (404)."
    mend = "Check the folder's name, and that the sample is registered; then drop it again or retry it."
    lab.ended(lab.processing("MO-1003"), State.FAILED, unknown, mend)
    lab.clock.at += 60
    lab.ended(lab.processing("MO-1009"), State.CANCELLED, "Cancelled by request.")
    lab.transient(lab.processing("MO-1002"))
    sending = lab.processing("MO-1001", Step.UPLOAD)
    lab.sent(sending, 2)
    lab.bulletin.publish([], {sending.uuid: 9 * MIB})
    lab.processing("MO-1006", Step.TAGS)
    lab.taken("MO-1007")
    lab.arriving("MO-1005")
    lab.arriving(
        "my slides (2)", "its name is not a sample ID: rename the folder to the ID of the sample", sample_id=None
    )
