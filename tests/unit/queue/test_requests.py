"""What people ask for: rows that the daemon carries out."""

from pathlib import Path

import pytest

from moichord.errors import UsageRefused
from moichord.queue.interruptions import Interruptions
from moichord.queue.requests import reopening
from moichord.sample import State, Step
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, opened, outage


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
    queue.transitions.claim_this(submission)
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


@pytest.mark.parametrize(("step", "refused"), [(Step.ANALYTICS, False), (Step.ARCHIVE, True)])
def test_what_is_being_filed_is_not_cancelled_any_more(queue: Queue, step: Step, refused: bool) -> None:
    queue.drop("S1")
    queue.reach(queue.claim(), step)
    submission = queue.views.newest("S1")
    assert submission is not None
    if refused:
        with pytest.raises(UsageRefused, match="only its filing is left"):
            queue.requests.ask_cancel(submission)
    else:
        queue.requests.ask_cancel(submission)
    assert len(queue.requests.open()) == (not refused)


def test_what_somebody_wants_cancelled_gets_no_turn_any_more(queue: Queue) -> None:
    first, second = queue.drop("S1", "S2")
    queue.requests.ask_cancel(first)
    assert queue.claim().uuid == second.uuid
    assert queue.transitions.claim() is None
    assert queue.transitions.next_due() is None, "and no worker is kept awake by it"
    (asked,) = queue.requests.open()
    queue.requests.done(asked, "refused: it was too late")
    assert queue.claim().uuid == first.uuid


def test_nor_is_it_the_probe_of_a_server(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    held = queue.claim()
    queue.turn(held, Step.UPLOAD, outage())
    queue.requests.ask_cancel(queue.now(held))
    clock.advance(3600)
    assert (queue.transitions.claim(), queue.transitions.next_due()) == (None, None)


def test_a_suspect_that_is_to_be_cancelled_keeps_no_other_waiting(queue: Queue) -> None:
    first, second = queue.drop("S1", "S2")
    Interruptions(queue.database, queue.clock).interrupted(queue.transitions.claim_this(first), crashes=1)
    queue.requests.ask_cancel(first)
    assert queue.claim().uuid == second.uuid


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


@pytest.mark.parametrize("outcome", [State.FAILED, State.CANCELLED])
def test_what_lies_nowhere_cannot_be_retried(queue: Queue, outcome: State) -> None:
    queue.drop("S1")
    queue.endings.conclude_without_folder(queue.claim(), outcome, "It was removed.", "Drop it again.")
    lost = queue.views.newest("S1")
    assert lost is not None
    with pytest.raises(UsageRefused, match="was removed from work"):
        reopening(lost, {}, [], None)
