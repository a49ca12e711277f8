"""Times, durations and sizes as people say them."""

from datetime import datetime

import pytest

from moichord.status.phrases import ago, count, duration, moment, size


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (10 * 1024, "10 KiB"),
        (1_500_000, "1.4 MiB"),
        (999 * 2**20, "999 MiB"),
        (1000 * 2**20, "1.0 GiB"),
        (5 * 2**40, "5.0 TiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes_have_two_or_three_digits(number: int, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "under 1 s"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3 * 3600 + 600, "3 h 10 min"),
        (86400, "1 d"),
        (10 * 86400, "10 d"),
    ],
)
def test_durations_have_one_or_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_moment_names_the_day_only_where_it_is_another() -> None:
    now = datetime(2024, 11, 21, 14, 30).timestamp()
    assert moment(datetime(2024, 11, 21, 14, 5, 9).timestamp(), now) == "14:05"
    assert moment(datetime(2024, 11, 21, 14, 5, 9).timestamp(), now, seconds=True) == "14:05:09"
    assert moment(datetime(2024, 3, 2, 14, 5).timestamp(), now) == "2 Mar 14:05"
    assert moment(datetime(2023, 3, 2, 14, 5).timestamp(), now) == "2023-03-02 14:05"


def test_a_moment_ago_is_just_now() -> None:
    assert ago(100.0, 101.0) == "just now"
    assert ago(100.0, 400.0) == "5 min ago"


def test_a_clock_that_was_set_back_gives_no_nonsense() -> None:
    assert ago(400.0, 100.0) == "just now"


def test_one_is_not_many() -> None:
    assert [count(number, "sample") for number in (0, 1, 2)] == ["0 samples", "1 sample", "2 samples"]
    assert count(2, "sample needs", "samples need") == "2 samples need"
