"""A sample is whole in one place at every moment, whatever a disk or share refuses between its folder and its row."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moichord import durable
from moichord.durable import trees
from moichord.queue.arrivals import Taking
from moichord.queue.endings import Endings
from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api, State, Submission
from moichord.spool import Spool, places
from tests.builders import write_image
from tests.house import Called, House, Says, house


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def refuse_metadata(called: Called) -> Says | None:
    return Says(422) if called.api is Api.METADATA else None


def look(lab: House) -> None:
    lab.rooms.attendant.look()


def retry(lab: House, sample_id: str) -> None:
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest(sample_id), None)
    look(lab)


def break_off(lab: House) -> None:
    """The process is gone, whatever it had in hand; the next one starts."""
    lab.close()
    lab.start()
    lab.rooms.intake.restore()


def files(folder: Path) -> list[str]:
    """The names of all files but moichord's own, and but what is about to be removed."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in (FAILED_NAME, RECEIPT_NAME))
    return sorted(path.name for path in found if path.suffix in (".dcm", ".txt"))


def on_other_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """done and failed each lie on a file system of their own."""
    rename = durable.rename_noreplace

    def root(path: Path) -> str:
        return next((name for name in ("done", "failed") if name in path.parts), "share")

    def crossing(source: Path, destination: Path) -> None:
        if root(source) != root(destination):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, destination)

    monkeypatch.setattr(durable, "rename_noreplace", crossing)


def io_error(*_: Any) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_once(verb: Callable[..., Any], before: Callable[..., None]) -> Callable[..., Any]:
    """`verb`, of which the first call ends in an I/O error, once `before` has been done."""
    failed: list[bool] = []

    def flaky(*arguments: Any) -> Any:
        if not failed:
            failed.append(True)
            before(*arguments)
            io_error()
        return verb(*arguments)

    return flaky


# Out of work and back


FOUR = ["0.dcm", "1.dcm", "2.dcm", "3.dcm"]


def remove_half(path: Path, *_: Any) -> None:
    for name in FOUR[:2]:
        next(path.rglob(name)).unlink()


def test_a_retry_brings_all_images_back_though_work_could_be_cleared_only_in_part(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_other_file_systems(monkeypatch)
    lab.script = refuse_metadata
    (dropped,) = lab.drop("S1", images=4)
    remove = durable.remove_tree

    def broken(path: Path) -> None:
        if dropped.uuid in path.name and path.parent.name == "work" and files(path) == FOUR:
            remove_half(path)
            io_error()
        remove(path)

    monkeypatch.setattr(durable, "remove_tree", broken)
    lab.run(1)
    assert files(lab.root / "failed") == FOUR
    lab.script = lambda _: None
    retry(lab, "S1")
    lab.run(1)
    assert lab.state("S1") is State.DONE
    assert files(lab.root / "done") == FOUR
    break_off(lab)
    assert [path.name for path in (lab.root / "work").iterdir()] == [".moichord-state"]


def test_a_retry_goes_by_what_lies_in_failed_not_by_what_an_earlier_move_left_in_work(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_other_file_systems(monkeypatch)
    lab.script = refuse_metadata
    (dropped,) = lab.drop("S1")
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "retire", io_error)
        lab.run(1)
    assert (lab.root / "work" / dropped.uuid / "S1" / "0.dcm").exists()
    write_image(lab.root / "failed" / "S1" / "1.dcm")
    lab.script = lambda _: None
    retry(lab, "S1")
    lab.run(1)
    assert files(lab.root / "done") == ["0.dcm", "1.dcm"]


@pytest.mark.parametrize("apart", [True, False])
def test_what_comes_back_while_a_worker_still_clears_work_is_not_cleared_with_it(
    lab: House, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    if apart:
        on_other_file_systems(monkeypatch)
    lab.script = refuse_metadata
    lab.drop("S1")
    concluded = Endings.concluded

    def and_retried(self: Endings, submission: Submission) -> State:
        state = concluded(self, submission)
        monkeypatch.setattr(Endings, "concluded", concluded)
        retry(lab, "S1")
        return state

    monkeypatch.setattr(Endings, "concluded", and_retried)
    lab.turn()
    assert lab.state("S1") is State.READY
    assert files(lab.root / "work") == ["0.dcm"]


def test_what_is_added_to_failed_while_its_copy_comes_back_is_kept_and_explained(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_other_file_systems(monkeypatch)
    lab.script = refuse_metadata
    lab.drop("S1")
    lab.run(1)
    failed = lab.root / "failed" / "S1"
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "clear_way_back", io_error)
        retry(lab, "S1")
    (failed / "forgotten.dcm").write_bytes(b"precious")
    lab.clock.advance(600)
    look(lab)
    assert (failed / "forgotten.dcm").read_bytes() == b"precious"
    assert "was changed while" in (failed / FAILED_NAME).read_text()
    assert "was changed while" in caplog.text
    lab.run(1)
    assert lab.state("S1") is State.FAILED
    assert files(lab.root / "failed") == ["0.dcm", "0.dcm", "forgotten.dcm"]
    assert lab.newest("S1").place != "S1"


def test_names_that_the_other_file_system_holds_to_be_one_are_said_and_not_tried_for_ever(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_other_file_systems(monkeypatch)
    copy_file, copies = trees._copy_file, []

    def onto_names_without_case(source: str, target: str, *others: Any) -> None:
        there = Path(target)
        if there.name.lower() in {path.name.lower() for path in there.parent.iterdir()}:
            copies.append(target)
            assert len(copies) < 5, "copied again and again in one turn"
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        copy_file(source, target, *others)

    monkeypatch.setattr(trees, "_copy_file", onto_names_without_case)
    (dropped,) = lab.drop("S1")
    folder = lab.root / "work" / dropped.uuid / "S1"
    for name in ("a.txt", "A.txt"):
        (folder / name).write_text(name)
    lab.script = refuse_metadata
    lab.run(1)
    assert len(copies) == 1
    waiting = lab.newest("S1")
    assert (waiting.state, waiting.held_by) == (State.WAITING, "disk")
    assert files(folder) == ["0.dcm", "A.txt", "a.txt"]
    assert list((lab.root / "failed").iterdir()) == []
    event = lab.views.history("S1", 0.0)[-1]
    assert "a.txt" in event.text.lower()
    assert "differ only in case" in event.text


def test_a_name_that_is_taken_again_and_again_ends_the_turn(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.script = refuse_metadata
    (dropped,) = lab.drop("S1")
    tried: list[str] = []

    def taken(*arguments: Any) -> None:
        tried.append(arguments[-1])
        assert len(tried) < 5, "tried again and again in one turn"
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "move_out", taken)
        lab.run(1)
    assert len(tried) == 2
    assert lab.state("S1") is State.WAITING
    assert files(lab.root / "work" / dropped.uuid) == ["0.dcm"]
    lab.run(60)
    assert lab.state("S1") is State.FAILED


# What a start finds in work


def test_a_folder_that_comes_back_into_work_after_its_sample_failed_without_it_is_kept_and_named(
    lab: House, caplog: pytest.LogCaptureFixture
) -> None:
    (dropped,) = lab.drop("S1", images=2)
    there, away = lab.root / "work" / dropped.uuid, lab.root / "away"
    there.rename(away)
    lab.run(1)
    assert (lab.state("S1"), lab.newest("S1").place) == (State.FAILED, None)
    away.rename(there)
    break_off(lab)
    assert files(there) == ["0.dcm", "1.dcm"]
    assert dropped.uuid in caplog.text
    assert "Move it into the inbox" in caplog.text


def test_a_state_of_yesterday_deletes_nothing_of_what_was_retried_since(lab: House) -> None:
    lab.script = refuse_metadata
    lab.drop("S1", images=2)
    lab.run(1)
    lab.close()
    yesterday = {path: path.read_bytes() for path in lab.root.glob("state.db*")}
    lab.start()
    retry(lab, "S1")
    lab.close()
    for path in lab.root.glob("state.db*"):
        path.unlink()
    for path, content in yesterday.items():
        path.write_bytes(content)
    lab.start()
    assert files(lab.root) == ["0.dcm", "1.dcm"]


# From the inbox into work


def settled(lab: House) -> Path:
    folder = lab.settings.folders.inbox / "S1"
    folder.mkdir()
    write_image(folder / "0.dcm")
    return folder


def intended(lab: House) -> Submission:
    manifest = lab.rooms.manifest_of(settled(lab))
    (submission,) = lab.rooms.arrivals.intend([Taking("S1", "S1", manifest, 1, 1, 1000, 1000)])
    return submission


def look_into_the_inbox(lab: House, times: int = 6) -> None:
    for _ in range(times):
        lab.rooms.intake.look()
        lab.clock.advance(100)


def test_a_taking_whose_answer_was_lost_is_a_taking(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(lab)
    rename = durable.rename_noreplace

    def answer_lost(source: Path, destination: Path) -> None:
        rename(source, destination)
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename_noreplace", answer_lost)
        look_into_the_inbox(lab)
    lab.run(1)
    assert lab.state("S1") is State.DONE


def test_a_taking_of_which_nobody_can_say_how_it_went_is_taken_up_again(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(lab)
    rename, is_there = durable.rename_noreplace, places.is_there
    silent: list[bool] = []

    def breaks(source: Path, destination: Path) -> None:
        rename(source, destination)
        silent.append(True)
        io_error()

    def unanswered(path: Path) -> bool:
        return bool(io_error()) if silent else is_there(path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename_noreplace", breaks)
        patch.setattr(places, "is_there", unanswered)
        look_into_the_inbox(lab)
        assert "Input/output error" in lab.rooms.intake.notices[0]
    look_into_the_inbox(lab)
    lab.run(1)
    assert lab.state("S1") is State.DONE


def test_one_look_at_work_that_fails_at_the_start_strands_no_taking(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = intended(lab)
    lab.rooms.spool.take([("S1", submission.uuid)])
    is_there, looks = places.is_there, []

    def flaky(path: Path) -> bool:
        if path.parent.name == submission.uuid:
            looks.append(path)
            if len(looks) == 2:
                io_error()
        return is_there(path)

    with monkeypatch.context() as patch:
        patch.setattr(places, "is_there", flaky)
        break_off(lab)
    assert len(looks) >= 2
    lab.run(1)
    assert lab.state("S1") is State.DONE


def test_a_taking_that_could_not_be_finished_at_the_start_is_finished_by_the_next_look(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    intended(lab)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "fsync_folder", io_error)
        break_off(lab)
    look_into_the_inbox(lab, 1)
    lab.run(1)
    assert lab.state("S1") is State.DONE
