"""How a worker ends the turns that nobody foresaw: no submission may stay in its hands."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from moichord.ending import REMOVED, REPEATED_IN_VAIN, UNFORESEEN
from moichord.errors import StateUnwritable
from moichord.pipeline import archive_sample
from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api, Image, State, Step, Submission, analytics_key
from tests.house import Called, House, Says, house


class Bug(Exception):
    """A mistake of moichord's own."""


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def raises(error: Exception, times: int, otherwise: object = None):
    """A verb that fails so many times, and then does what it should."""
    left = [error] * times

    def verb(*arguments: object, **named: object) -> object:
        if left:
            raise left.pop()
        return otherwise(*arguments, **named) if callable(otherwise) else None

    return verb


def test_a_mistake_while_a_mistake_is_written_down_leaves_nobody_in_hand(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Called) -> NoReturn:
        raise Bug("in the step")

    transitions = lab.rooms.transitions
    lab.drop("S1", "S2")
    monkeypatch.setattr(lab, "script", broken)
    monkeypatch.setattr(transitions, "postpone", raises(Bug("in the note of it"), 1))
    assert lab.turn() is None
    assert {lab.state("S1"), lab.state("S2")} == {State.WAITING, State.READY}
    assert "its turn could not be ended" in caplog.text
    monkeypatch.undo()
    lab.run()
    assert {lab.state("S1"), lab.state("S2")} == {State.DONE}


def test_a_submission_is_given_back_however_often_that_fails(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    transitions = lab.rooms.transitions
    lab.drop("S1")
    monkeypatch.setattr(lab, "script", raises(Bug("in the step"), 1))
    monkeypatch.setattr(transitions, "postpone", raises(Bug("in the note of it"), 1, transitions.postpone))
    monkeypatch.setattr(transitions, "hold", raises(Bug("in giving it back"), 3, transitions.hold))
    assert lab.turn() is None
    assert lab.state("S1") is State.WAITING


def test_a_submission_is_given_back_at_a_stop_too(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: Called) -> NoReturn:
        lab.signals.stop()
        raise StateUnwritable("The disk was full for a moment")

    lab.drop("S1")
    lab.script = stopped
    assert lab.turn() is None
    assert lab.state("S1") is State.WAITING


def test_a_stop_is_heeded_between_two_images_that_are_archived(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lay = archive_sample.lay
    laid = []

    def and_stop(*arguments: object, **named: object) -> object:
        laid.append(arguments)
        lab.signals.stop()
        return lay(*arguments, **named)

    monkeypatch.setattr(archive_sample, "lay", and_stop)
    lab.drop("S1", images=3)
    assert lab.turn() is None
    assert (len(laid), lab.state("S1")) == (1, State.WAITING)
    monkeypatch.undo()
    lab.close()
    lab.start()
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len(lab.calls_to(Api.UPLOAD)) == 3


@pytest.mark.parametrize("verb", ["retire", "remove_retired"])
def test_what_stays_in_work_of_a_finished_sample_takes_nothing_from_its_end(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    monkeypatch.setattr(type(lab.rooms.spool), verb, raises(OSError(16, "Device or resource busy"), 1))
    lab.drop("S1")
    lab.script = lambda _: leave_something_in_work(lab)
    assert lab.turn() is None
    assert lab.state("S1") is State.DONE
    assert "unforeseen" not in caplog.text
    assert "Device or resource busy" in caplog.text


def test_what_a_turn_took_from_its_name_and_could_not_end_is_removed_by_the_next(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings = type(lab.rooms.endings)
    full = StateUnwritable("the disk was full for a moment")
    monkeypatch.setattr(endings, "concluded", raises(full, 1, endings.concluded))
    lab.script = lambda _: leave_something_in_work(lab)
    lab.drop("S1")
    lab.turn()
    assert len(lab.rooms.spool.retired()) == 1
    lab.run()
    assert lab.state("S1") is State.DONE
    assert lab.rooms.spool.retired() == ()


def leave_something_in_work(lab: House) -> None:
    for folder in lab.rooms.spool.work.glob("[!.]*"):
        (folder / "left").touch()


def test_a_mistake_of_moichords_own_fails_no_sample_that_is_sent_whole(lab: House) -> None:
    def broken(called: Called) -> None:
        if called.api is Api.ANALYTICS:
            raise Bug("in the step")

    lab.script = broken
    lab.drop("S1")
    lab.run(5 * 24 * 3600)
    waiting = lab.newest("S1")
    assert (waiting.state, waiting.step, waiting.reason) == (State.WAITING, Step.ANALYTICS, UNFORESEEN)
    asked = lab.calls_to(Api.ANALYTICS)
    assert len({called.key for called in asked}) == 1
    assert asked[-1].at - asked[-2].at > asked[1].at - asked[0].at, "it is asked less and less often"
    lab.script = lambda _: None
    lab.run()
    assert lab.state("S1") is State.DONE


# Analytics of a done sample, repeated


def receipt(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RECEIPT_NAME).read_text())
    return found


def ask_again(lab: House) -> None:
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest("S1"), Step.ANALYTICS)
    lab.rooms.attendant.look()


def refused(called: Called) -> Says | None:
    return Says(422) if called.api is Api.ANALYTICS else None


@pytest.mark.parametrize("images", ["updated", "original", "none"])
def test_a_done_sample_whose_repeated_analytics_is_refused_stays_done_and_says_so(images: str) -> None:
    with house({"archive": {"images": images}}) as lab:
        lab.drop("S1")
        lab.run()
        folder = lab.root / "done" / "S1"
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECEIPT_NAME}
        first = receipt(folder)
        lab.script = refused
        ask_again(lab)
        lab.run()
        now = lab.newest("S1")
        assert now.state is State.DONE
        assert (now.reason or "").startswith(REPEATED_IN_VAIN)
        assert "422" in (now.reason or "")
        assert "moichord retry S1 --from analytics" in (now.remedy or "")
        assert not list((lab.root / "failed").iterdir())
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECEIPT_NAME} == before
        told = receipt(folder)
        assert (told["outcome"], told["reason"], told["remedy"]) == ("done", now.reason, now.remedy)
        assert told["analytics"] == first["analytics"], "what analytics answered the first time still holds"
        assert lab.views.history("S1", None)[-1].text == now.reason


def test_the_same_where_it_is_given_up() -> None:
    with house({"retry": {"max_tries": 1}}) as lab:
        lab.drop("S1")
        lab.run()
        lab.script = lambda called: Says(500) if called.api is Api.ANALYTICS else None
        ask_again(lab)
        lab.run()
        assert lab.state("S1") is State.DONE
        assert (lab.newest("S1").reason or "").startswith(REPEATED_IN_VAIN)


def test_and_where_that_is_cancelled(lab: House) -> None:
    lab.drop("S1")
    lab.run()
    ask_again(lab)
    lab.rooms.attendant._desk.requests.ask_cancel(lab.newest("S1"))
    lab.rooms.attendant.look()
    now = lab.newest("S1")
    assert (now.state, now.reason) == (State.DONE, f"{REPEATED_IN_VAIN} Cancelled by request.")
    assert (lab.root / "done" / "S1").is_dir()


def test_it_can_be_asked_once_more_and_then_nothing_is_wrong_any_more(lab: House) -> None:
    (submission,) = lab.drop("S1")
    lab.run()
    lab.script = refused
    ask_again(lab)
    lab.run()
    lab.script = lambda _: None
    ask_again(lab)
    lab.run()
    now = lab.newest("S1")
    assert (now.state, now.reason) == (State.DONE, None)
    assert [called.key for called in lab.calls_to(Api.ANALYTICS)] == [
        analytics_key(submission.key, number) for number in range(3)
    ]
    assert len(lab.calls_to(Api.UPLOAD)) == 1


def test_the_receipt_of_a_done_sample_tells_the_tries_that_were_made(lab: House) -> None:
    left = [Says(503), Says(503)]
    lab.script = lambda called: left.pop() if called.api is Api.METADATA and left else None
    lab.drop("S1")
    lab.run()
    told = {step["step"]: (step["tries"], step["counted_tries"]) for step in receipt(lab.root / "done" / "S1")["steps"]}
    assert (told["metadata"], told["upload"]) == ((3, 0), (1, 0))


# A folder that somebody removed from work


def remove(lab: House, submission: Submission) -> None:
    shutil.rmtree(lab.root / "work" / submission.uuid)


def remove_inside(lab: House, submission: Submission) -> None:
    shutil.rmtree(lab.root / "work" / submission.uuid / submission.folder_name)


@pytest.mark.parametrize("api", list(Api))
@pytest.mark.parametrize("removed", [remove, remove_inside])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_sample_whose_folder_was_removed_from_work_fails_and_says_so(
    lab: House, api: Api, removed: Callable[[House, Submission], None], restarted: bool
) -> None:
    lab.script = lambda called: Says(503) if called.api is api else None
    (submission,) = lab.drop("S1")
    lab.run(1)
    removed(lab, submission)
    lab.script = lambda _: None
    if restarted:
        lab.close()
        lab.start()
    lab.run()
    now = lab.newest("S1")
    assert (now.state, now.reason) == (State.FAILED, REMOVED)
    assert [path.name for path in (lab.root / "work").iterdir()] == [".moichord-state"]
    assert not list((lab.root / "failed").iterdir())
    assert "drop" in (now.remedy or "").lower()


@pytest.mark.parametrize(
    ("outcome", "ends"), [(State.FAILED, State.FAILED), (State.CANCELLED, State.CANCELLED), (State.DONE, State.FAILED)]
)
def test_why_it_was_to_end_is_told_along(lab: House, outcome: State, ends: State) -> None:
    (submission,) = lab.drop("S1")
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    lab.rooms.endings.conclude(claimed, outcome, "S1", "its own reason.", None)
    remove(lab, submission)
    lab.close()
    lab.start()
    lab.run()
    assert (lab.state("S1"), lab.newest("S1").reason) == (ends, f"its own reason. {REMOVED}")


def hide_work(lab: House, submission: Submission) -> None:
    """What an unmounted share looks like: an empty folder that bears no mark."""
    (lab.root / "work").rename(lab.root / "hidden")
    (lab.root / "work").mkdir()


def take_work_away(lab: House, submission: Submission) -> None:
    (lab.root / "work").rename(lab.root / "hidden")


def rename_in_work(lab: House, submission: Submission) -> None:
    folder = lab.root / "work" / submission.uuid
    (folder / "S1").rename(folder / "S1-renamed")


def restore(lab: House, submission: Submission) -> None:
    if (lab.root / "hidden").exists():
        shutil.rmtree(lab.root / "work", ignore_errors=True)
        (lab.root / "hidden").rename(lab.root / "work")
    else:
        folder = lab.root / "work" / submission.uuid
        (folder / "S1-renamed").rename(folder / "S1")


@pytest.mark.parametrize("hide", [hide_work, take_work_away, rename_in_work])
@pytest.mark.parametrize("seen", [False, True])
def test_what_only_cannot_be_seen_is_not_removed(
    lab: House, hide: Callable[[House, Submission], None], seen: bool
) -> None:
    (submission,) = lab.drop("S1")
    hide(lab, submission)
    if seen:
        lab.rooms.storage.look()
    lab.run(600)
    assert lab.state("S1") in {State.READY, State.WAITING}
    restore(lab, submission)
    lab.rooms.storage.look()
    lab.run()
    assert lab.state("S1") is State.DONE


def test_what_was_filed_is_not_removed(lab: House) -> None:
    lab.drop("S1")
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    decided = lab.rooms.endings.conclude(claimed, State.FAILED, "S1", "its own reason", None)
    lab.rooms.turns._conclusion._moved(decided, "failed", "S1")
    lab.close()
    lab.start()
    lab.run()
    assert (lab.state("S1"), lab.newest("S1").reason) == (State.FAILED, "its own reason")


# The filing of a sample


def test_no_image_is_laid_of_a_sample_of_which_one_has_changed(lab: House) -> None:
    lab.script = lambda called: Says(503) if called.api is Api.ANALYTICS else None
    (submission,) = lab.drop("S1", images=3)
    lab.run(1)
    folder = lab.root / "work" / submission.uuid / "S1"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (folder / "2.dcm").open("ab") as file:
        file.write(b"late")
    lab.script = lambda _: None
    lab.run()
    failed = lab.root / "failed" / "S1"
    assert lab.state("S1") is State.FAILED
    assert [(failed / name).read_bytes() == before[name] for name in ("0.dcm", "1.dcm")] == [True, True]
    assert "This folder holds the sample as it was received." in (failed / FAILED_NAME).read_text()


def test_what_carries_its_new_tags_already_is_said_where_filing_fails_in_the_middle(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay = archive_sample.lay

    def and_change(folder: Path, *arguments: Any, **named: Any) -> str:
        sha256 = lay(folder, *arguments, **named)
        with (folder / "2.dcm").open("ab") as file:
            file.write(b"late")
        return sha256

    monkeypatch.setattr(archive_sample, "lay", and_change)
    lab.drop("S1", images=3)
    lab.run()
    assert lab.state("S1") is State.FAILED
    told = (lab.root / "failed" / "S1" / FAILED_NAME).read_text().splitlines()
    at = told.index("Its filing had begun: 2 of the images in this folder carry their new tags already:")
    assert told[at + 1 : at + 4] == ["    0.dcm", "    1.dcm", "All else is as it was received."]


def test_what_carries_its_new_tags_is_also_said_when_a_retry_has_forgotten_that_filing_had_begun(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay = archive_sample.lay

    def break_off(folder: Path, image: Image, *arguments: Any, **named: Any) -> str:
        if image.relative_path == "1.dcm":
            raise archive_sample.changed_while_sent(image.relative_path)
        return lay(folder, image, *arguments, **named)

    with monkeypatch.context() as while_broken:
        while_broken.setattr(archive_sample, "lay", break_off)
        lab.drop("S1", images=2)
        lab.run(1)
    lab.script = lambda called: Says(503) if called.api is Api.ANALYTICS else None
    asking = lab.rooms.attendant._desk.requests
    asking.ask_retry(lab.newest("S1"), Step.ANALYTICS)
    lab.rooms.attendant.look()
    lab.run(5)
    asking.ask_cancel(lab.newest("S1"))
    lab.rooms.attendant.look()
    assert lab.state("S1") is State.CANCELLED
    told = (lab.root / "failed" / "S1" / FAILED_NAME).read_text().splitlines()
    at = told.index("Its filing had begun: 1 of the images in this folder carry their new tags already:")
    assert told[at + 1] == "    0.dcm"
