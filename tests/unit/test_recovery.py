"""What start-up makes of a daemon that broke off: who is suspected, who is poison, and what a lost state costs."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord import recovery
from moichord.errors import ForeignFolder
from moichord.queue.journal import QueueJournal
from moichord.recovery import POISON, boot_of_machine
from moichord.sample import FAILED_NAME, Api, State, Step, Submission
from tests.house import Called, House, Says, house


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def claim(lab: House) -> Submission:
    submission = lab.rooms.transitions.claim()
    assert submission is not None
    return submission


def break_off(lab: House) -> None:
    """The process is gone, whatever it had in hand; the next one starts."""
    lab.close()
    lab.start()


def journal(lab: House, submission: Submission) -> QueueJournal:
    return QueueJournal(lab.database, lab.clock, lab.rooms.turns._circuits, submission, lambda: None)


def test_a_sample_that_breaks_moichord_off_twice_is_set_aside_and_says_so(
    lab: House, caplog: pytest.LogCaptureFixture
) -> None:
    lab.drop("POISON")
    for _ in range(2):
        claim(lab)
        break_off(lab)
    lab.run()
    ended = lab.newest("POISON")
    assert (ended.state, ended.reason) == (State.FAILED, POISON)
    told = (lab.root / "failed" / "POISON" / FAILED_NAME).read_text()
    assert told.startswith(f"{POISON}\n")
    assert lab.calls == [], "nothing of it is processed any more"
    assert any(POISON in record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)


def test_a_sample_that_was_in_hand_once_goes_on_as_if_nothing_had_been(lab: House) -> None:
    lab.drop("S1")
    claim(lab)
    break_off(lab)
    lab.run()
    assert lab.state("S1") is State.DONE


def test_those_in_hand_when_it_broke_off_get_their_turns_alone(lab: House) -> None:
    lab.drop("A", "B", "C")
    suspects = {claim(lab).sample_id, claim(lab).sample_id}
    break_off(lab)
    first = claim(lab)
    assert first.sample_id in suspects
    assert lab.rooms.transitions.claim() is None, "nobody else while a suspect is in hand"
    assert lab.rooms.transitions.next_due() is None, "and no worker is kept awake by that"
    lab.rooms.turns.process(first)
    second = claim(lab)
    assert suspects == {first.sample_id, second.sample_id}


def test_only_the_one_that_was_alone_in_hand_is_poison(lab: House) -> None:
    lab.drop("A", "B")
    claim(lab)
    claim(lab)
    break_off(lab)
    poison = claim(lab)
    break_off(lab)
    lab.run()
    (other,) = {"A", "B"} - {poison.sample_id}
    assert (lab.state(poison.sample_id), lab.state(other)) == (State.FAILED, State.DONE)


def test_progress_clears_a_suspect(lab: House) -> None:
    lab.drop("S1")
    for _ in range(5):
        claimed = claim(lab)
        known = journal(lab, claimed).steps()
        left = [step for step in Step if step not in known or known[step].finished_at is None]
        one = journal(lab, claimed)
        if left[0] not in known:
            one.begin(left[0])
        one.advance(left[0], {}, left[1] if len(left) > 1 else None, [] if left[0] is Step.TAGS else None)
        break_off(lab)
        assert lab.newest("S1").crashes == 1
        assert lab.state("S1") is State.WAITING


def test_a_turn_that_ends_as_it_should_clears_a_suspect(lab: House) -> None:
    lab.script = lambda called: Says(503) if called.api is Api.METADATA else None
    lab.drop("S1")
    for _ in range(4):
        claim(lab)
        break_off(lab)
        lab.run(10)  # answered 503: it waits
        assert lab.newest("S1").crashes == 0
        lab.clock.advance(3600)
    assert lab.state("S1") is State.WAITING


def test_a_restart_of_the_machine_is_no_samples_fault(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.drop("S1")
    for number in range(5):
        claim(lab)
        monkeypatch.setattr(recovery, "boot_of_machine", lambda number=number: f"boot {number}")
        break_off(lab)
    assert lab.newest("S1").crashes == 0
    lab.run()
    assert lab.state("S1") is State.DONE


def test_a_move_that_was_broken_off_twice_still_goes_on(lab: House) -> None:
    lab.drop("S1")
    claimed = claim(lab)
    lab.rooms.endings.conclude(claimed, State.FAILED, "S1", "its own reason", None)
    for _ in range(3):
        break_off(lab)
        claim(lab)
    break_off(lab)
    lab.run()
    assert (lab.state("S1"), lab.newest("S1").reason) == (State.FAILED, "its own reason")


def test_poison_can_be_retried_by_a_person(lab: House) -> None:
    lab.drop("S1")
    for _ in range(2):
        claim(lab)
        break_off(lab)
    lab.run()
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest("S1"), None)
    lab.rooms.attendant.look([], {})
    lab.run()
    assert lab.state("S1") is State.DONE


def test_what_tells_one_start_of_the_machine_from_the_next_may_be_unknown(tmp_path: Path) -> None:
    assert boot_of_machine(tmp_path / "missing") is None
    (tmp_path / "id").write_text("4b1d\n")
    assert boot_of_machine(tmp_path / "id") == "4b1d"


# A lost state


def lose_state(lab: House) -> None:
    lab.close()
    for file in lab.root.glob("state.db*"):
        file.unlink()


def test_a_lost_state_takes_the_attempt_numbers_from_the_receipts(lab: House) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA and called.sample_id == "B" else None
    lab.drop("A", "B")
    lab.run()
    lab.drop("A")
    lab.run()
    (lab.root / "done" / "stranger").mkdir()
    lose_state(lab)
    with pytest.raises(ForeignFolder, match="belongs to another state") as caught:
        lab.start()
    assert "--adopt-work" in (caught.value.remedy or "")
    lab.close()
    lab.start(adopt_work=True)
    again = {one.sample_id: one.attempt_number for one in lab.drop("A", "B", "C")}
    assert again == {"A": 3, "B": 2, "C": 1}


def test_adopted_work_returns_to_the_inbox_whole(lab: House) -> None:
    lab.script = lambda _: Says(503)
    lab.drop("S1", images=2)
    lab.run(10)
    lose_state(lab)
    lab.start(adopt_work=True)
    assert sorted(path.name for path in (lab.root / "inbox" / "S1").iterdir()) == ["0.dcm", "1.dcm"]
    assert [path.name for path in (lab.root / "work").iterdir()] == [".moichord-state"]


def test_a_state_that_knows_samples_does_not_read_receipts(lab: House) -> None:
    lab.drop("A")
    lab.run()
    receipt = next((lab.root / "done" / "A").glob("*receipt*"))
    receipt.write_text(receipt.read_text().replace('"attempt_number": 1', '"attempt_number": 99'))
    break_off(lab)
    (again,) = lab.drop("A")
    assert again.attempt_number == 2


class PowerCut(BaseException):
    """Nothing in the process survives it."""


def test_after_a_power_cut_only_the_unanswered_request_is_repeated_under_the_same_key(lab: House) -> None:
    def cut(called: Called) -> None:
        if called.api is Api.ANALYTICS:
            raise PowerCut

    lab.script = cut
    lab.drop("S1")
    with pytest.raises(PowerCut):
        lab.run()
    lab.script = lambda _: None
    break_off(lab)
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len(lab.calls_to(Api.METADATA)) == len(lab.calls_to(Api.UPLOAD)) == 1
    before, after = lab.calls_to(Api.ANALYTICS)
    assert before.key == after.key
