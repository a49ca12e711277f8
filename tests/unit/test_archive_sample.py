"""In which order an archived image gets its name, the disk hears of it, and the state notes it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moichord.pipeline import archive_sample
from moichord.queue.journal import QueueJournal
from moichord.sample import State
from tests.house import House, house


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens: `laid`, `synced` (a folder) and `noted`, in its order."""
    events: list[str] = []
    lay, sync, note = archive_sample.lay, archive_sample.fsync_folder, QueueJournal.archived

    def laid(*arguments: Any, **named: Any) -> str:
        sha256 = lay(*arguments, **named)
        events.append("laid")
        return sha256

    def synced(folder: Path) -> None:
        sync(folder)
        events.append("synced")

    def noted(*arguments: Any) -> None:
        note(*arguments)
        events.append("noted")

    monkeypatch.setattr(archive_sample, "lay", laid)
    monkeypatch.setattr(archive_sample, "fsync_folder", synced)
    monkeypatch.setattr(QueueJournal, "archived", noted)
    return events


def test_small_images_are_noted_after_one_sync_of_their_folder(lab: House, told: list[str]) -> None:
    lab.drop("S1", images=3)
    lab.run()
    assert told == ["laid"] * 3 + ["synced"] + ["noted"] * 3
    detail = lab.rooms.views.detail(lab.newest("S1").uuid)
    done = lab.root / "done" / "S1"
    found = {
        one.relative_path: hashlib.sha256((done / one.relative_path).read_bytes()).hexdigest() for one in detail.images
    }
    assert {one.relative_path: one.sha256 for one in detail.images} == found


def test_images_that_stay_as_they_were_received_cost_no_sync(told: list[str]) -> None:
    with house({"archive": {"images": "original"}}) as lab:
        lab.drop("S1", images=2)
        lab.run()
        assert lab.state("S1") is State.DONE
    assert told == ["laid", "laid", "noted", "noted"]


def test_large_images_are_noted_one_by_one(lab: House, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_sample, "TOGETHER", 1)
    lab.drop("S1", images=2)
    lab.run()
    assert told == ["laid", "synced", "noted"] * 2


def test_what_was_laid_and_not_noted_when_it_broke_off_is_recognised(
    lab: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay = archive_sample.lay

    def then_stop(*arguments: Any, **named: Any) -> str:
        sha256 = lay(*arguments, **named)
        lab.signals.stop()
        return sha256

    with monkeypatch.context() as until_stopped:
        until_stopped.setattr(archive_sample, "lay", then_stop)
        lab.drop("S1", images=2)
        assert lab.turn() is None
    detail = lab.rooms.views.detail(lab.newest("S1").uuid)
    assert [one.sha256 for one in detail.images] == [None, None]
    (first,) = lab.root.rglob("0.dcm")
    laid = first.stat().st_ino
    lab.close()
    lab.start()
    lab.run()
    assert lab.state("S1") is State.DONE
    assert (lab.root / "done" / "S1" / "0.dcm").stat().st_ino == laid
