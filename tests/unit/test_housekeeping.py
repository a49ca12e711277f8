"""Retention: only what the configuration names, only when it is old enough, only this sample's own folder."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.errors import UsageRefused
from moichord.housekeeping import DAY, RETENTION_SECONDS, STEADY_SECONDS, SteadyClock
from moichord.queue.requests import reopening
from moichord.sample import RECEIPT_NAME, Api, State
from tests.fakes import FakeClock
from tests.house import Called, House, Says, house

KEPT = {"archive": {"retention": {"done": "10d", "failed": "20d", "history": "30d"}}}


@pytest.fixture
def lab() -> Iterator[House]:
    with house(KEPT) as made:
        made.script = unknown_if_bad
        yield made


def unknown_if_bad(called: Called) -> Says | None:
    bad = called.api is Api.METADATA and called.sample_id.startswith("BAD")
    return Says(404) if bad else None


def keep_house(lab: House, days: float) -> None:
    """That many days pass, and the house is kept; the clock is steady."""
    lab.clock.advance(days * DAY)
    look_steadily(lab)


def look_steadily(lab: House) -> None:
    for _ in range(3):
        lab.rooms.housekeeping.look()
        lab.clock.advance(STEADY_SECONDS)
    lab.rooms.housekeeping.look()


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folders_are_deleted_when_they_are_old_enough_and_not_before(lab: House) -> None:
    lab.drop("OLD", "BAD-1")
    lab.run(60)
    keep_house(lab, 9.5)
    assert kept(lab.root / "done") == {"OLD"}
    keep_house(lab, 0.6)
    assert kept(lab.root / "done") == set()
    assert kept(lab.root / "failed") == {"BAD-1"}
    keep_house(lab, 10)
    assert kept(lab.root / "failed") == set()
    assert "was deleted: it ended 10 days ago (archive.retention.done)" in lab.views.history("OLD", None)[-1].text
    assert lab.newest("OLD").deleted_at is not None


def test_age_runs_from_the_recorded_end_whatever_the_folder_says(lab: House) -> None:
    lab.drop("YOUNG")
    lab.run(60)
    os.utime(lab.root / "done" / "YOUNG", (0, 0))
    keep_house(lab, 9)
    assert kept(lab.root / "done") == {"YOUNG"}


def test_nothing_is_deleted_where_the_configuration_names_nothing() -> None:
    with house() as lab:
        lab.drop("KEPT")
        lab.run(60)
        keep_house(lab, 5000)
        assert kept(lab.root / "done") == {"KEPT"}
        assert lab.views.newest("KEPT") is None, "history is 365 days by default"
        assert lab.rooms.arrivals.count_attempts() == 1


@pytest.mark.parametrize("receipt", [None, "{}", '{"submission": "another"}', "no JSON"])
def test_a_folder_without_this_samples_own_receipt_is_left_alone(lab: House, receipt: str | None) -> None:
    lab.drop("MINE")
    lab.run(60)
    file = lab.root / "done" / "MINE" / RECEIPT_NAME
    file.unlink()
    if receipt is not None:
        file.write_text(receipt)
    keep_house(lab, 11)
    assert kept(lab.root / "done") == {"MINE"}
    assert "not deleted" in lab.views.history("MINE", None)[-1].text


def test_strangers_in_done_are_never_touched(lab: House) -> None:
    (lab.root / "done" / "somebody's").mkdir()
    (lab.root / "done" / "notes.txt").touch()
    lab.drop("S1")
    lab.run(60)
    keep_house(lab, 25)
    assert kept(lab.root / "done") == {"somebody's", "notes.txt"}


def test_more_folders_than_are_deleted_at_once_all_go(lab: House) -> None:
    lab.drop(*(f"S{number}" for number in range(25)))
    lab.run(60)
    keep_house(lab, 11)
    assert kept(lab.root / "done") == set()


def test_attempt_numbers_outlive_folders_and_history(lab: House) -> None:
    lab.drop("S1")
    lab.run(60)
    keep_house(lab, 40)
    assert lab.views.newest("S1") is None
    assert [event.text.split(":")[0] for event in lab.views.history(None, None)] == ["its folder in done was deleted"]
    (again,) = lab.drop("S1")
    assert again.attempt_number == 2


def test_what_is_in_work_is_never_forgotten(lab: House) -> None:
    lab.script = lambda _: Says(503)
    lab.drop("S1")
    lab.run(60)
    keep_house(lab, 400)
    assert lab.state("S1") is State.WAITING


def test_a_deletion_cut_short_is_finished_after_the_next_start(lab: House) -> None:
    lab.drop("S1")
    lab.run(60)
    one = lab.newest("S1")
    lab.clock.advance(11 * DAY)
    lab.rooms.housekeeping._retained.intend(one)
    (lab.root / "done" / "S1").rename(lab.root / "done" / f".moichord-{one.uuid}")
    lab.close()
    lab.start()
    lab.rooms.housekeeping.look()
    assert kept(lab.root / "done") == set()
    assert "was deleted" in lab.views.history("S1", None)[-1].text
    assert lab.newest("S1").deleted_at is not None


def test_a_sample_whose_folder_is_deleted_cannot_be_retried_and_says_why(lab: House) -> None:
    lab.drop("BAD-1")
    lab.run(60)
    keep_house(lab, 21)
    known = lab.views.detail(lab.newest("BAD-1").uuid)
    with pytest.raises(UsageRefused, match=r"archive\.retention"):
        reopening(known.submission, known.steps, known.images, None)


def test_a_disk_that_refuses_is_said_once_and_tried_again(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.drop("S1")
    lab.run(60)
    refuse = True
    delete = type(lab.rooms.spool).delete

    def perhaps(*arguments: object) -> bool:
        if refuse:
            raise PermissionError(13, "Permission denied")
        return delete(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(lab.rooms.spool), "delete", perhaps)
    caplog.set_level(logging.ERROR)
    keep_house(lab, 11)
    keep_house(lab, 1)
    assert [one.getMessage() for one in caplog.records] == [
        "its folder cannot be deleted from done: Permission denied; tried again later"
    ]
    refuse = False
    look_steadily(lab)
    assert kept(lab.root / "done") == set()


def test_a_clock_that_was_just_set_deletes_nothing(lab: House) -> None:
    lab.drop("S1")
    lab.run(60)
    look_steadily(lab)
    lab.clock.advance(RETENTION_SECONDS)
    lab.clock.jump(4000 * DAY)
    lab.rooms.housekeeping.look()
    assert kept(lab.root / "done") == {"S1"}
    lab.clock.jump(-4000 * DAY)
    look_steadily(lab)
    assert kept(lab.root / "done") == {"S1"}


def test_a_clock_is_steady_once_it_made_no_step_for_a_while() -> None:
    clock = FakeClock()
    steady = SteadyClock(clock)
    assert not steady.is_steady()
    clock.advance(STEADY_SECONDS)
    assert steady.is_steady()
    clock.jump(-90)
    assert not steady.is_steady()
    clock.advance(STEADY_SECONDS / 2)
    assert not steady.is_steady()
    clock.jump(2)  # slewed a little: no step
    clock.advance(STEADY_SECONDS / 2)
    assert steady.is_steady()


def test_the_receipts_of_what_stays_are_whole(lab: House) -> None:
    lab.drop("S1")
    lab.run(60)
    keep_house(lab, 5)
    assert json.loads((lab.root / "done" / "S1" / RECEIPT_NAME).read_text())["submission"] == lab.newest("S1").uuid
