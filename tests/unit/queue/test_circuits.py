"""Circuits through the state: who may send while one is open, who is woken, who is charged."""

import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection

from moichord.errors import Hold, StateUnwritable
from moichord.retry import GiveUp, HoldForApi, Policy, RetryAt
from moichord.sample import Api, State, Step, Submission
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, files_may_not_grow, is_held, opened, outage, refusal, transient

DAY = 24 * 3600.0


def held(queue: Queue, *sample_ids: str, smallest: int = 1000) -> list[Submission]:
    """Samples that wait for the upload API's circuit, which is open."""
    for sample_id in sample_ids:
        queue.drop(sample_id, smallest_image=smallest)
        submission = queue.transitions.claim_this(newest(queue, sample_id))
        assert is_held(queue.turn(submission, Step.UPLOAD, outage()))
    return [newest(queue, sample_id) for sample_id in sample_ids]


def newest(queue: Queue, sample_id: str) -> Submission:
    found = queue.views.newest(sample_id)
    assert found is not None
    return found


def probe(queue: Queue, clock: FakeClock) -> Submission:
    """The next probe, when it is due."""
    due = queue.transitions.next_due()
    assert due is not None
    clock.advance(max(0.0, due - clock.now()))
    return queue.claim()


def test_an_outage_holds_the_sample_and_opens_the_circuit(queue: Queue, clock: FakeClock) -> None:
    (submission,) = held(queue, "S1")
    assert (submission.held_by, submission.reason) == ("api:upload", "nothing listens there")
    circuit = queue.circuit(Api.UPLOAD)
    assert (circuit.is_open, circuit.reason) == (True, "nothing listens there")
    assert queue.circuits.is_open(Api.UPLOAD)
    assert queue.transitions.claim() is None
    assert queue.transitions.next_due() == clock.now() + 5


def test_an_outage_of_one_api_lets_the_others_be_asked(queue: Queue) -> None:
    (submission,) = held(queue, "S1")
    queue.journal(submission).admit(Api.METADATA)
    with pytest.raises(Hold, match="nothing listens there"):
        queue.journal(submission).admit(Api.UPLOAD)


def test_a_sample_that_comes_to_an_open_circuit_waits_and_sends_nothing(queue: Queue) -> None:
    held(queue, "S1")
    queue.drop("S2")
    late = queue.claim()
    assert late.sample_id == "S2"
    assert isinstance(queue.turn(late, Step.UPLOAD, None), Hold)
    waiting = queue.now(late)
    assert (waiting.held_by, waiting.reason, waiting.remedy) == (
        "api:upload",
        "nothing listens there",
        "start the server",
    )


def test_five_transient_failures_in_a_row_of_several_samples_open_it(queue: Queue) -> None:
    queue.drop(*(f"S{number}" for number in range(6)))
    decisions = [queue.turn(queue.claim(), Step.UPLOAD, transient()) for _ in range(6)]
    assert [type(one) for one in decisions] == [RetryAt] * 4 + [HoldForApi, Hold]


def test_while_it_is_open_one_probe_goes_out_at_a_time(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1", "S2")
    first = probe(queue, clock)
    assert queue.transitions.claim() is None
    assert queue.transitions.next_due() is None
    journal = queue.journal(first)
    journal.admit(Api.UPLOAD)
    with pytest.raises(Hold):
        journal.admit(Api.UPLOAD)
    journal.failed(Step.UPLOAD, outage())
    with pytest.raises(Hold):
        journal.admit(Api.UPLOAD)


def test_probes_rotate_over_the_waiting_samples_smallest_image_first(queue: Queue, clock: FakeClock) -> None:
    for sample_id, smallest in (("big", 9_000_000), ("small", 10), ("medium", 5_000)):
        held(queue, sample_id, smallest=smallest)
    order = []
    for _ in range(6):
        submission = probe(queue, clock)
        order.append(submission.sample_id)
        queue.turn(submission, Step.UPLOAD, outage())
    assert order == ["small", "medium", "big", "small", "medium", "big"]


def test_a_newcomer_probes_before_those_that_did(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    queue.turn(probe(queue, clock), Step.UPLOAD, outage())
    held(queue, "S2", smallest=10**9)
    assert probe(queue, clock).sample_id == "S2"


def test_probes_grow_apart_up_to_five_minutes(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    times = [clock.now()]
    for _ in range(8):
        submission = probe(queue, clock)
        times.append(clock.now())
        queue.turn(submission, Step.UPLOAD, outage())
    assert [later - earlier for earlier, later in pairwise(times)] == [*(5, 10, 20, 40, 80, 160, 300, 300)]


def test_one_success_closes_it_and_wakes_all_that_it_held(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1", "S2", "S3")
    queue.turn(probe(queue, clock), Step.UPLOAD, None)
    assert not queue.circuit(Api.UPLOAD).is_open
    assert {queue.claim().sample_id for _ in range(3)} == {"S1", "S2", "S3"}


def test_a_success_wakes_nobody_that_waits_for_something_else(queue: Queue) -> None:
    held(queue, "S1")
    queue.drop("S2", "S3")
    queue.turn(queue.claim(), Step.METADATA, outage(Api.METADATA))
    queue.transitions.hold(queue.claim(), "the disk is full", "disk", 3600)
    queue.journal(newest(queue, "S1")).answered(Api.UPLOAD)
    assert queue.claim().sample_id == "S1"
    assert queue.transitions.claim() is None


def test_an_answer_that_was_in_flight_when_it_opened_closes_it(queue: Queue) -> None:
    queue.drop("S1", "S2")
    in_flight = queue.reach(queue.claim(), Step.UPLOAD)
    in_flight.admit(Api.UPLOAD)
    queue.turn(queue.claim(), Step.UPLOAD, outage())
    in_flight.answered(Api.UPLOAD)
    assert not queue.circuits.is_open(Api.UPLOAD)
    assert queue.claim().sample_id == "S2"


def test_a_sample_that_would_be_held_by_a_circuit_that_closed_meanwhile_is_due_at_once(queue: Queue) -> None:
    queue.drop("S1", "S2")
    other = queue.reach(queue.claim(), Step.UPLOAD)
    submission = queue.claim()
    journal = queue.reach(submission, Step.UPLOAD)
    journal.failed(Step.UPLOAD, outage())
    other.answered(Api.UPLOAD)
    queue.transitions.hold(submission, "nothing listens there", "api:upload", None)
    assert queue.claim().uuid == submission.uuid


@pytest.mark.parametrize("how", ["released", "held", "failed", "cancelled"])
def test_a_probe_whose_turn_ends_without_a_request_leaves_the_probe_to_the_next(
    queue: Queue, clock: FakeClock, how: str
) -> None:
    held(queue, "S1", "S2")
    first = probe(queue, clock)
    match how:
        case "released":
            queue.transitions.release(first, "stopping")
        case "held":
            queue.transitions.hold(first, "the disk is full", "disk", 3600)
        case "failed":
            queue.fail(first)
        case "cancelled":
            queue.fail(first, outcome=State.CANCELLED)
    second = queue.claim()
    assert second.sample_id == "S2"
    queue.journal(second).admit(Api.UPLOAD)


def test_a_refused_probe_fails_its_sample_and_leaves_the_circuit_open(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1", "S2")
    assert queue.turn(probe(queue, clock), Step.UPLOAD, refusal()) == GiveUp("")
    circuit = queue.circuit(Api.UPLOAD)
    assert (circuit.is_open, circuit.reason, circuit.probes) == (True, "nothing listens there", 1)
    queue.turn(probe(queue, clock), Step.UPLOAD, None)
    assert not queue.circuit(Api.UPLOAD).is_open


def test_when_it_opens_again_the_probe_of_before_is_no_probe(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1", "S2")
    uploading = queue.reach(probe(queue, clock), Step.UPLOAD)
    uploading.admit(Api.UPLOAD)
    uploading.answered(Api.UPLOAD)
    queue.turn(queue.claim(), Step.UPLOAD, outage())
    clock.advance(5)
    with pytest.raises(Hold):
        uploading.admit(Api.UPLOAD)
    assert queue.claim().sample_id == "S2"


def test_an_open_circuit_outlives_the_daemon(folder: Path, clock: FakeClock) -> None:
    with opened(folder / "state.db", clock) as queue:
        held(queue, "S1")
        probe(queue, clock)
    with opened(folder / "state.db", clock) as queue:
        (interrupted,) = queue.transitions.left_processing()
        queue.transitions.hold(interrupted, "nothing listens there", "api:upload", None)
        assert queue.circuit(Api.UPLOAD).is_open
        again = queue.claim()
        journal = queue.journal(again)
        assert journal.cautious(Api.UPLOAD)
        journal.admit(Api.UPLOAD)
        journal.failed(Step.UPLOAD, outage())
        assert queue.circuit(Api.UPLOAD).probes == 1


def test_an_open_circuit_that_nobody_waits_for_keeps_no_worker_awake(queue: Queue, clock: FakeClock) -> None:
    queue.drop("S1")
    submission = queue.claim()
    queue.turn(submission, Step.METADATA, outage(Api.METADATA))
    queue.fail(queue.now(submission), outcome=State.CANCELLED)
    clock.advance(3600)
    held(queue, "S2")
    assert queue.transitions.next_due() == clock.now() + 5


def test_a_clock_that_jumps_back_does_not_stop_the_probes(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    clock.jump(-365 * DAY)
    submission = queue.claim()
    queue.journal(submission).admit(Api.UPLOAD)


# Memory follows what is on disk


def failing(_connection: Connection) -> None:
    raise RuntimeError("this unit breaks its whole batch")


def in_one_commit(queue: Queue, *units: threading.Thread) -> None:
    """Let the writer gather what these threads ask for, by holding it up meanwhile."""
    gate, at_gate = threading.Event(), threading.Event()

    def wait(_connection: Connection) -> None:
        at_gate.set()
        gate.wait(10)

    holding = threading.Thread(target=queue.database.write, args=(wait,))
    holding.start()
    at_gate.wait(10)
    for unit in units:
        unit.start()
    while queue.database._units.qsize() < len(units):
        gate.wait(0.001)
    gate.set()
    for thread in (holding, *units):
        thread.join(10)


def breaking(queue: Queue) -> threading.Thread:
    def ask() -> None:
        with pytest.raises(RuntimeError):
            queue.database.write(failing)

    return threading.Thread(target=ask)


def test_a_claim_whose_batch_is_run_again_still_gets_its_probe(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    clock.advance(5)
    claimed: list[Submission | None] = []
    in_one_commit(queue, threading.Thread(target=lambda: claimed.append(queue.transitions.claim())), breaking(queue))
    assert [one and one.sample_id for one in claimed] == ["S1"]
    assert claimed[0] is not None
    queue.journal(claimed[0]).admit(Api.UPLOAD)


def test_of_claims_in_one_commit_only_one_is_the_probe(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1", "S2", "S3")
    clock.advance(5)
    claimed: list[Submission | None] = []
    in_one_commit(
        queue, *(threading.Thread(target=lambda: claimed.append(queue.transitions.claim())) for _ in range(3))
    )
    assert Counter(one is not None for one in claimed) == {True: 1, False: 2}


def test_a_failure_whose_batch_is_run_again_counts_once(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    journal = queue.reach(probe(queue, clock), Step.UPLOAD)
    journal.admit(Api.UPLOAD)
    in_one_commit(queue, threading.Thread(target=lambda: journal.failed(Step.UPLOAD, outage())), breaking(queue))
    circuit = queue.circuit(Api.UPLOAD)
    assert (circuit.probes, circuit.next_probe_at) == (1, clock.now() + 10)


def test_a_commit_that_fails_leaves_memory_as_the_disk_is(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.UPLOAD)

    def unit(connection: Connection) -> None:
        queue.circuits.failed(connection, outage(), journal.submission.uuid)
        raise RuntimeError("the commit fails")

    with pytest.raises(RuntimeError):
        queue.database.write(unit)
    assert not queue.circuits.is_open(Api.UPLOAD)
    journal.admit(Api.UPLOAD)


def test_a_claim_that_could_not_be_written_makes_nobody_the_probe(queue: Queue, clock: FakeClock) -> None:
    held(queue, "S1")
    clock.advance(5)
    with files_may_not_grow(), pytest.raises(StateUnwritable):
        queue.transitions.claim()
    assert queue.transitions.next_due() == clock.now()
    queue.journal(queue.claim()).admit(Api.UPLOAD)


def test_a_good_answer_ends_a_row_of_failures_at_once(queue: Queue) -> None:
    queue.drop("S1")
    journal = queue.reach(queue.claim(), Step.METADATA)
    for _ in range(4):
        journal.failed(Step.METADATA, transient(Api.METADATA))
    journal.answered(Api.METADATA)
    assert queue.circuit(Api.METADATA).failures == 0


# One bad sample among good ones


def test_a_sample_that_alone_draws_outage_answers_does_not_stop_the_others_and_is_charged(
    queue: Queue, clock: FakeClock
) -> None:
    policy = Policy(first_delay=2.0, max_delay=60.0, max_tries=4, give_up_after=3 * DAY)
    queue.drop("bad", *(f"good{number}" for number in range(15)))
    openings, waited = 0, 0.0
    while State.FAILED not in (counts := queue.views.overview().counts) or len(counts) > 2:
        was_open = queue.circuits.is_open(Api.UPLOAD)
        submission = queue.transitions.claim()
        if submission is None:
            due = queue.transitions.next_due()
            assert due is not None
            waited += due - clock.now()
            clock.advance(due - clock.now())
        elif submission.sample_id == "bad":
            queue.turn(submission, Step.UPLOAD, outage(problem="access denied"), policy)
            openings += queue.circuits.is_open(Api.UPLOAD) and not was_open
        elif queue.turn(submission, Step.UPLOAD, None) is None:
            queue.finish(queue.transitions.claim_this(queue.now(submission)))
            clock.advance(1)
        if not counts.keys() - {State.DONE, State.WAITING}:
            queue.drop(f"later at {clock.now()}")
    assert queue.now(newest(queue, "bad")).reason == "given up after 4 tries"
    assert openings == 2
    assert waited < 300


def test_a_suspect_spends_no_tries_in_an_outage_of_all(queue: Queue, clock: FakeClock) -> None:
    queue.drop("bad", "good")
    bad, good = newest(queue, "bad"), newest(queue, "good")
    for _ in range(3):
        queue.turn(queue.transitions.claim_this(queue.now(bad)), Step.UPLOAD, outage())
        queue.journal(good).answered(Api.UPLOAD)
    queue.turn(queue.transitions.claim_this(queue.now(bad)), Step.UPLOAD, outage())
    assert queue.tries(bad, Step.UPLOAD) == 2
    for _ in range(30):
        decision = queue.turn(queue.transitions.claim_this(queue.now(bad)), Step.UPLOAD, outage())
        assert is_held(decision)
        clock.advance(DAY)
    assert queue.tries(bad, Step.UPLOAD) == 2


def test_three_days_of_outage_fail_none_of_fifty_samples(queue: Queue, clock: FakeClock) -> None:
    """The server takes each connection and keeps it for 50 minutes before it is given up."""
    samples, timeout = [f"S{number}" for number in range(50)], 3000.0
    end = clock.now() + 3 * DAY
    queue.drop(*samples)
    for _ in samples:
        assert is_held(queue.turn(queue.claim(), Step.UPLOAD, outage()))
    probes: Counter[str] = Counter()
    while clock.now() < end:
        submission = probe(queue, clock)
        assert queue.transitions.next_due() is None
        clock.advance(timeout)
        assert isinstance(queue.turn(submission, Step.UPLOAD, transient()), HoldForApi)
        probes[submission.sample_id] += 1
    assert queue.views.overview().counts == {State.WAITING: 50}
    assert sum(probes.values()) == pytest.approx(3 * DAY / (timeout + 300), rel=0.05)
    assert set(probes.values()) == {1, 2}
    assert set(probes) == set(samples)
    assert {queue.tries(one, Step.UPLOAD) for one in queue.views.overview().unfinished} == {0}
    queue.turn(probe(queue, clock), Step.UPLOAD, None)
    for _ in samples:
        submission = queue.claim()
        assert queue.turn(submission, Step.UPLOAD, None) is None
        queue.finish(queue.transitions.claim_this(submission))
    assert queue.views.overview().counts == {State.DONE: 50}
