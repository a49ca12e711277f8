"""What start-up makes of a daemon that broke off: who is suspected, who is poison, and what a lost state costs."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from moichord import recovery
from moichord.errors import ForeignFolder
from moichord.queue.arrivals import Taking
from moichord.queue.endings import Reopening
from moichord.queue.journal import QueueJournal
from moichord.queue.timekeeping import boot_of_machine
from moichord.recovery import POISON
from moichord.sample import FAILED_NAME, Api, State, Step, Submission
from moichord.spool import Spool
from tests.builders import write_image
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
    return QueueJournal(lab.database, lab.rooms.turns._time, lab.rooms.turns._circuits, submission, lambda: None)


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
    lab.rooms.attendant.look()
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


# What hinders one submission at a start


def whole(called: Called) -> None:
    """Break off once all images are sent."""
    if called.api is Api.ANALYTICS:
        raise PowerCut


def test_a_sample_that_was_sent_whole_never_fails_for_what_breaks_off(lab: House) -> None:
    lab.drop("S1", "S2")
    lab.script = whole
    with pytest.raises(PowerCut):
        lab.run()
    lab.script = lambda _: None
    break_off(lab)
    for _ in range(4):
        claimed = claim(lab)
        assert claimed.step is Step.ANALYTICS
        break_off(lab)
        if lab.newest(claimed.sample_id).crashes == 0:
            break
    other = claim(lab)
    assert other.sample_id != claimed.sample_id, "others are not kept waiting by it"
    lab.rooms.turns.process(other)
    lab.run()
    assert (lab.state("S1"), lab.state("S2")) == (State.DONE, State.DONE)


def hindered(*uuids: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    """`verb` of the spool, which the disk refuses for these submissions."""

    def refusing(spool: Spool, *arguments: Any) -> Any:
        if any(uuid in str(argument) for argument in arguments for uuid in uuids):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return verb(spool, *arguments)

    return refusing


def test_what_cannot_be_removed_from_work_keeps_nobody_from_starting(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (done,) = lab.drop("A")
    lab.run()
    work = lab.root / "work"
    foreign = str(uuid4())
    for name in (done.uuid, foreign):
        (work / name).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "discard", hindered(done.uuid, verb=Spool.discard))
        patch.setattr(Spool, "discard_empty", hindered(foreign, verb=Spool.discard_empty))
        break_off(lab)
    assert caplog.text.count("Operation not permitted") == 2
    break_off(lab)
    assert [path.name for path in work.iterdir()] == [".moichord-state"], "the next start tries again"


def test_a_taking_that_cannot_be_finished_waits_for_the_next_start_and_others_go_on(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    takings = []
    for name in ("A", "B"):
        (lab.root / "inbox" / name).mkdir()
        write_image(lab.root / "inbox" / name / "0.dcm")
        takings.append(Taking(name, name, lab.rooms.manifest_of(lab.root / "inbox" / name), 1, 1, 1000, 1000))
    first, _ = lab.rooms.arrivals.intend(takings)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "where", hindered(first.uuid, verb=Spool.where))
        break_off(lab)
    lab.run()
    assert lab.state("B") is State.DONE
    break_off(lab)
    lab.run()
    assert lab.state("A") is State.DONE


def test_a_return_that_cannot_be_finished_waits_for_the_next_start_and_others_go_on(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.script = lambda called: Says(404) if called.sample_id == "A" else None
    (failed,) = lab.drop("A")
    lab.run()
    assert lab.state("A") is State.FAILED
    lab.script = lambda _: None
    lab.rooms.endings.reopen(lab.newest("A"), Reopening(Step.METADATA, (), (Step.METADATA,)))
    lab.drop("B")
    claim(lab)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "files", hindered(failed.uuid, verb=Spool.files))
        break_off(lab)
    lab.run()
    assert (lab.state("A"), lab.state("B")) == (State.FAILED, State.DONE)
    break_off(lab)
    lab.run()
    assert lab.state("A") is State.DONE


def test_what_was_in_hand_goes_on_though_its_leftovers_stay(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    lab.drop("S1")
    claim(lab)
    with monkeypatch.context() as patch:
        patch.setattr(recovery.durable, "remove_leftovers", refused)
        break_off(lab)
    lab.run()
    assert lab.state("S1") is State.DONE


def test_poison_that_cannot_be_set_aside_now_is_not_left_in_hand(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (dropped,) = lab.drop("S1")
    claim(lab)
    break_off(lab)
    claim(lab)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "free_name", hindered("S1", verb=Spool.free_name))
        break_off(lab)
    assert lab.newest("S1").state is State.WAITING
    assert dropped.uuid == claim(lab).uuid


def test_a_new_drop_is_not_swallowed_by_an_empty_folder_of_that_name_whose_taking_was_interrupted(lab: House) -> None:
    folder = lab.settings.folders.inbox / "S1"
    folder.mkdir()
    manifest = lab.rooms.manifest_of(folder)
    (taken,) = lab.rooms.arrivals.intend([Taking("S1", "S1", manifest, 0, 0, 0, 0, doomed="it holds no image")])
    lab.rooms.spool.take([("S1", taken.uuid)])
    folder.mkdir()
    write_image(folder / "0.dcm")
    break_off(lab)
    lab.run(5)
    assert [path.name for path in folder.iterdir()] == ["0.dcm"]
    assert (lab.state("S1"), lab.newest("S1").uuid) == (State.FAILED, taken.uuid)
