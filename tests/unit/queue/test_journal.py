"""What the steps write down: steps, images, acknowledgements."""

import threading
from pathlib import Path

import pytest

from moichord.errors import StateUnwritable, Stopped
from moichord.queue.rows import IllegalTransition
from moichord.sample import Acknowledgement, Api, Change, Image, State, Step
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, image, opened, stored


def test_a_result_and_the_next_intent_are_one_commit(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim())
    journal.begin(Step.METADATA)
    clock.advance(3)
    journal.advance(Step.METADATA, {"patient-name": "X"}, Step.TAGS)
    queue.settle()
    steps = journal.steps()
    assert steps[Step.METADATA].result == {"patient-name": "X"}
    assert steps[Step.METADATA].finished_at == steps[Step.TAGS].started_at == clock.now()
    assert queue.now(journal.submission).step is Step.TAGS


def test_a_step_that_never_began_cannot_be_finished(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim())
    with pytest.raises(IllegalTransition, match="finish tags"):
        journal.advance(Step.TAGS, {}, Step.UPLOAD)
    assert set(journal.steps()) == {Step.METADATA}


def test_a_claim_is_the_beginning_of_the_first_step(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    began = queue.journal(queue.claim()).steps()[Step.METADATA]
    assert (began.started_at, began.finished_at) == (clock.now(), None)


def test_what_must_fail_begins_no_step(queue: Queue) -> None:
    queue.drop("S1", doomed="holds a pipe")
    assert queue.journal(queue.claim()).steps() == {}


def test_a_step_begun_again_keeps_when_it_began(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim())
    journal.begin(Step.METADATA)
    began = clock.now()
    clock.advance(100)
    journal.begin(Step.METADATA)
    assert journal.steps()[Step.METADATA].started_at == began


def test_requests_of_a_step_are_counted_with_its_next_commit(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim())
    journal.begin(Step.METADATA)
    journal.requesting(Step.METADATA)
    journal.requesting(Step.METADATA)
    journal.advance(Step.METADATA, {}, Step.TAGS)
    queue.settle()
    assert journal.steps()[Step.METADATA].requests == 2


def everything(relative_path: str) -> Image:
    """An image with a value in every field."""
    return image(
        relative_path,
        inode=2**64 - 1,
        mtime_ns=15_000_000_000_000_000_000,
        changes=(Change("PatientName", None, "X"), Change("PatientID", "P1", None)),
        warnings=("odd length",),
        carried=True,
        duplicate_of="first.dcm",
    )


def test_planned_images_come_back_as_they_were(folder: Path) -> None:
    odd = b"d\xe9j\xe0/vu \xff.dcm".decode("utf-8", "surrogateescape")
    planned = [everything("a.dcm"), everything(odd), image("c.dcm", duplicate_of=odd)]
    with opened(folder / "state.db") as queue:
        queue.drop("S1")
        submission = queue.claim()
        journal = queue.reach(submission, Step.TAGS)
        journal.advance(Step.TAGS, {}, Step.UPLOAD, planned)
    with opened(folder / "state.db") as queue:
        found = queue.journal(submission).images()
        assert [Image(**{**fields(one), "number": None}) for one in found] == planned
        assert len({one.number for one in found}) == 3


def fields(one: Image) -> dict[str, object]:
    return {name: getattr(one, name) for name in Image.__dataclass_fields__}


def test_a_plan_that_is_made_again_replaces_the_first(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.TAGS)
    journal.advance(Step.TAGS, {}, None, [image("a"), image("b")])
    journal.advance(Step.TAGS, {}, Step.UPLOAD, [image("c")])
    assert [one.relative_path for one in journal.images()] == ["c"]


def test_an_acknowledgement_is_on_disk_with_its_reply(folder: Path, clock: FakeClock) -> None:
    with opened(folder / "state.db", clock) as queue:
        queue.drop("S1")
        submission = queue.claim()
        journal = queue.reach(submission, Step.UPLOAD, images=2)
        first, _ = journal.images()
        journal.sending(first)
        journal.acknowledged(
            Acknowledgement(first, 200, {"Status": "AlreadyStored"}, already_stored=True, tail_digest="ab")
        )
    with opened(folder / "state.db", clock) as queue:
        first, second = queue.journal(submission).images()
        assert (first.acknowledged_at, first.status, first.reply) == (clock.now(), 200, {"Status": "AlreadyStored"})
        assert (first.already_stored, first.tail_digest, first.requests) == (True, "ab", 1)
        assert (second.acknowledged_at, second.requests) == (None, 0)


def test_an_acknowledged_image_is_never_sent_nor_acknowledged_again(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.UPLOAD)
    (only,) = journal.images()
    journal.acknowledged(stored(only, 200))
    with pytest.raises(IllegalTransition, match="send an image"):
        journal.sending(only)
    journal.acknowledged(stored(only, 500))
    queue.settle()
    assert "acknowledge an image" in caplog.text
    assert journal.images()[0].status == 200
    assert queue.circuit(Api.UPLOAD).successes == 1


def test_an_image_that_is_planned_no_more_cannot_be_acknowledged(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.TAGS)
    journal.advance(Step.TAGS, {}, None, [image("a")])
    (gone,) = journal.images()
    journal.advance(Step.TAGS, {}, Step.UPLOAD, [image("b")])
    journal.acknowledged(stored(gone))
    with pytest.raises(IllegalTransition, match="acknowledge an image"):  # what kept it from being written
        journal.advance(Step.UPLOAD, None, Step.ANALYTICS)
    assert [one.acknowledged_at for one in journal.images()] == [None]


def test_what_was_just_planned_is_known_as_it_stands_in_the_state(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    journal = queue.reach(submission, Step.TAGS)
    journal.advance(Step.TAGS, {}, Step.UPLOAD, [everything("a"), image("b")])
    at_once = journal.images()
    assert at_once == queue.journal(submission).images()
    journal.acknowledged(stored(at_once[1]))
    queue.settle()
    assert journal.images()[1].status == 200


def test_a_result_that_went_along_and_was_lost_lets_the_next_one_wait_for_the_disk(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim())
    journal.begin(Step.METADATA)
    journal.advance(Step.METADATA, {}, Step.TAGS)
    queue.database._along.clear()  # as if its commit had failed
    with pytest.raises(StateUnwritable, match="the step before"):
        journal.advance(Step.TAGS, {}, Step.UPLOAD, [image("a")])
    assert set(journal.steps()) == {Step.METADATA}


def test_the_upload_has_no_result_before_each_acknowledgement_is_written(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.UPLOAD, images=2)
    first, second = journal.images()
    assert journal.missing() == 2
    journal.acknowledged(stored(first))
    with pytest.raises(StateUnwritable):
        journal.advance(Step.UPLOAD, None, Step.ANALYTICS)
    assert journal.steps()[Step.UPLOAD].finished_at is None
    journal.acknowledged(stored(second))
    journal.advance(Step.UPLOAD, None, Step.ANALYTICS)
    assert journal.missing() == 0
    assert journal.steps()[Step.UPLOAD].finished_at is not None


def test_acknowledgements_that_come_together_are_all_kept(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.UPLOAD, images=40)
    together = threading.Barrier(40)

    def send(one: Image) -> None:
        together.wait(10)
        journal.sending(one)
        journal.acknowledged(Acknowledgement(one, 200, {"of": one.relative_path}, tail_digest="ab"))

    threads = [threading.Thread(target=send, args=(one,)) for one in journal.images()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    queue.settle()
    assert all(one.reply == {"of": one.relative_path} and one.requests == 1 for one in journal.images())
    assert queue.circuit(Api.UPLOAD).successes == 40


def test_a_refusal_is_kept_with_its_reason_and_an_acknowledgement_removes_it(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.UPLOAD)
    journal.refused(journal.images()[0], "too large (413)")
    assert journal.images()[0].refused == "too large (413)"
    journal.acknowledged(stored(journal.images()[0]))
    queue.settle()
    assert journal.images()[0].refused is None


def test_an_archived_image_has_its_digest(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    journal = queue.reach(submission, Step.ARCHIVE)
    journal.archived(journal.images()[0], "0123")
    journal.advance(Step.ARCHIVE, None, None)
    queue.endings.conclude(submission, State.DONE, "S1", None, None)
    assert journal.images()[0].sha256 == "0123"
    assert journal.steps()[Step.ARCHIVE].finished_at is not None


def test_how_long_files_are_unchanged_is_known_across_restarts(folder: Path, clock: FakeClock) -> None:
    with opened(folder / "state.db", clock) as queue:
        queue.drop("S1")
        submission = queue.claim()
        assert queue.journal(submission).unchanged_for("m2") == 0.0
        clock.advance(40)
    with opened(folder / "state.db", clock) as queue:
        assert queue.journal(submission).unchanged_for("m2") == 40.0
        assert queue.journal(submission).unchanged_for("m3") == 0.0


def test_a_submission_that_is_to_be_left_is_left_before_the_next_request(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.journal(queue.claim(), must_stop="cancelled")
    with pytest.raises(Stopped, match="cancelled"):
        journal.check_stop()
    with pytest.raises(Stopped, match="cancelled"):
        journal.admit(Api.UPLOAD)
