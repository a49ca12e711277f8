"""Read models: what status, history, receipts, page and metrics show."""

import pytest

from moichord.queue.bulletin import Bulletin
from moichord.queue.glance import Progress
from moichord.sample import Api, State, Step
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, arrival, image, outage, stored


def test_an_empty_state_shows_nothing(queue: Queue) -> None:
    overview = queue.views.overview()
    assert (overview.receiving, overview.unfinished, overview.recent, overview.counts) == ([], [], [], {})
    assert [circuit.api for circuit in overview.circuits] == list(Api)
    assert not any(circuit.is_open for circuit in overview.circuits)
    assert (overview.paused_at, overview.notices, overview.progress) == (None, [], {})


def test_the_overview_shows_what_arrives_what_is_in_work_and_what_ended_last(queue: Queue, clock: FakeClock) -> None:
    queue.arrivals.record([arrival("S9", first_seen_at=2.0), arrival("S8", first_seen_at=1.0)], gone=())
    for number in range(4):
        queue.drop(f"S{number}")
        clock.advance(1)
    for _ in range(2):
        queue.finish(queue.claim())
        clock.advance(1)
    queue.turn(queue.claim(), Step.UPLOAD, outage())
    overview = queue.views.overview(recent=1)
    assert [one.folder_name for one in overview.receiving] == ["S8", "S9"]
    assert [(one.sample_id, one.state) for one in overview.unfinished] == [
        ("S2", State.WAITING),
        ("S3", State.READY),
    ]
    assert [one.sample_id for one in overview.recent] == ["S1"]
    assert overview.counts == {State.DONE: 2, State.WAITING: 1, State.READY: 1}
    assert [circuit.api for circuit in overview.circuits if circuit.is_open] == [Api.UPLOAD]


def test_a_sample_whose_folder_is_on_its_way_is_not_shown_as_ended(queue: Queue) -> None:
    queue.drop("S1")
    queue.endings.conclude(queue.claim(), State.DONE, "S1", None, None)
    overview = queue.views.overview()
    assert overview.recent == []
    assert [one.intent for one in overview.unfinished] == ["conclude"]


def test_progress_counts_what_is_sent_and_what_is_acknowledged(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.TAGS)
    planned = [image("a"), image("b", tail_length=1800), image("c", carried=True), image("d", duplicate_of="a")]
    journal.advance(Step.TAGS, {}, Step.UPLOAD, planned)
    uuid = journal.submission.uuid
    assert queue.views.overview().progress == {uuid: Progress(2, 0, 3020, 0)}
    journal.acknowledged(stored(journal.images()[1]))
    queue.settle()
    assert queue.views.overview().progress == {uuid: Progress(2, 1, 3020, 2000)}
    queue.finish(journal.submission)
    assert queue.views.overview().progress == {}


def test_the_newest_submission_of_a_sample_is_found_by_its_id_or_its_uuid(queue: Queue) -> None:
    (first,) = queue.drop("S1")
    queue.finish(queue.claim())
    (second,) = queue.drop("S1")
    assert queue.views.newest("S1") == second
    found = queue.views.newest(first.uuid)
    assert found is not None
    assert found.attempt_number == 1
    assert queue.views.newest("S2") is None
    assert [one.attempt_number for one in queue.views.submissions_of("S1")] == [1, 2]


def test_only_the_newest_submission_of_a_sample_counts_as_failed(queue: Queue, clock: FakeClock) -> None:
    for sample_id in ("S1", "S2", "S1", "S3"):
        queue.drop(sample_id)
        clock.advance(1)
        claimed = queue.claim()
        if claimed.sample_id == "S1" and claimed.attempt_number == 2:
            queue.finish(claimed)
        else:
            queue.fail(claimed)
    assert [one.sample_id for one in queue.views.in_state(State.FAILED)] == ["S2", "S3"]
    assert [one.sample_id for one in queue.views.in_state(State.FAILED, State.DONE)] == ["S2", "S1", "S3"]
    assert queue.views.in_state(State.CANCELLED) == []


def test_the_detail_holds_all_that_is_known(queue: Queue) -> None:
    queue.drop("S1", "S2")
    submission = queue.claim()
    queue.reach(submission, Step.UPLOAD, images=2)
    detail = queue.views.detail(submission.uuid)
    assert detail.submission == queue.now(submission)
    assert list(detail.steps) == [Step.METADATA, Step.TAGS, Step.UPLOAD]
    assert [one.relative_path for one in detail.images] == ["image-0.dcm", "image-1.dcm"]
    assert [event.text for event in detail.events] == ["taken from the inbox", "processing, from metadata"]
    assert detail.events[0].detail == {"attempt_number": 1, "images": 1}


def test_history_is_oldest_first_and_can_be_narrowed(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    clock.advance(100)
    queue.drop("S2")
    queue.claim()
    assert [(one.sample_id, one.state) for one in queue.views.history(None, None)] == [
        ("S1", State.READY),
        ("S2", State.READY),
        ("S1", State.PROCESSING),
    ]
    assert [one.sample_id for one in queue.views.history(None, clock.now())] == ["S2", "S1"]
    assert [one.state for one in queue.views.history("S1", clock.now())] == [State.PROCESSING]
    assert [one.state for one in queue.views.history(None, None, limit=1)] == [State.PROCESSING]


def test_a_receiving_folder_is_found_by_its_sample(queue: Queue) -> None:
    queue.arrivals.record([arrival("S1.attempt-002", sample_id="S1")], gone=())
    found = queue.views.arrival_of("S1")
    assert found is not None
    assert found.folder_name == "S1.attempt-002"
    assert queue.views.arrival_of("S2") is None


def test_what_the_daemon_publishes_is_seen_by_others(queue: Queue) -> None:
    bulletin = Bulletin(queue.database)
    bulletin.publish(["the share is gone"], {"some uuid": 4096})
    assert queue.views.overview().notices == ["the share is gone"]
    assert queue.views.fact("sending") == {"some uuid": 4096}


def test_news_that_is_none_is_not_written(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    bulletin = Bulletin(queue.database)
    bulletin.publish([], {})
    monkeypatch.setattr(queue.database, "write", None)
    bulletin.publish([], {})
