"""Receiving samples, and their taking: intent, rename, result."""

from pathlib import Path

import pytest

from moichord.queue.requests import reopening
from moichord.queue.rows import IllegalTransition
from moichord.sample import State
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, arrival, opened, taking


def test_what_was_seen_of_a_folder_is_kept(queue: Queue) -> None:
    queue.arrivals.record([arrival("S1"), arrival("no sample", sample_id=None)], gone=())
    assert queue.arrivals.load() == {"S1": arrival("S1"), "no sample": arrival("no sample", sample_id=None)}


def test_a_later_look_replaces_an_earlier_one_and_folders_that_left_are_forgotten(queue: Queue) -> None:
    queue.arrivals.record([arrival("S1"), arrival("S2")], gone=())
    queue.arrivals.record([arrival("S1", reason="settling")], gone=["S2"])
    assert queue.arrivals.load() == {"S1": arrival("S1", reason="settling")}


def test_a_sample_is_receiving_until_its_folder_is_in_work(queue: Queue) -> None:
    (submission,) = queue.arrivals.intend([taking("S1", doomed="it is broken")])
    assert queue.arrivals.intended() == [submission]
    assert (submission.state, submission.attempt_number, submission.doomed) == (State.RECEIVING, 1, "it is broken")
    assert queue.transitions.claim() is None
    queue.arrivals.taken([submission])
    assert queue.arrivals.intended() == []
    assert queue.now(submission).state is State.READY


def test_a_taken_folder_is_no_longer_receiving(queue: Queue) -> None:
    queue.arrivals.record([arrival("S1"), arrival("S2")], gone=())
    queue.drop("S1")
    assert set(queue.arrivals.load()) == {"S2"}


def test_samples_that_settle_together_are_taken_together(queue: Queue) -> None:
    taken = queue.drop(*(f"S{number}" for number in range(20)))
    assert len({submission.uuid for submission in taken}) == 20
    assert queue.views.overview().counts == {State.READY: 20}


def test_to_take_nothing_is_no_commit(queue: Queue) -> None:
    assert queue.arrivals.intend([]) == []
    queue.arrivals.taken([])


def test_attempt_numbers_go_up_and_are_never_given_again(queue: Queue) -> None:
    for number in (1, 2, 3):
        (submission,) = queue.drop("S1")
        assert submission.attempt_number == number
        queue.finish(queue.claim())
    assert [one.attempt_number for one in queue.views.submissions_of("S1")] == [1, 2, 3]
    assert queue.drop("S2")[0].attempt_number == 1


def test_the_number_of_a_sample_that_was_never_taken_is_free_again(queue: Queue) -> None:
    (submission,) = queue.arrivals.intend([taking("S1")])
    queue.arrivals.withdraw(submission, "the folder may not be renamed")
    assert queue.arrivals.intended() == []
    assert queue.drop("S1")[0].attempt_number == 1


def test_a_withdrawal_is_remembered_with_its_reason(queue: Queue) -> None:
    (submission,) = queue.arrivals.intend([taking("S1")])
    queue.arrivals.withdraw(submission, "the folder may not be renamed")
    assert [event.text for event in queue.views.history("S1", None)] == ["the folder may not be renamed"]


def test_attempt_numbers_outlive_a_restart(folder: Path) -> None:
    with opened(folder / "state.db") as queue:
        queue.drop("S1")
        queue.finish(queue.claim())
    with opened(folder / "state.db") as queue:
        assert queue.drop("S1")[0].attempt_number == 2


def test_a_lost_state_learns_the_numbers_from_receipts_but_never_goes_back(queue: Queue) -> None:
    queue.drop("S1")
    queue.finish(queue.claim())
    assert queue.arrivals.count_attempts() == 1
    queue.arrivals.raise_attempts({"S1": 7, "S2": 3})
    queue.arrivals.raise_attempts({"S1": 2})
    assert [one.attempt_number for one in queue.drop("S1", "S2")] == [8, 4]


@pytest.mark.parametrize("again", ["taken", "withdraw"])
def test_a_taking_is_recorded_once(queue: Queue, again: str) -> None:
    (submission,) = queue.drop("S1")
    with pytest.raises(IllegalTransition, match=submission.uuid):
        if again == "taken":
            queue.arrivals.taken([submission])
        else:
            queue.arrivals.withdraw(submission, "too late")
    assert queue.now(submission).state is State.READY


def test_one_taking_that_is_refused_takes_the_others_of_its_batch_with_it(queue: Queue) -> None:
    (before,) = queue.drop("S1")
    (fresh,) = queue.arrivals.intend([taking("S2")])
    with pytest.raises(IllegalTransition):
        queue.arrivals.taken([fresh, before])
    assert queue.arrivals.intended() == [fresh]


@pytest.mark.parametrize("state", ["receiving", "ready", "processing", "waiting", "concluding"])
def test_a_sample_with_a_submission_in_work_is_busy(queue: Queue, state: str) -> None:
    (submission,) = queue.arrivals.intend([taking("S1")])
    if state != "receiving":
        queue.arrivals.taken([submission])
    if state in {"processing", "waiting", "concluding"}:
        queue.claim()
    if state == "waiting":
        queue.transitions.hold(submission, "settling", "settling", 60)
    if state == "concluding":
        queue.endings.conclude(submission, State.DONE, "S1", None, None)
    assert queue.arrivals.busy_samples(["S1", "S2", "S3"]) == {"S1"}
    assert queue.arrivals.intend([taking("S1")]) == []


@pytest.mark.parametrize("outcome", [State.DONE, State.FAILED, State.CANCELLED])
def test_a_finished_sample_is_not_busy(queue: Queue, outcome: State) -> None:
    queue.drop("S1")
    queue.fail(queue.claim(), outcome=outcome)
    assert queue.arrivals.busy_samples(["S1", "S2", "S3"]) == set()


def test_a_sample_on_its_way_back_into_work_is_busy(queue: Queue) -> None:
    queue.drop("S1", "S2")
    failed = queue.fail(queue.claim())
    queue.endings.reopen(failed, reopening(failed, {}, [], None))
    assert queue.arrivals.busy_samples(["S1", "S2", "S3"]) == {"S1", "S2"}
    assert [one.sample_id for one in queue.arrivals.intend([taking("S1"), taking("S3")])] == ["S3"]


def test_of_two_folders_of_one_sample_only_one_is_taken(queue: Queue) -> None:
    two = [taking("S1", folder_name="S1.attempt-001"), taking("S1")]
    (submission,) = queue.arrivals.intend(two)
    assert submission.folder_name == "S1.attempt-001"


def test_names_are_bytes_and_come_back_as_they_were(folder: Path) -> None:
    name = b"S\xff\xfe 1".decode("utf-8", "surrogateescape")
    with opened(folder / "state.db", FakeClock()) as queue:
        queue.arrivals.record([arrival(name, sample_id=None, reason=f"{name} is no sample ID")], gone=())
        assert set(queue.arrivals.load()) == {name}
        (submission,) = queue.drop("S1", folder_name=name)
        assert queue.now(submission).folder_name == name
    with opened(folder / "state.db", FakeClock()) as queue:
        assert queue.claim().folder_name == name
        assert queue.arrivals.load() == {}


def test_a_sentence_with_an_undecodable_name_in_it_is_kept_with_the_byte_visible(queue: Queue) -> None:
    name = b"S\xff".decode("utf-8", "surrogateescape")
    queue.arrivals.record([arrival("S1", reason=f"{name} is empty")], gone=())
    assert queue.arrivals.load()["S1"].reason == "S\\udcff is empty"
