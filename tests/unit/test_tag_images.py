"""The tags step: what is planned, and what a file that still changes means."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from moichord.errors import Hold, SampleFailure
from moichord.oneshot.journal import MemoryJournal
from moichord.pipeline.equipment import Contents, Equipment, Patience, TagPolicy
from moichord.pipeline.tag_images import Plan, tag_images
from moichord.sample import Api, State, Submission
from moichord.tag_rules import parse
from tests.builders import write_image
from tests.fakes import FakeClock
from tests.house import house

SUBMISSION = Submission("5b3b6a6e-6f0f-4c54-8b5a-0d5cf1d8a001", "A1", "A1", 1, State.PROCESSING, taken_at=0.0)


def equipment(look: Callable[[Path], Contents]) -> Equipment:
    """As much of it as this step uses."""
    return cast(
        Equipment,
        SimpleNamespace(
            look=look,
            listing=lambda *_: "listing",
            ignored=(),
            tags=TagPolicy(rules=parse({"PatientName": "name"}), consistent=("PatientID",)),
            patience=Patience(settle_time=60.0, incomplete_timeout=600.0, unknown_sample_grace=0.0),
            clock=FakeClock(),
        ),
    )


def plan(folder: Path, *manifests: str) -> Plan:
    """Plan the one image of `folder`, whose manifests are these, one for each look."""
    looks = iter(manifests)
    journal = MemoryJournal(SUBMISSION, FakeClock(), threading.Event())
    tools = equipment(lambda _: Contents(manifest=next(looks), images=("image.dcm",)))
    return tag_images(journal, tools, folder, {"name": "Rex"})


def test_an_image_is_planned_with_its_changes(tmp_path: Path) -> None:
    write_image(tmp_path / "image.dcm", PatientName="SCANNER")
    planned = plan(tmp_path, "as taken")
    (image,) = planned.images
    assert [(change.keyword, change.before, change.after) for change in image.changes] == [
        ("PatientName", "SCANNER", "Rex")
    ]
    assert image.size == (tmp_path / "image.dcm").stat().st_size


def test_an_image_that_breaks_while_somebody_writes_waits_and_does_not_fail(tmp_path: Path) -> None:
    whole = write_image(tmp_path / "image.dcm").read_bytes()
    (tmp_path / "image.dcm").write_bytes(whole[:-10])
    with pytest.raises(Hold, match="still being written") as held:
        plan(tmp_path, "as taken", "changed")
    assert held.value.held_by == "settling"
    assert held.value.seconds == 20.0


def test_an_image_that_is_broken_and_at_rest_fails_the_sample_by_name(tmp_path: Path) -> None:
    whole = write_image(tmp_path / "image.dcm").read_bytes()
    (tmp_path / "image.dcm").write_bytes(whole[:-10])
    with pytest.raises(SampleFailure, match=r"image\.dcm"):
        plan(tmp_path, "as taken", "as taken")


def test_before_anything_is_sent_all_files_of_the_sample_are_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote them may have left them in memory, and a power cut would take them."""
    synced: set[str] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    with house({"dicom": {"non_image": "carry"}}) as lab:
        (one,) = lab.drop("S1", images=2)
        folder = lab.rooms.spool.folder(one.uuid, one.folder_name)
        (folder / "more").mkdir()
        (folder / "more" / "notes.txt").write_text("carried along")
        wanted = {str(path) for path in folder.rglob("*")} | {str(folder)}
        monkeypatch.setattr(os, "fsync", noted)
        seen: list[set[str]] = []
        lab.script = lambda called: seen.append(set(synced)) if called.api is Api.UPLOAD else None
        lab.run(60)
        assert lab.state("S1") is State.DONE
        assert wanted <= seen[0]
