"""What people ask for: rows that the daemon carries out."""

from pathlib import Path

import pytest

from moichord.errors import UsageRefused
from moichord.sample import State, Step
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, opened


def test_requests_wait_for_the_daemon_oldest_first(queue: Queue) -> None:
    queue.drop("S1", "S2")
    first = queue.fail(queue.claim())
    second = queue.claim()
    queue.requests.ask_retry(first, Step.UPLOAD)
    queue.requests.ask_cancel(second)
    asked = queue.requests.open()
    assert [(one.kind, one.submission, one.from_step) for one in asked] == [
        ("retry", first, Step.UPLOAD),
        ("cancel", second, None),
    ]


def test_a_request_shows_its_submission_as_it_is_now(queue: Queue) -> None:
    (submission,) = queue.drop("S1")
    queue.requests.ask_cancel(submission)
    queue.claim()
    assert queue.requests.open()[0].submission.state is State.PROCESSING


def test_a_request_that_was_carried_out_is_asked_no_more(queue: Queue) -> None:
    queue.drop("S1")
    queue.requests.ask_cancel(queue.claim())
    (asked,) = queue.requests.open()
    queue.requests.done(asked, "cancelled")
    assert queue.requests.open() == []


def test_what_was_asked_is_history_though_no_change_of_state(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.fail(queue.claim())
    queue.requests.ask_retry(submission, Step.ANALYTICS)
    event = queue.views.history("S1", None)[-1]
    assert (event.text, event.state, event.step) == ("retry requested", None, Step.ANALYTICS)


@pytest.mark.parametrize("outcome", [State.DONE, State.FAILED, State.CANCELLED])
def test_a_finished_sample_cannot_be_cancelled(queue: Queue, outcome: State) -> None:
    queue.drop("S1")
    ended = queue.fail(queue.claim(), outcome=outcome)
    with pytest.raises(UsageRefused, match=f"S1 is {outcome} already"):
        queue.requests.ask_cancel(ended)
    assert queue.requests.open() == []


def test_requests_wait_for_the_next_start_if_there_is_no_daemon(folder: Path) -> None:
    with opened(folder / "state.db") as queue:
        (submission,) = queue.drop("S1")
        queue.requests.ask_cancel(submission)
    with opened(folder / "state.db") as queue:
        assert [one.kind for one in queue.requests.open()] == ["cancel"]


def test_a_second_pause_does_not_forget_when_the_first_began(queue: Queue, clock: FakeClock) -> None:
    began = clock.now()
    queue.requests.pause()
    clock.advance(60)
    queue.requests.pause()
    assert queue.views.overview().paused_at == began


def test_to_resume_what_is_not_paused_changes_nothing(queue: Queue) -> None:
    queue.requests.resume()
    assert not queue.requests.is_paused()
    assert queue.views.overview().paused_at is None
