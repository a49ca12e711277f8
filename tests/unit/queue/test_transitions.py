"""A submission's turns: claim, wait, hold, defer, release."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moichord.queue.endings import Reopening
from moichord.queue.rows import IllegalTransition
from moichord.retry import GiveUp, Policy, RetryAt
from moichord.sample import STEPS, Api, State, Step, Submission
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, opened, outage, refusal, transient

DAY = 24 * 3600.0


def test_a_ready_sample_is_claimed_once(queue: Queue) -> None:
    (dropped,) = queue.drop("S1")
    claimed = queue.claim()
    assert (claimed.uuid, claimed.state) == (dropped.uuid, State.PROCESSING)
    assert queue.transitions.claim() is None


def test_samples_are_claimed_in_the_order_in_which_they_were_taken(queue: Queue, clock: FakeClock) -> None:
    for sample_id in ("S3", "S1", "S2"):
        queue.drop(sample_id)
        clock.advance(1)
    assert [queue.claim().sample_id for _ in range(3)] == ["S3", "S1", "S2"]


def test_a_sample_that_waits_for_a_time_is_claimed_when_it_has_come(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    queue.transitions.hold(queue.claim(), "its files still change", "settling", 60)
    assert queue.transitions.next_due() == clock.now() + 60
    clock.advance(59)
    assert queue.transitions.claim() is None
    clock.advance(1)
    claimed = queue.claim()
    assert (claimed.reason, claimed.held_by, claimed.next_try_at) == (None, None, None)


def test_a_waiting_sample_says_why_until_when_and_what_to_do(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.turn(submission, Step.METADATA, outage(Api.METADATA, "the metadata server is down"))
    waiting = queue.now(submission)
    assert waiting.state is State.WAITING
    assert (waiting.reason, waiting.remedy) == ("the metadata server is down", "start the server")
    assert (waiting.held_by, waiting.next_try_at) == ("api:metadata", None)


def test_what_the_daemon_leaves_when_it_stops_is_due_at_once(queue: Queue) -> None:
    (submission,) = queue.drop("S1")
    queue.transitions.release(queue.claim(), "the daemon is stopping")
    assert queue.claim().uuid == submission.uuid


def test_every_change_is_one_row_of_history(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.transitions.hold(submission, "the disk is full", "disk", 30)
    queue.transitions.claim_this(submission)
    queue.finish(submission)
    assert queue.told(submission) == [
        "taken from the inbox",
        "processing, from metadata",
        "the disk is full",
        "processing, from metadata",
        "done",
    ]
    assert [event.state for event in queue.views.history(None, None)] == [
        State.READY,
        State.PROCESSING,
        State.WAITING,
        State.PROCESSING,
        State.DONE,
    ]


Verb = Callable[[Queue, Submission], object]
VERBS: dict[str, tuple[Verb, set[State]]] = {
    "claim_this": (lambda queue, one: queue.transitions.claim_this(one), {State.READY, State.WAITING}),
    "release": (lambda queue, one: queue.transitions.release(one, "stopping"), {State.PROCESSING}),
    "hold": (lambda queue, one: queue.transitions.hold(one, "why", "disk", 5.0), {State.PROCESSING}),
    "conclude": (
        lambda queue, one: queue.endings.conclude(one, State.FAILED, "S1", "why", None),
        {State.READY, State.PROCESSING, State.WAITING},
    ),
    "concluded": (lambda queue, one: queue.endings.concluded(one), set()),
    "reopen": (
        lambda queue, one: queue.endings.reopen(one, Reopening(Step.METADATA, STEPS, ())),
        {State.DONE, State.FAILED, State.CANCELLED},
    ),
    "reopened": (lambda queue, one: queue.endings.reopened(one, "m2"), set()),
}


def brought_to(queue: Queue, state: State) -> Submission:
    (submission,) = queue.drop("S1")
    if state is State.READY:
        return submission
    submission = queue.claim()
    if state is State.WAITING:
        queue.transitions.hold(submission, "why", "disk", 60)
    elif state is not State.PROCESSING:
        queue.fail(submission, outcome=state)
    return queue.now(submission)


@pytest.mark.parametrize("state", [state for state in State if state is not State.RECEIVING])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_refused_by_name_in_every_state_but_its_own(queue: Queue, verb: str, state: State) -> None:
    act, allowed = VERBS[verb]
    submission = brought_to(queue, state)
    events = len(queue.views.history(None, None))
    if state in allowed:
        act(queue, submission)
    else:
        with pytest.raises(IllegalTransition, match=submission.uuid):
            act(queue, submission)
        assert queue.now(submission) == submission
        assert len(queue.views.history(None, None)) == events


# What counts, through the database


def test_a_lone_sample_overnight_spends_no_tries_on_a_dead_server(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    turns = 0
    end = clock.now() + 8 * 3600
    while clock.now() < end:
        submission = queue.transitions.claim()
        if submission is None:
            due = queue.transitions.next_due()
            assert due is not None
            clock.advance(max(0.0, due - clock.now()))
            continue
        turns += 1
        assert not isinstance(queue.turn(submission, Step.UPLOAD, transient()), GiveUp)
    assert turns > 90
    (waiting,) = queue.views.overview().unfinished
    assert (waiting.state, queue.tries(waiting, Step.UPLOAD)) == (State.WAITING, 0)


def test_a_sample_that_fails_while_others_succeed_spends_its_tries(queue: Queue, clock: FakeClock) -> None:
    queue.drop("good")
    good = queue.reach(queue.claim(), Step.UPLOAD)
    queue.drop("bad")
    policy = Policy(first_delay=2.0, max_delay=900.0, max_tries=5, give_up_after=3 * DAY)
    decisions = []
    for _ in range(5):
        bad = queue.claim()
        queue.reach(bad, Step.UPLOAD)
        good.answered(Api.UPLOAD)
        decisions.append(queue.turn(bad, Step.UPLOAD, transient(), policy))
        clock.advance(900)
    assert [type(decision) for decision in decisions] == [RetryAt] * 4 + [GiveUp]
    assert queue.tries(bad, Step.UPLOAD) == 5
    assert queue.now(bad).state is State.FAILED


def test_one_in_five_requests_failing_counts_each_time(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    for turn in range(1, 4):
        submission = queue.claim()
        journal = queue.reach(submission, Step.UPLOAD)
        for _ in range(4):
            journal.admit(Api.UPLOAD)
            journal.answered(Api.UPLOAD)
        decision = queue.turn(submission, Step.UPLOAD, transient())
        assert isinstance(decision, RetryAt)
        assert decision.counted
        assert queue.tries(submission, Step.UPLOAD) == turn
        assert not queue.circuit(Api.UPLOAD).is_open
        clock.advance(900)


def test_successes_of_another_api_do_not_make_a_failure_count(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.reach(submission, Step.UPLOAD).answered(Api.METADATA)
    decision = queue.turn(submission, Step.UPLOAD, transient())
    assert isinstance(decision, RetryAt)
    assert not decision.counted


def test_successes_before_the_step_began_do_not_make_its_first_failure_count(queue: Queue) -> None:
    queue.drop("S1", "S2")
    for _ in range(3):
        queue.reach(queue.transitions.claim_this(queue.views.newest("S1")), Step.UPLOAD).answered(Api.UPLOAD)
        queue.transitions.release(queue.views.newest("S1"), "stopping")
    other = queue.transitions.claim_this(queue.views.newest("S2"))
    decision = queue.turn(other, Step.UPLOAD, transient())
    assert isinstance(decision, RetryAt)
    assert not decision.counted


def test_a_server_that_says_when_is_asked_again_exactly_then(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.turn(submission, Step.METADATA, transient(Api.METADATA, retry_after=7200.0))
    assert queue.now(submission).next_try_at == clock.now() + 7200
    assert queue.transitions.next_due() == clock.now() + 7200


def test_a_refusal_is_given_back_to_be_concluded(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    assert queue.turn(submission, Step.UPLOAD, refusal()) == GiveUp("")
    assert queue.views.detail(submission.uuid).steps[Step.UPLOAD].last_problem == "it refuses (400)"
    assert not queue.circuit(Api.UPLOAD).is_open


def test_give_up_after_is_over_only_without_the_time_held(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.reach(submission, Step.UPLOAD)
    queue.transitions.hold(submission, "the share is gone", "disk", 10 * DAY)
    clock.advance(10 * DAY)
    assert isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), RetryAt)
    another_succeeds(queue)
    clock.advance(3 * DAY)
    assert queue.turn(queue.claim(), Step.UPLOAD, transient()) == GiveUp("given up after 72.0 h", counted=True)


def another_succeeds(queue: Queue) -> None:
    (other,) = queue.drop("OTHER")
    queue.turn(queue.transitions.claim_this(other), Step.UPLOAD, None)
    queue.finish(queue.transitions.claim_this(other))


def test_give_up_after_is_over_only_without_the_time_paused(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1", "S2")
    queue.turn(queue.claim(), Step.UPLOAD, transient())
    held = queue.claim()
    queue.reach(held, Step.UPLOAD)
    queue.transitions.hold(held, "the share is gone", "disk", 3600)
    queue.requests.pause()
    clock.advance(2 * DAY)
    queue.requests.pause()
    clock.advance(8 * DAY)
    queue.requests.resume()
    for _ in range(2):
        assert isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), RetryAt)


def test_give_up_after_is_over_only_without_the_time_the_daemon_was_down(folder: Path, clock: FakeClock) -> None:
    with opened(folder / "state.db", clock) as queue:
        queue.drop("S1", "S2")
        queue.turn(queue.claim(), Step.UPLOAD, transient())
        queue.reach(queue.claim(), Step.UPLOAD)
    clock.advance(10 * DAY)
    with opened(folder / "state.db", clock) as queue:
        queue.transitions.exclude_downtime(None)
        for submission in queue.transitions.left_processing():
            queue.transitions.release(submission, "interrupted")
        for _ in range(2):
            assert isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), RetryAt)


def test_time_paused_and_down_at_once_is_excluded_once(folder: Path, clock: FakeClock) -> None:
    with opened(folder / "state.db", clock) as queue:
        queue.drop("S1")
        queue.turn(queue.claim(), Step.UPLOAD, transient())
        queue.requests.pause()
    clock.advance(3 * DAY)
    with opened(folder / "state.db", clock) as queue:
        queue.transitions.exclude_downtime(None)
        queue.requests.resume()
        another_succeeds(queue)
        clock.advance(3 * DAY)
        assert isinstance(queue.turn(queue.claim(), Step.UPLOAD, transient()), GiveUp)


def test_what_breaks_unforeseen_is_a_try_and_ends_with_them(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    policy = Policy(2.0, 900.0, 3, 3 * DAY)
    tries = []
    for _ in range(3):
        submission = queue.claim()
        queue.reach(submission, Step.TAGS)
        tries.append(queue.transitions.postpone(submission, Step.TAGS, "something broke", policy))
        clock.advance(900)
    assert tries == [1, 2, None]
    assert queue.now(submission).state is State.PROCESSING


# The clock, pause, and recovery


@pytest.mark.parametrize("years", [-30, 1])
def test_a_clock_that_jumps_keeps_no_sample_waiting_for_more_than_a_day(
    queue: Queue, clock: FakeClock, years: int
) -> None:
    queue.drop("S1")
    queue.turn(queue.claim(), Step.UPLOAD, transient())
    clock.jump(years * 365 * DAY)
    assert queue.transitions.claim() is not None


def test_while_paused_nothing_is_claimed_and_nobody_is_woken_for_it(queue: Queue) -> None:
    queue.drop("S1")
    queue.requests.pause()
    assert queue.requests.is_paused()
    assert queue.transitions.claim() is None
    assert queue.transitions.next_due() is None
    queue.requests.resume()
    assert not queue.requests.is_paused()
    assert queue.claim().sample_id == "S1"


def test_a_pause_outlives_the_daemon(folder: Path) -> None:
    with opened(folder / "state.db") as queue:
        queue.drop("S1")
        queue.requests.pause()
    with opened(folder / "state.db") as queue:
        assert queue.transitions.claim() is None


def test_a_sample_can_be_cancelled_while_paused(queue: Queue) -> None:
    (submission,) = queue.drop("S1")
    queue.requests.pause()
    assert queue.transitions.claim_this(submission).state is State.PROCESSING


def test_what_was_processed_when_the_daemon_died_is_found_and_goes_on(folder: Path) -> None:
    with opened(folder / "state.db") as queue:
        queue.drop("S1", "S2")
        first = queue.claim()
    with opened(folder / "state.db") as queue:
        assert [one.uuid for one in queue.transitions.left_processing()] == [first.uuid]
        queue.transitions.release(first, "interrupted")
        assert {queue.claim().sample_id, queue.claim().sample_id} == {"S1", "S2"}


def test_nothing_is_due_in_an_empty_queue(queue: Queue) -> None:
    assert queue.transitions.next_due() is None
