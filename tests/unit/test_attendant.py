"""What becomes of what people ask for: carried out on the real folders and the real state, or refused by name."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from moichord import durable
from moichord.attendant import LONGEST_DELAY, SKIPPED_AT_MOST
from moichord.conclusion import Conclusion
from moichord.durable import trees
from moichord.ending import REMOVED, Ending
from moichord.pipeline import archive_sample
from moichord.queue.journal import QueueJournal
from moichord.queue.requests import require_cancellable
from moichord.queue.schema import requests, submissions
from moichord.sample import RECEIPT_NAME, Api, State, Step, Submission
from moichord.spool import Spool
from tests.builders import write_image
from tests.house import Called, House, Says, house


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def look(lab: House) -> None:
    lab.rooms.attendant.look()


def asked(lab: House) -> list[str | None]:
    """What came of each request; None while it is open."""
    with lab.database.read() as connection:
        return list(connection.execute(select(requests.c.outcome).order_by(requests.c.number)).scalars())


def retry(lab: House, sample_id: str) -> None:
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest(sample_id), None)
    look(lab)


def cancel(lab: House, sample_id: str) -> None:
    lab.rooms.attendant._desk.requests.ask_cancel(lab.newest(sample_id))


def refuse_uploads_after(first: int) -> Callable[[Called], Says | None]:
    seen: list[Called] = []

    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        seen.append(called)
        return Says(422) if len(seen) > first else None

    return script


def half_sent(lab: House) -> Path:
    """A sample that failed when some of its images were stored already; where it lies."""
    lab.script = refuse_uploads_after(1)
    lab.drop("S1", images=3)
    lab.run(1)
    lab.script = lambda _: None
    assert lab.state("S1") is State.FAILED
    return lab.root / "failed" / "S1"


def add(folder: Path) -> None:
    write_image(folder / "added.dcm")


def add_below(folder: Path) -> None:
    (folder / "more").mkdir()
    write_image(folder / "more" / "added.dcm")


def take_out(folder: Path) -> None:
    (folder / "1.dcm").unlink()


def cut(folder: Path) -> None:
    os.truncate(folder / "1.dcm", 5000)


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (add, "added.dcm was added"),
        (add_below, "more/added.dcm was added"),
        (take_out, "1.dcm is gone"),
        (cut, "1.dcm"),
    ],
)
def test_once_images_were_sent_a_folder_with_other_images_is_refused_by_name(
    lab: House, alter: Callable[[Path], None], named: str
) -> None:
    folder = half_sent(lab)
    alter(folder)
    retry(lab, "S1")
    (outcome,) = asked(lab)
    assert outcome is not None
    assert outcome.startswith(f"refused: {folder} was altered: ")
    assert named in outcome
    assert (lab.state("S1"), folder.is_dir()) == (State.FAILED, True)


def test_what_a_file_browser_leaves_behind_is_no_alteration(lab: House) -> None:
    folder = half_sent(lab)
    (folder / "Thumbs.db").write_bytes(b"thumbs")
    retry(lab, "S1")
    lab.run()
    assert lab.state("S1") is State.DONE


def test_before_any_upload_images_may_be_added(lab: House) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("S1")
    lab.run(1)
    add(lab.root / "failed" / "S1")
    lab.script = lambda _: None
    retry(lab, "S1")
    lab.run()
    assert len(lab.calls_to(Api.UPLOAD)) == 2


def test_a_folder_that_is_altered_and_then_mended_goes_on(lab: House) -> None:
    folder = half_sent(lab)
    add(folder)
    retry(lab, "S1")
    (folder / "added.dcm").unlink()
    retry(lab, "S1")
    lab.run()
    assert lab.state("S1") is State.DONE


def sent_whole(lab: House) -> None:
    """All that is left of the sample's trip is its end: only the analytics are not answered yet."""
    lab.script = lambda called: Says(503) if called.api is Api.ANALYTICS else None
    lab.run(1)
    lab.clock.advance(3600)


def decide_done(lab: House, claimed: Submission, images: str) -> None:
    """What a worker does that has just sent the sample, and finds its place gone."""
    turns = lab.rooms.turns
    journal = QueueJournal(lab.database, turns._time, turns._circuits, claimed, lambda: None)
    journal.advance(Step.ANALYTICS, {}, Step.ARCHIVE, terms=images)
    lab.rooms.endings.conclude(claimed, State.DONE, claimed.folder_name, None, None)
    lab.rooms.transitions.hold(claimed, "the place is gone", "disk:done", None)


@pytest.mark.parametrize(("images", "kept"), [("none", set()), ("original", {"0.dcm"})])
def test_a_sample_whose_end_is_decided_is_not_cancelled_any_more(images: str, kept: set[str]) -> None:
    with house({"archive": {"images": images}}) as lab:
        lab.drop("S1")
        sent_whole(lab)
        claimed = lab.rooms.transitions.claim()
        assert claimed is not None
        cancel(lab, "S1")
        (request,) = lab.rooms.attendant._desk.requests.open()  # as it was before the worker decided
        decide_done(lab, claimed, images)
        assert lab.rooms.attendant._carry_out(request) == "it is done"
        assert lab.state("S1") is State.DONE
        assert {path.name for path in (lab.root / "done" / "S1").iterdir()} == {RECEIPT_NAME, *kept}


def test_a_sample_on_its_way_is_cancelled(lab: House) -> None:
    lab.drop("S1")
    cancel(lab, "S1")
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is cancelled"], State.CANCELLED)


def cancel_while_it_waits(lab: House, api: Api) -> Submission:
    lab.script = lambda called: Says(503) if called.api is api else None
    (submission,) = lab.drop("S1", images=3)
    lab.run(1)
    cancel(lab, "S1")
    return submission


@pytest.mark.parametrize("api", list(Api))
def test_nothing_is_sent_of_what_is_to_be_cancelled_though_the_daemon_died_meanwhile(lab: House, api: Api) -> None:
    cancel_while_it_waits(lab, api)
    lab.script = lambda _: None
    lab.close()
    lab.start()
    before = len(lab.calls)
    lab.clock.advance(3600)
    lab.run()  # the workers are first
    assert len(lab.calls) == before
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is cancelled"], State.CANCELLED)


def test_the_same_where_it_died_in_the_middle_of_the_turn(lab: House) -> None:
    lab.drop("S1")
    assert lab.rooms.transitions.claim() is not None
    cancel(lab, "S1")
    look(lab)
    assert asked(lab) == [None], "a worker has it in hand"
    lab.close()
    lab.start()
    lab.run()
    assert lab.calls == []
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is cancelled"], State.CANCELLED)


def test_a_sample_whose_folder_was_removed_can_be_cancelled(lab: House) -> None:
    submission = cancel_while_it_waits(lab, Api.UPLOAD)
    shutil.rmtree(lab.root / "work" / submission.uuid)
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is cancelled"], State.CANCELLED)
    assert lab.newest("S1").reason == f"Cancelled by request. {REMOVED}"


def test_what_is_being_filed_is_filed_although_it_was_to_be_cancelled(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of its images would carry their new tags in failed, and others not."""
    lay = archive_sample.lay

    def and_cancel(*arguments: Any, **named: Any) -> str:
        if not asked(lab):
            monkeypatch.setattr("moichord.queue.requests.require_cancellable", lambda _: None)  # asked a moment before
            cancel(lab, "S1")
            monkeypatch.setattr("moichord.queue.requests.require_cancellable", require_cancellable)
            lab.rooms.attendant._cancellations.cancel(lab.newest("S1").uuid)
        return lay(*arguments, **named)

    monkeypatch.setattr(archive_sample, "lay", and_cancel)
    lab.drop("S1", images=3)
    lab.run()
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is done"], State.DONE)


def test_a_worker_may_have_brought_it_too_far_to_be_cancelled(lab: House) -> None:
    lab.drop("S1")
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    cancel(lab, "S1")
    (request,) = lab.rooms.attendant._desk.requests.open()  # as it was before the worker came that far
    lab.free = lambda _: 0
    lab.rooms.turns.process(claimed)
    assert (lab.state("S1"), lab.newest("S1").step) == (State.WAITING, Step.ARCHIVE)
    outcome = lab.rooms.attendant._carry_out(request)
    assert outcome is not None
    assert outcome.startswith("refused: Everything of S1 is sent")
    lab.rooms.attendant._desk.requests.done(request, outcome)
    assert lab.state("S1") is State.WAITING
    assert lab.rooms.transitions.claim() is not None, "and it goes on"


def test_what_breaks_one_request_keeps_no_other_waiting(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.drop("S1", "S2")
    cancel(lab, "S1")
    cancel(lab, "S2")
    conclude = Conclusion.conclude

    def break_for_one(self: Conclusion, submission: Submission, ending: Ending) -> Ending:
        if submission.sample_id == "S1":
            raise RuntimeError("unforeseen")
        return conclude(self, submission, ending)

    monkeypatch.setattr(Conclusion, "conclude", break_for_one)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            lab.rooms.attendant.look()
    assert asked(lab) == [None, "it is cancelled"]


def test_what_was_asked_of_a_forgotten_submission_is_closed_and_the_others_go_on(lab: House) -> None:
    lab.drop("S1", "S2")
    cancel(lab, "S1")
    cancel(lab, "S2")
    forgotten = submissions.delete().where(submissions.c.sample_id == "S1")
    lab.database.write(lambda connection: connection.execute(forgotten).rowcount)
    look(lab)
    assert asked(lab) == ["refused: the sample is forgotten.", "it is cancelled"]


def test_an_idle_daemon_asks_for_requests_only_when_the_state_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    with house() as lab:
        attendant, requests = lab.rooms.attendant, type(lab.rooms.attendant._desk.requests)
        asked: list[int] = []
        opened = requests.open
        monkeypatch.setattr(requests, "open", lambda self: asked.append(1) or opened(self))
        for _ in range(2 * SKIPPED_AT_MOST):
            attendant.look()
        assert len(asked) <= 4
        (submission,) = lab.drop("A1")
        asked.clear()
        attendant._desk.requests.ask_cancel(submission)
        attendant.look()
        assert asked == [1]
        assert lab.state("A1") is State.CANCELLED


# What a disk or share does not let through


def all_but(lab: House, first: str) -> list[str]:
    return [name for name in ("A", "B", "C") if name != first]


def test_a_cancel_that_waits_for_a_share_is_in_nobodys_hands_and_keeps_no_turn_from_others(lab: House) -> None:
    lab.drop("A", "B", "C")
    suspect = lab.rooms.transitions.claim()
    assert suspect is not None
    lab.close()
    lab.start()
    (lab.root / "failed").rename(lab.root / "away")
    cancelled, other = all_but(lab, suspect.sample_id)
    cancel(lab, cancelled)
    look(lab)
    lab.run(10)
    assert (asked(lab), lab.state(cancelled)) == ([None], State.READY)
    assert (lab.state(suspect.sample_id), lab.state(other)) == (State.DONE, State.DONE)
    (lab.root / "away").rename(lab.root / "failed")
    look(lab)
    assert (asked(lab), lab.state(cancelled)) == (["it is cancelled"], State.CANCELLED)


@pytest.mark.parametrize("broken", ["free_name", "move_out"])
def test_a_cancel_that_the_disk_refuses_is_given_back_and_tried_again_later_and_later(
    lab: House, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    lab.drop("S1")
    tried: list[float] = []

    def refuse(*_: Any) -> Any:
        tried.append(lab.clock.now())
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as while_broken:
        while_broken.setattr(Spool, broken, refuse)
        cancel(lab, "S1")
        for _ in range(40):
            look(lab)
            lab.clock.advance(0.5)
        assert (asked(lab), lab.state("S1"), lab.newest("S1").held_by) == ([None], State.WAITING, "disk")
        assert len(tried) == 4, "after 2, 4 and 8 seconds"
        lab.run(60)
        assert lab.calls == [], "nothing of it is sent meanwhile"
    lab.clock.advance(LONGEST_DELAY)
    look(lab)
    assert (asked(lab), lab.state("S1")) == (["it is cancelled"], State.CANCELLED)


def test_a_full_disk_is_not_filled_again_at_every_look_by_a_sample_that_is_to_come_back(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_sent(lab)
    copied: list[str] = []

    def fill(_: Spool, *whose: Any) -> None:
        copied.append(whose[1])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as while_full:
        while_full.setattr(Spool, "bring_back", fill)
        for _ in range(20):
            if not asked(lab):
                retry(lab, "S1")
            look(lab)
            lab.clock.advance(0.5)
        assert (asked(lab), len(copied)) == ([None], 3)
    lab.clock.advance(LONGEST_DELAY)
    look(lab)
    lab.run()
    assert lab.state("S1") is State.DONE


def test_a_return_that_was_intended_goes_on_although_what_had_allowed_it_is_forgotten(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its only image was refused, so that nothing says any more that its upload had begun."""
    lab.script = refuse_uploads_after(0)
    lab.drop("S1")
    lab.run(1)
    lab.script = lambda _: None

    def fail_once(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as for_once:
        for_once.setattr(Spool, "bring_back", fail_once)
        lab.rooms.attendant._desk.requests.ask_retry(lab.newest("S1"), Step.UPLOAD)
        look(lab)
    assert (asked(lab), lab.newest("S1").intent) == ([None], "bring_back")
    lab.clock.advance(LONGEST_DELAY)
    look(lab)
    assert (asked(lab), lab.newest("S1").intent) == (["goes on at upload"], None)
    lab.run()
    assert lab.state("S1") is State.DONE


@pytest.mark.parametrize("way", ["out", "back"])
def test_a_copy_to_another_file_system_is_left_when_the_daemon_stops_and_the_next_start_goes_on(
    lab: House, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("S1")
    if way == "back":
        lab.run(1)
    stop_while_copying(lab, monkeypatch)
    if way == "back":
        retry(lab, "S1")
    else:
        cancel(lab, "S1")
        look(lab)
    assert lab.signals.stopping.is_set(), "a copy had begun"
    assert asked(lab) == [None]
    assert [path.name for path in lab.root.rglob("*.dcm")] == ["0.dcm"], "half a copy is left nowhere"
    lab.close()
    lab.start()
    lab.script = lambda _: None
    lab.run()
    look(lab)
    assert lab.state("S1") is (State.DONE if way == "back" else State.CANCELLED)


def test_a_worker_leaves_such_a_copy_as_well(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("S1")
    stop_while_copying(lab, monkeypatch)
    lab.turn()
    assert (lab.state("S1"), lab.newest("S1").intent) == (State.WAITING, "conclude")
    lab.close()
    lab.start()
    lab.run()
    assert lab.state("S1") is State.FAILED


def stop_while_copying(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work and failed lie on two file systems, and the daemon is to stop when the first block is copied."""
    rename, copied = durable.rename_noreplace, trees._copied

    def crossing(source: Path, destination: Path) -> None:
        if ("failed" in Path(source).parts) != ("failed" in Path(destination).parts):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, destination)

    def stopping(*arguments: Any) -> bytes:
        if not begun:
            lab.signals.stop()
        begun.append(True)
        return copied(*arguments)

    begun: list[bool] = []

    monkeypatch.setattr(durable, "rename_noreplace", crossing)
    monkeypatch.setattr(trees, "_copied", stopping)
