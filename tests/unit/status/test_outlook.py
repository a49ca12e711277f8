"""Silence within working hours, disks that fill, and who is told."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from moichord.config import Notify
from moichord.config.hours import working_hours
from moichord.pulse import Pulse
from moichord.queue.conditions import Conditions
from moichord.queue.space import EVERY, KEPT, Space
from moichord.status import outlook as room
from moichord.status.outlook import Outlook
from moichord.status.silence import silence, silent_for
from moichord.status.standing import Disk
from tests.unit.status.lab import MIB, Lab

GIB = 1024 * MIB
HOUR = 3600.0
WEEK = working_hours("Mon-Fri 07:00-19:00")


@pytest.fixture(autouse=True)
def in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as during:
        during.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-11-20 12:00", "2026-11-20 13:00", 1),
        ("2026-11-20 18:00", "2026-11-23 08:00", 2),
        ("2026-11-21 00:00", "2026-11-22 23:00", 0),
        ("2026-11-16 00:00", "2026-11-23 00:00", 60),
        ("2026-11-20 20:00", "2026-11-20 23:00", 0),
        ("2026-11-20 13:00", "2026-11-20 12:00", 0),
        ("2026-03-27 07:00", "2026-03-30 08:00", 13),
    ],
    ids=["within", "over a weekend", "a weekend", "a week", "at night", "backwards", "the clocks go forward"],
)
def test_only_working_hours_count(since: str, until: str, hours: float) -> None:
    assert silent_for(at(since), at(until), WEEK) == hours * HOUR


@pytest.mark.parametrize(
    ("written", "spans"),
    [
        ("Mon 8:00-12:30", ((0, 480, 750),)),
        ("mon,wed 08:00-24:00", ((0, 480, 1440), (2, 480, 1440))),
        ("Sat-Mon 0:00-1:00", ((5, 0, 60), (6, 0, 60), (0, 0, 60))),
        ("Mon 8:00-9:00; Tue 9:00-10:00", ((0, 480, 540), (1, 540, 600))),
    ],
)
def test_working_hours_are_days_and_times(written: str, spans: object) -> None:
    assert working_hours(written).spans == spans


@pytest.mark.parametrize(
    "written", ["", "Mon", "8:00-9:00", "Foo 8:00-9:00", "Mon 9:00-8:00", "Mon 8:61-9:00", "Mon 8:00-24:01", 7]
)
def test_what_are_no_working_hours_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"must|no day|no time"):
        working_hours(written)


def test_silence_is_said_once_it_is_longer_than_configured() -> None:
    last, now = at("2026-11-20 12:00"), at("2026-11-23 11:00")
    assert silence(last, now, None, None) is None
    assert silence(last, now, 11.5 * HOUR, WEEK) is None
    said = silence(last, now, 11 * HOUR, WEEK)
    assert said is not None
    assert "since 20 Nov 12:00, for 11 h of working time (Mon-Fri 07:00-19:00)" in said


def outlook(lab: Lab, rules: Notify) -> Outlook:
    places = {"work": lab.root / "work"}
    conditions = Conditions(lab.database, lab.clock)
    return Outlook(lab.views, Space(lab.database), places, lambda: rules, lab.clock, Pulse(lab.clock), conditions)


def test_any_sample_that_arrives_ends_the_silence(lab: Lab) -> None:
    watching = outlook(lab, Notify.model_validate({"silence_after": "4h"}))
    lab.clock.at += 4 * HOUR
    watching.look()
    assert [one.split(" since")[0] for one in watching.notices] == ["no sample has come"]
    lab.taken("MO-1")
    watching.look()
    assert watching.notices == ()
    lab.clock.at += 4 * HOUR
    lab.arriving("MO-2")
    watching.look()
    assert watching.notices == ()


def test_a_disk_that_will_be_full_soon_is_said_with_the_days_that_are_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, free = outlook(lab, Notify()), 100 * GIB
    monkeypatch.setattr(room, "disks", lambda _: [Disk(("work", "done"), free, 200 * GIB)])
    for _ in range(10):
        watching.look()
        assert watching.notices == () or free < 100 * GIB
        lab.clock.at += EVERY
        free -= GIB
    assert watching.notices == ("the disk of work, done will be full in about 4 days (91 GiB are free)",)


def test_free_space_is_kept_once_an_hour_for_a_week_and_survives_a_clock_that_is_set_back(lab: Lab) -> None:
    space = Space(lab.database)
    for hour in range(KEPT + 5):
        space.record(hour * EVERY, {"work": hour})
        space.record(hour * EVERY + 60, {"work": -1})
    looks = space.looks()
    assert (len(looks), looks[-1]) == (KEPT, ((KEPT + 4) * EVERY, {"work": KEPT + 4}))
    space.record(100 * EVERY + 60, {"work": 7})
    assert space.looks()[-2:] == [(100 * EVERY, {"work": 100}), (100 * EVERY + 60, {"work": 7})]


def test_working_hours_without_silence_mean_nothing() -> None:
    with pytest.raises(ValueError, match="silence_after"):
        Notify.model_validate({"working_hours": "Mon-Fri 07:00-19:00"})
