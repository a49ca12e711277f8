"""What the one-shot remembers."""

import threading

import pytest

from moichord.clock import SystemClock
from moichord.errors import ApiTransient, Stopped
from moichord.oneshot.journal import MemoryJournal
from moichord.pipeline.journal import Journal
from moichord.sample import Acknowledgement, Api, Image, State, Step, Submission

SUBMISSION = Submission("8c6a1f0a-0000-5000-8000-000000000000", "S1", "S1", 1, State.PROCESSING, 0.0)


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def journal(stopping: threading.Event) -> MemoryJournal:
    return MemoryJournal(SUBMISSION, SystemClock(), stopping)


def image(name: str) -> Image:
    return Image(name, 10, 0, 1, "2.25.1", 4, "d", 4, 6)


def planned(journal: MemoryJournal) -> Image:
    journal.begin(Step.TAGS)
    journal.advance(Step.TAGS, {}, Step.UPLOAD, [image("a.dcm"), image("b.dcm")])
    return journal.images()[0]


def failure(retry_after: float | None) -> ApiTransient:
    return ApiTransient("no", api=Api.UPLOAD, retry_after=retry_after)


def test_it_is_a_journal(journal: MemoryJournal) -> None:
    one: Journal = journal
    assert one.submission is SUBMISSION


def test_a_finished_step_has_its_result_and_the_next_one_has_begun(journal: MemoryJournal) -> None:
    journal.begin(Step.METADATA)
    journal.advance(Step.METADATA, {"a": 1}, Step.TAGS)
    steps = journal.steps()
    assert steps[Step.METADATA].result == {"a": 1}
    assert steps[Step.METADATA].finished_at is not None
    assert steps[Step.TAGS].finished_at is None


def test_images_are_numbered_as_planned(journal: MemoryJournal) -> None:
    planned(journal)
    assert [(one.relative_path, one.number) for one in journal.images()] == [("a.dcm", 1), ("b.dcm", 2)]


def test_requests_and_acknowledgements_are_kept_for_each_image(journal: MemoryJournal) -> None:
    first = planned(journal)
    journal.sending(first)
    journal.sending(first)
    journal.acknowledged(Acknowledgement(first, 200, {"ID": "x"}, already_stored=True, tail_digest="t"))
    a, b = journal.images()
    assert (a.requests, a.status, a.reply, a.already_stored, a.tail_digest) == (2, 200, {"ID": "x"}, True, "t")
    assert a.acknowledged_at is not None
    assert (b.requests, b.acknowledged_at) == (0, None)


def test_a_refusal_is_kept(journal: MemoryJournal) -> None:
    journal.refused(planned(journal), "why")
    assert journal.images()[0].refused == "why"


def test_planning_again_forgets_the_images_but_not_the_record(journal: MemoryJournal) -> None:
    journal.begin(Step.METADATA)
    journal.advance(Step.METADATA, {"a": 1}, Step.TAGS)
    planned(journal)
    journal.replan()
    assert set(journal.steps()) == {Step.METADATA}
    assert journal.images() == []


def test_the_longest_time_that_answers_ask_for_is_told_once(journal: MemoryJournal) -> None:
    planned(journal)
    for seconds in (2.0, None, 7.0, 3.0):
        journal.failed(Step.UPLOAD, failure(seconds))
    assert journal.asked_to_wait() == 7.0
    assert journal.asked_to_wait() is None


def test_it_never_holds_and_stops_when_told_to(journal: MemoryJournal, stopping: threading.Event) -> None:
    journal.admit(Api.UPLOAD)
    journal.check_stop()
    assert not journal.cautious(Api.UPLOAD)
    stopping.set()
    with pytest.raises(Stopped):
        journal.admit(Api.UPLOAD)
    with pytest.raises(Stopped):
        journal.check_stop()
