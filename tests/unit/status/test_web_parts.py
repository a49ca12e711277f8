"""The page's pure parts: seals, passwords, tries, days."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from moichord.errors import ConfigurationInvalid, UsageRefused
from moichord.queue.listings import Ended
from moichord.sample import State
from moichord.status.web.attempts import FREE, LONGEST_WAIT_OF_A_NAME, LONGEST_WAIT_OF_AN_ADDRESS, MOST, Attempts
from moichord.status.web.days import HEIGHT, charts, days_until, parse_day
from moichord.status.web.passwords import People, read_people, stored, with_person
from moichord.status.web.sessions import LIFETIME, Seal, new_session

NOW = 1_700_000_000.0
KEY = b"k" * 32
PASSWORDS = {"anna": "scrypt:1", "zoë": "scrypt:2"}
MADE = stored("a long enough one")


def seal(key: bytes = KEY, passwords: dict[str, str] = PASSWORDS) -> Seal:
    return Seal(key, passwords.get)


@pytest.mark.parametrize("user", [None, "anna", "zoë"])
def test_what_is_sealed_is_opened_again(user: str | None) -> None:
    session = new_session(user, NOW)
    assert seal().open(seal().close(session), NOW + 1) == session


def test_a_seal_that_was_touched_or_is_of_another_key_or_old_opens_nothing() -> None:
    session = new_session("anna", NOW)
    closed = seal().close(session)
    for position in range(0, len(closed), 7):
        changed = "0" if closed[position] != "0" else "1"
        assert seal().open(closed[:position] + changed + closed[position + 1 :], NOW) is None
    assert seal(b"x" * 32).open(closed, NOW) is None
    assert seal(passwords={"anna": "scrypt:9"}).open(closed, NOW) is None
    assert seal(passwords={}).open(closed, NOW) is None
    assert seal().open(closed, NOW + LIFETIME + 1) is None
    assert seal().open(closed, NOW - LIFETIME) is None


@pytest.mark.parametrize("text", ["", ".", "...", "a.b.c.d", "é.1.x.y", "a" * 5000, "x.99999999999999999999999.YQ.z"])
def test_what_is_no_seal_opens_nothing(text: str) -> None:
    assert seal().open(text, NOW) is None


def test_a_token_is_of_one_session_only() -> None:
    session, other = new_session("anna", NOW), new_session("anna", NOW)
    token = seal().token(session)
    assert seal().is_token(session, token)
    assert not seal().is_token(other, token)
    assert not seal().is_token(replace(session, user=None), token)
    assert not seal().is_token(session, "\udcff")


def test_a_password_file_holds_hashes_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "people"
    file.write_text(f"# who may see it\n\nanna:{MADE}\n")
    file.chmod(0o640)
    people = People(file)
    assert people.are("anna", "a long enough one")
    assert not people.are("anna", "a long enough onE")
    assert not people.are("berta", "a long enough one")
    file.write_text(with_person(file.read_text(), "berta", MADE))
    assert people.are("berta", "a long enough one")
    assert "a long enough one" not in file.read_text()
    assert file.read_text().startswith("# who may see it\n")


@pytest.mark.parametrize("line", ["anna", "anna:plain", "anna:scrypt:1:2", "an:na:{made}", " anna:{made}", "é:x"])
def test_a_line_that_is_nobody_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "people"
    file.write_text(f"# x\n{line.format(made=MADE)}\n")
    file.chmod(0o600)
    with pytest.raises(ConfigurationInvalid, match=r"people:2: this is no person"):
        read_people(file)


def test_a_line_that_wants_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "people"
    file.write_text(f"anna:{str(MADE).replace('32768', str(2**30))}\n")
    file.chmod(0o600)
    with pytest.raises(ConfigurationInvalid):
        read_people(file)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_password_file_that_others_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "people"
    file.touch()
    file.chmod(mode)
    with pytest.raises(ConfigurationInvalid, match="can be read by others, or changed"):
        read_people(file)


@pytest.mark.parametrize("password", ["", "short12", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_not_taken(password: str) -> None:
    with pytest.raises(UsageRefused):
        stored(password)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "-a", "é", "a\n", "a" * 65])
def test_a_name_that_a_line_cannot_hold_is_not_taken(name: str) -> None:
    with pytest.raises(UsageRefused):
        with_person("", name, MADE)


def test_each_failure_beyond_the_free_ones_doubles_the_wait_up_to_a_limit() -> None:
    attempts, waits = Attempts(), []
    for _ in range(FREE + 12):
        attempts.failed("1.2.3.4", "anna", NOW)
        waits.append(attempts.wait("1.2.3.4", "anna", NOW))
    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE : FREE + 4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == LONGEST_WAIT_OF_AN_ADDRESS
    assert attempts.wait("9.9.9.9", "anna", NOW) == LONGEST_WAIT_OF_A_NAME
    assert attempts.wait("9.9.9.9", "berta", NOW) == 0.0


def test_a_success_and_an_hour_forget_what_failed() -> None:
    attempts = Attempts()
    for _ in range(FREE + 1):
        attempts.failed("a", "anna", NOW)
    attempts.succeeded("a", "anna")
    assert attempts.wait("a", "anna", NOW) == 0.0
    for _ in range(FREE):
        attempts.failed("a", "anna", NOW)
    attempts.failed("a", "anna", NOW + 3601)
    assert attempts.wait("a", "anna", NOW + 3601) == 0.0


def test_many_addresses_take_no_more_memory_than_a_few() -> None:
    attempts = Attempts()
    for number in range(2 * MOST):
        attempts.failed(f"{number}", "anna", NOW)
    assert len(attempts._failures) == MOST


def ended(day: int, state: State = State.DONE, seconds: float = 60.0, size: int = 10) -> Ended:
    at = datetime(2026, 11, day, 12).timestamp()
    return Ended(state, size, 1, at - seconds, at - 1, at)


def test_a_day_is_summed_and_a_day_without_samples_is_there_too() -> None:
    found = [ended(1), ended(1, seconds=120), ended(1, seconds=600), ended(1, State.FAILED), ended(3, State.CANCELLED)]
    first, second, third = days_until(date(2026, 11, 3), found, 3)
    assert (first.sent, first.failed, first.size) == (3, 1, 30)
    assert (first.median_seconds, first.slowest_seconds) == (120.0, 600.0)
    assert (second.sent, second.failed, second.median_seconds) == (0, 0, None)
    assert (third.sent, third.failed) == (0, 0)


def test_what_was_never_seen_to_arrive_counts_from_when_it_was_taken() -> None:
    (day,) = days_until(date(2026, 11, 1), [replace(ended(1), first_seen_at=None)], 1)
    assert day.median_seconds == 1.0


def test_the_highest_bar_fills_the_chart_and_none_leaves_it() -> None:
    days = days_until(date(2026, 11, 3), [ended(1), ended(1, State.FAILED), ended(2)], 3)
    samples, volume, times = charts(days)
    heights = [column.height + column.second for column in samples.columns]
    assert heights == [HEIGHT, HEIGHT / 2, 0.0]
    assert samples.columns[0].y - samples.columns[0].second == 0.0
    assert (samples.top, volume.top, times.top) == ("2", "10 B", "1 min")
    assert samples.columns[0].text == "Sun 1 Nov: 1 sent, 1 failed"


def test_days_without_any_sample_make_an_empty_chart() -> None:
    assert {chart.top for chart in charts(days_until(date(2026, 11, 3), [], 3))} == {"none"}


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "9999-12-31", "0001-01-01x", "20260230"])
def test_what_is_no_day_is_none(text: str) -> None:
    assert parse_day(text) is None
