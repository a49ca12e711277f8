"""The ways out and back: conclude, retry, and what a crash between leaves."""

import pytest

from moichord.errors import UsageRefused
from moichord.queue.endings import Reopening
from moichord.queue.requests import reopening
from moichord.queue.rows import IllegalTransition
from moichord.retry import RetryAt
from moichord.sample import STEPS, Acknowledgement, Api, Image, State, Step, StepRecord, Submission
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, image, outage, transient

DAY = 24 * 3600.0


@pytest.mark.parametrize("outcome", [State.DONE, State.FAILED, State.CANCELLED])
def test_an_end_is_decided_before_the_folder_moves_and_recorded_after(
    queue: Queue, clock: FakeClock, outcome: State
) -> None:
    queue.drop("S1")
    submission = queue.claim()
    decided = queue.endings.conclude(submission, outcome, "S1.attempt-001", "a reason", "a remedy")
    assert (decided.state, decided.intent, decided.outcome) == (State.PROCESSING, "conclude", outcome)
    assert (decided.place, decided.finished_at) == ("S1.attempt-001", clock.now())
    assert queue.endings.concluded(decided) is outcome
    ended = queue.now(submission)
    assert (ended.state, ended.intent, ended.reason, ended.remedy) == (outcome, None, "a reason", "a remedy")


def test_another_place_can_be_chosen_while_the_folder_has_not_moved(queue: Queue) -> None:
    queue.drop("S1")
    decided = queue.endings.conclude(queue.claim(), State.FAILED, "S1", "a reason", None)
    again = queue.endings.conclude(decided, State.FAILED, "S1.attempt-001", decided.reason, decided.remedy)
    assert (again.place, again.reason) == ("S1.attempt-001", "a reason")


@pytest.mark.parametrize("delay", ["the daemon died", "the disk was full"])
def test_why_a_sample_failed_survives_whatever_delays_its_move(queue: Queue, delay: str) -> None:
    queue.drop("S1")
    decided = queue.endings.conclude(queue.claim(), State.FAILED, "S1", "image 3 is no DICOM", "export it again")
    if delay == "the daemon died":
        queue.transitions.release(decided, "interrupted; goes on")
    else:
        queue.transitions.hold(decided, "the disk is full", "disk", 0.0)
    waiting = queue.now(decided)
    assert (waiting.state, waiting.intent, waiting.reason) == (State.WAITING, "conclude", "image 3 is no DICOM")
    claimed = queue.claim()
    assert (claimed.intent, claimed.outcome, claimed.place) == ("conclude", State.FAILED, "S1")
    queue.endings.concluded(claimed)
    ended = queue.now(decided)
    assert (ended.reason, ended.remedy) == ("image 3 is no DICOM", "export it again")


@pytest.mark.parametrize("outcome", [State.FAILED, State.CANCELLED])
@pytest.mark.parametrize("decided", [False, True])
def test_a_sample_without_a_folder_ends_at_once(queue: Queue, outcome: State, decided: bool) -> None:
    queue.drop("S1")
    submission = queue.claim()
    if decided:
        submission = queue.endings.conclude(submission, outcome, "S1", "a reason", None)
    queue.endings.conclude_without_folder(submission, outcome, "its folder is gone", "drop it again")
    ended = queue.now(submission)
    assert (ended.state, ended.intent, ended.place) == (outcome, None, None)
    assert (ended.reason, ended.remedy) == ("its folder is gone", "drop it again")
    assert queue.told(submission)[-1] == "its folder is gone"
    with pytest.raises(IllegalTransition):
        queue.endings.conclude_without_folder(submission, outcome, "again", None)


def test_a_finished_sample_waits_for_nothing(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.turn(submission, Step.UPLOAD, outage())
    ended = queue.fail(queue.now(submission), outcome=State.CANCELLED)
    assert (ended.held_by, ended.next_try_at) == (None, None)
    assert queue.transitions.next_due() is None


def failed_at(queue: Queue, step: Step) -> Submission:
    queue.drop("S1")
    submission = queue.claim()
    queue.reach(submission, step)
    return queue.fail(submission)


def retry(queue: Queue, submission: Submission, from_step: Step | None = None) -> Submission:
    known = queue.views.detail(submission.uuid)
    queue.endings.reopen(known.submission, reopening(known.submission, known.steps, known.images, from_step))
    queue.endings.reopened(submission, "m2")
    return queue.now(submission)


def test_a_retried_sample_is_the_same_submission_and_due_at_once(queue: Queue) -> None:
    before = failed_at(queue, Step.METADATA)
    after = retry(queue, before)
    assert (after.state, after.uuid, after.attempt_number) == (State.READY, before.uuid, 1)
    assert (after.outcome, after.reason, after.finished_at, after.place) == (None, None, None, None)
    assert after.manifest == "m2"
    assert queue.claim().uuid == before.uuid


def test_before_any_upload_it_begins_anew_with_a_fresh_record(queue: Queue) -> None:
    submission = failed_at(queue, Step.UPLOAD)
    after = retry(queue, submission)
    assert after.step is Step.METADATA
    assert queue.views.detail(submission.uuid).steps == {}


def test_after_an_upload_metadata_and_tags_stand_and_acknowledged_images_too(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    journal = queue.reach(submission, Step.UPLOAD, images=3)
    first, second, _ = journal.images()
    journal.sending(first)
    journal.acknowledged(Acknowledgement(first, 200, None, already_stored=False, tail_digest="ab"))
    journal.sending(second)
    journal.refused(second, "too large (413)")
    queue.fail(submission)
    after = retry(queue, submission)
    known = queue.views.detail(submission.uuid)
    assert after.step is Step.UPLOAD
    assert set(known.steps) == {Step.METADATA, Step.TAGS, Step.UPLOAD}
    assert [one.acknowledged_at is not None for one in known.images] == [True, False, False]
    assert [one.refused for one in known.images] == [None, None, None]
    assert [one.requests for one in known.images] == [1, 1, 0]


def test_its_tries_and_its_time_begin_anew(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    submission = queue.claim()
    journal = queue.reach(submission, Step.UPLOAD)
    journal.sending(journal.images()[0])
    queue.transitions.hold(submission, "the share is gone", "disk", DAY)
    clock.advance(DAY)
    for _ in range(2):
        submission = queue.claim()
        queue.turn(submission, Step.UPLOAD, transient())
        clock.advance(900)
    queue.fail(queue.claim())
    clock.advance(30 * DAY)
    retry(queue, submission)
    journal.answered(Api.UPLOAD)  # the server answers others: the next failure counts
    clock.advance(3 * DAY - 10)
    assert isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), RetryAt)
    clock.advance(900)
    assert not isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), RetryAt)


def test_a_done_sample_repeats_analytics_under_a_new_key(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.reach(submission, Step.ARCHIVE)
    queue.finish(submission)
    after = retry(queue, submission, Step.ANALYTICS)
    assert (after.step, after.repetition) == (Step.ANALYTICS, 1)
    steps = queue.views.detail(submission.uuid).steps
    assert steps[Step.ANALYTICS].finished_at is None
    assert steps[Step.UPLOAD].finished_at is not None
    assert Step.ARCHIVE in steps, "its images lie as they are to be kept: nothing of that is done again"


def test_a_sample_whose_folder_could_not_come_back_stays_as_it_had_ended(queue: Queue) -> None:
    submission = failed_at(queue, Step.METADATA)
    queue.endings.reopen(submission, Reopening(Step.METADATA, STEPS, ()))
    assert [one.uuid for one in queue.endings.half_brought_back()] == [submission.uuid]
    queue.endings.stay_out(submission)
    assert queue.endings.half_brought_back() == []
    assert (queue.now(submission).state, queue.now(submission).reason) == (State.FAILED, "it is broken")
    assert queue.transitions.claim() is None


@pytest.mark.parametrize(
    ("size", "later_ns", "is_same"),
    [
        (1000, 0, True),
        (1000, -456_789, True),
        (1000, -1_999_999_999, True),
        (1000, 1_000_000_000, True),
        (1000, 2_000_000_000, False),
        (1001, 0, False),
    ],
)
def test_an_image_that_comes_back_as_a_copy_is_the_one_that_was_planned(
    queue: Queue, size: int, later_ns: int, is_same: bool
) -> None:
    submission = failed_at(queue, Step.UPLOAD)
    before = queue.views.detail(submission.uuid).images[0]
    queue.endings.reopen(submission, Reopening(Step.UPLOAD, (), ()))
    back = (2**64 - 1, size, before.mtime_ns + later_ns)
    queue.endings.reopened(submission, "m2", {before.relative_path: back, "notes.txt": (7, 1, 1)})
    after = queue.views.detail(submission.uuid).images[0]
    unlike = (before.inode, before.mtime_ns)
    assert (after.inode, after.mtime_ns) == ((back[0], back[2]) if is_same else unlike)


def test_only_the_newest_submission_of_a_sample_comes_back(queue: Queue) -> None:
    old = failed_at(queue, Step.METADATA)
    queue.drop("S1")
    with pytest.raises(IllegalTransition):
        queue.endings.reopen(old, Reopening(Step.METADATA, STEPS, ()))
    queue.fail(queue.claim())
    with pytest.raises(IllegalTransition):
        queue.endings.reopen(old, Reopening(Step.METADATA, STEPS, ()))


def test_a_sample_comes_back_once(queue: Queue) -> None:
    submission = failed_at(queue, Step.METADATA)
    queue.endings.reopen(submission, Reopening(Step.METADATA, STEPS, ()))
    with pytest.raises(IllegalTransition):
        queue.endings.reopen(submission, Reopening(Step.METADATA, STEPS, ()))


# What may be asked: a table


def submission(state: State) -> Submission:
    return Submission("00000000-0000-0000-0000-000000000001", "S1", "S1", 1, state, 0.0, place="S1")


def steps_until(step: Step, *, finished: bool = False) -> dict[Step, StepRecord]:
    before = STEPS[: STEPS.index(step)]
    records = {one: StepRecord(one, finished_at=1.0) for one in before}
    return {**records, step: StepRecord(step, finished_at=1.0 if finished else None)}


NOT_SENT = [image("a"), image("b")]
HALF_SENT = [image("a", requests=1, acknowledged_at=1.0), image("b", requests=1)]
ALL_SENT = [image("a", requests=1, acknowledged_at=1.0), image("b", carried=True)]
ANEW = Reopening(Step.METADATA, STEPS, ())
UPLOAD = Reopening(Step.UPLOAD, (Step.ANALYTICS, Step.ARCHIVE), (Step.UPLOAD,))
ANALYTICS = Reopening(Step.ANALYTICS, (Step.ARCHIVE,), (Step.ANALYTICS,))
ANALYTICS_ALONE = Reopening(Step.ANALYTICS, (), (Step.ANALYTICS,))
ARCHIVE = Reopening(Step.ARCHIVE, (), (Step.ARCHIVE,))
U, A, R = steps_until(Step.UPLOAD), steps_until(Step.ANALYTICS), steps_until(Step.ARCHIVE)


@pytest.mark.parametrize(
    ("state", "steps", "images", "from_step", "expected"),
    [
        (State.FAILED, {}, [], None, ANEW),
        (State.CANCELLED, {}, [], None, ANEW),
        (State.FAILED, U, NOT_SENT, None, ANEW),
        (State.FAILED, U, NOT_SENT, Step.METADATA, ANEW),
        (State.FAILED, U, NOT_SENT, Step.UPLOAD, "Nothing of S1 was uploaded yet"),
        (State.FAILED, U, HALF_SENT, None, UPLOAD),
        (State.CANCELLED, U, HALF_SENT, Step.UPLOAD, UPLOAD),
        (State.FAILED, U, HALF_SENT, Step.METADATA, "its metadata and tags stand"),
        (State.FAILED, U, HALF_SENT, Step.TAGS, "its metadata and tags stand"),
        (State.FAILED, U, HALF_SENT, Step.ANALYTICS, "1 of the images of S1 are not stored yet"),
        (State.FAILED, U, HALF_SENT, Step.ARCHIVE, "1 of the images of S1 are not stored yet"),
        (State.FAILED, A, ALL_SENT, None, ANALYTICS),
        (State.FAILED, A, ALL_SENT, Step.UPLOAD, UPLOAD),
        (State.FAILED, R, ALL_SENT, None, ARCHIVE),
        (State.FAILED, R, ALL_SENT, Step.ANALYTICS, ANALYTICS),
        (State.FAILED, steps_until(Step.ARCHIVE, finished=True), ALL_SENT, None, ARCHIVE),
        (State.FAILED, R, ALL_SENT, Step.UPLOAD, "its filing had begun"),
        (State.DONE, R, ALL_SENT, Step.ANALYTICS, ANALYTICS_ALONE),
        (State.DONE, R, ALL_SENT, None, "only analytics can be repeated"),
        (State.DONE, R, ALL_SENT, Step.UPLOAD, "only analytics can be repeated"),
        (State.READY, {}, [], None, "only a failed or cancelled sample"),
        (State.PROCESSING, U, HALF_SENT, None, "only a failed or cancelled sample"),
        (State.WAITING, U, HALF_SENT, Step.UPLOAD, "only a failed or cancelled sample"),
    ],
)
def test_what_retry_may_be_asked(
    state: State,
    steps: dict[Step, StepRecord],
    images: list[Image],
    from_step: Step | None,
    expected: Reopening | str,
) -> None:
    if isinstance(expected, Reopening):
        assert reopening(submission(state), steps, images, from_step) == expected
    else:
        with pytest.raises(UsageRefused, match=expected):
            reopening(submission(state), steps, images, from_step)
