"""What is large is laid for the archive while it is being sent; and nothing of that is left of a sample that fails."""

import errno
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from moichord.dicom import TaggedImage
from moichord.durable import TEMPORARY_PREFIX, Replacement
from moichord.errors import Stopped
from moichord.pipeline import laying_ahead, upload_images
from moichord.pipeline.laying_ahead import LayingAhead
from moichord.pipeline.wanted_tags import Tagging
from moichord.queue.arrivals import Taking
from moichord.sample import LONG_REQUEST, RECEIPT_NAME, Api, State, Step, Submission
from tests.builders import write_large_image
from tests.house import Called, House, Says, house

LONG = 30


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def drop_large(lab: House, images: int = 1) -> Submission:
    """One sample whose images are sent in long requests; their pixels are holes."""
    folder = lab.settings.folders.inbox / "S1"
    folder.mkdir()
    for number in range(images):
        write_large_image(folder / f"{number}.dcm", LONG_REQUEST >> 20)
    size = sum(file.stat().st_size for file in folder.iterdir())
    taking = Taking("S1", "S1", lab.rooms.manifest_of(folder), images, images, size, size // images)
    (submission,) = lab.rooms.arrivals.intend([taking])
    assert lab.rooms.spool.take([("S1", submission.uuid)]) == {submission.uuid: None}
    lab.rooms.arrivals.taken([submission])
    return submission


def during_upload(lab: House, do: Callable[[], Says | None]) -> None:
    """What happens while the image server has the request in hand."""
    lab.script = lambda called: do() if called.api is Api.UPLOAD and called.key else None


def folder_in_work(lab: House) -> Path:
    return lab.settings.folders.work / lab.newest("S1").uuid / "S1"


def hidden_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name.startswith(TEMPORARY_PREFIX)]


def draft_of(lab: House) -> Path:
    """The draft, once all of it is there."""

    def drafts() -> list[Path]:
        return [file for file in hidden_in(folder_in_work(lab)) if file.stat().st_size > LONG_REQUEST]

    until(drafts)
    return drafts()[0]


def until(holds: Callable[[], object]) -> None:
    patience = threading.Event()
    for _ in range(LONG * 1000):
        if holds():
            return
        patience.wait(0.001)
    raise AssertionError("it never came")


def digests(folder: Path) -> dict[str, str]:
    return {file.name: _sha256(file) for file in folder.iterdir()}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_large_image_is_laid_while_it_is_sent_and_archiving_only_renames(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts, writers = [], []
    write = TaggedImage.write_to
    monkeypatch.setattr(
        TaggedImage, "write_to", lambda *given: (writers.append(threading.current_thread().name), write(*given))
    )
    during_upload(lab, lambda: drafts.append(draft_of(lab).stat().st_ino))
    drop_large(lab)
    before = digests(folder_in_work(lab))
    lab.run()
    assert lab.state("S1") is State.DONE
    done = lab.root / "done" / "S1"
    assert [(done / "0.dcm").stat().st_ino] == drafts
    assert writers == ["laying-ahead"]
    receipt = json.loads((done / RECEIPT_NAME).read_text())
    assert receipt["images"][0]["sha256_sent"] == _sha256(done / "0.dcm") != before["0.dcm"]
    assert hidden_in(done) == []


def test_a_sample_that_fails_is_as_it_was_received(lab: House) -> None:
    during_upload(lab, lambda: draft_of(lab) and Says(400))
    drop_large(lab, images=2)
    before = digests(folder_in_work(lab))
    lab.run()
    assert lab.state("S1") is State.FAILED
    after = digests(lab.root / "failed" / "S1")
    assert {name: digest for name, digest in after.items() if not name.startswith("moichord-")} == before


def test_a_sample_that_waits_holds_no_draft_and_a_later_turn_lays_it_again(lab: House) -> None:
    answers = [Says(503), None]
    during_upload(lab, lambda: draft_of(lab) and answers.pop(0))
    drop_large(lab)
    lab.run(1)
    assert lab.state("S1") is State.WAITING
    assert hidden_in(folder_in_work(lab)) == []
    lab.run()
    assert lab.state("S1") is State.DONE
    assert hidden_in(lab.root / "done" / "S1") == []


@pytest.mark.parametrize("why", ["the daemon is stopping", "cancelled"])
def test_a_stop_and_a_cancel_leave_no_draft(lab: House, why: str) -> None:
    asking = lab.rooms.attendant._desk.requests

    def stop() -> None:
        draft_of(lab)
        if why == "cancelled":
            asking.ask_cancel(lab.newest("S1"))
            lab.rooms.attendant.look()
        raise Stopped(why, maybe_done=True)

    during_upload(lab, stop)
    drop_large(lab)
    before = digests(folder_in_work(lab))
    lab.turn()
    folder = lab.root / "failed" / "S1" if why == "cancelled" else folder_in_work(lab)
    assert lab.state("S1") is (State.CANCELLED if why == "cancelled" else State.WAITING)
    found = digests(folder)
    assert {name: digest for name, digest in found.items() if not name.startswith("moichord-")} == before


def test_what_a_crash_leaves_of_a_draft_is_gone_after_the_next_start(lab: House) -> None:
    submission = drop_large(lab)
    assert lab.rooms.transitions.claim() is not None
    folder = lab.root / "work" / submission.uuid / "S1"
    (folder / ".moichord-0123456789abcdef.tmp").write_bytes(b"half a draft")
    lab.close()
    lab.start()
    assert [file.name for file in folder.iterdir()] == ["0.dcm"]


def test_what_a_turn_could_not_clear_away_is_gone_once_the_sample_fails(lab: House) -> None:
    drop_large(lab)
    before = digests(folder_in_work(lab))
    (folder_in_work(lab) / ".moichord-0123456789abcdef.tmp").write_bytes(b"a draft whose removal failed")
    lab.script = lambda called: Says(400) if called.api is Api.UPLOAD and called.key else None
    lab.run()
    assert lab.state("S1") is State.FAILED
    after = digests(lab.root / "failed" / "S1")
    assert {name: digest for name, digest in after.items() if not name.startswith("moichord-")} == before


def test_a_draft_that_outlived_its_turn_does_not_come_to_done(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails for a while, and the daemon is started anew while the sample waits."""

    def fail() -> Says:
        draft_of(lab)
        disk_fails.setattr(Replacement, "discard", read_only)
        return Says(503)

    with monkeypatch.context() as disk_fails:
        during_upload(lab, fail)
        drop_large(lab)
        lab.turn()
        lab.close()
    lab.start()
    assert len(hidden_in(folder_in_work(lab))) == 1
    lab.script = lambda _: None
    lab.run()
    assert lab.state("S1") is State.DONE
    assert hidden_in(lab.root / "done" / "S1") == []


def read_only(_: Replacement) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_drafts_that_are_complete_hold_no_files_open(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    images, seen = 5, []
    for module in (laying_ahead, upload_images):
        monkeypatch.setattr(module, "LONG_REQUEST", 1)

    def analytics(called: Called) -> None:
        if called.api is Api.ANALYTICS:
            until(lambda: len(hidden_in(folder_in_work(lab))) == images)
            seen.append(open_drafts())

    lab.script = analytics
    lab.drop("S1", images=images)
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len(seen) == 1
    assert seen[0] <= 1, "the one that is being laid"


def open_drafts() -> int:
    """How many this process has open; source: proc_pid_fd(5)."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += descriptor.readlink().name.startswith(TEMPORARY_PREFIX)
    return found


def test_nothing_is_laid_before_its_time_where_that_would_fill_the_disk(lab: House) -> None:
    least = lab.settings.watch.min_free_space
    lab.free = lambda _: 2 * least + LONG_REQUEST - 1
    seen: list[list[Path]] = []
    during_upload(lab, lambda: seen.append(hidden_in(folder_in_work(lab))))
    drop_large(lab)
    lab.run()
    assert (lab.state("S1"), seen) == (State.DONE, [[]])


def test_a_draft_that_nobody_has_begun_is_not_waited_for_nor_laid_any_more(lab: House) -> None:
    def stop() -> None:
        raise Stopped("the daemon is stopping")

    during_upload(lab, stop)
    submission = drop_large(lab, images=2)
    lab.turn()
    known = lab.views.detail(submission.uuid)
    folder, tagging = folder_in_work(lab), Tagging.from_json(known.steps[Step.TAGS].result)
    first, second = known.images
    begun, busy, asked = threading.Event(), threading.Event(), []

    def room(size: int) -> bool:
        asked.append(size)
        begun.set()
        return busy.wait(LONG)

    ahead = LayingAhead(lab.clock, room)
    with ahead.meanwhile(folder, [first], tagging), ahead.meanwhile(folder, [second], tagging):
        assert begun.wait(LONG)
    assert ahead.taken(folder, second) is None
    busy.set()
    draft = ahead.taken(folder, first)
    assert draft is not None
    assert draft.take_place()
    for thread in threading.enumerate():
        if thread.name == "laying-ahead":
            thread.join(LONG)
    assert len(asked) == 1
    assert hidden_in(folder) == []


# How many bytes are written


def bytes_written() -> int:
    """By this process to files, by whatever call; source: proc_pid_io(5), wchar."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar:")))


@pytest.mark.parametrize(("images", "least", "most"), [("original", 0, 1), ("none", 0, 1), ("updated", 64, 65)])
def test_only_updated_images_are_written_again_and_only_once(images: str, least: int, most: int) -> None:
    with house({"archive": {"images": images}}) as lab:
        drop_large(lab)
        inode = (folder_in_work(lab) / "0.dcm").stat().st_ino
        before = bytes_written()
        lab.run()
        written = bytes_written() - before
        done = lab.root / "done" / "S1"
        assert lab.state("S1") is State.DONE
        assert least << 20 <= written < most << 20
        assert {file.name: file.stat().st_ino == inode for file in done.glob("*.dcm")} == {
            "original": {"0.dcm": True},
            "none": {},
            "updated": {"0.dcm": False},
        }[images]
