"""How fast, how long, when full."""

import pytest

from moichord.queue.glance import Upload
from moichord.sample import State, Step
from moichord.status.forecast import full_in, rate
from moichord.status.sentences import figures
from moichord.status.standing import Disk, Standing, look
from tests.unit.status.lab import MIB, Lab

NOW = 10_000.0
HOUR = 3600.0


@pytest.mark.parametrize(
    ("uploads", "expected"),
    [
        ([], None),
        ([Upload(NOW - 3, None, 300)], None),
        ([Upload(NOW - 100, None, 0)], None),
        ([Upload(NOW - 100, None, 1000)], 10.0),
        ([Upload(NOW - 100, NOW - 90, 1000)], 100.0),
        ([Upload(NOW - 100, NOW, 1000), Upload(NOW - 100, NOW, 500)], 15.0),
        ([Upload(NOW - 200, NOW - 100, 1000), Upload(NOW - 50, NOW, 500)], 10.0),
        ([Upload(NOW - 100, NOW, 1000), Upload(NOW - 60, NOW - 50, 500)], 15.0),
        ([Upload(NOW - 2 * HOUR, NOW, 7200)], 1.0),
        ([Upload(NOW - 3 * HOUR, NOW - 2 * HOUR, 7200)], None),
        ([Upload(NOW + 50, NOW + 60, 7200)], None),
        ([Upload(NOW, NOW, 7200)], None),
    ],
    ids=[
        *(
            "nothing",
            "too early",
            "nothing sent",
            "going on",
            "ended",
            "side by side",
            "with a pause",
            "one in another",
        ),
        *("longer than the window", "long ago", "of the future", "in no time"),
    ],
)
def test_the_rate_is_that_of_the_time_in_which_anything_was_sent(uploads: list[Upload], expected: float | None) -> None:
    assert rate(uploads, NOW) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("free", "seconds"),
    [
        ([], None),
        ([(hour * HOUR, 100.0 - hour) for hour in range(5)], None),
        ([(hour * 60.0, 100.0 - hour) for hour in range(100)], None),
        ([(hour * HOUR, 100.0 - hour) for hour in range(11)], 90 * HOUR),
        ([(hour * HOUR, 100.0 + hour) for hour in range(11)], None),
        ([(hour * HOUR, 100.0) for hour in range(11)], None),
    ],
    ids=["nothing", "few looks", "short time", "fills", "empties", "stays"],
)
def test_a_disk_that_fills_says_when_it_will_be_full(free: list[tuple[float, float]], seconds: float | None) -> None:
    assert full_in(free) == (None if seconds is None else pytest.approx(seconds))


def test_one_look_less_than_needed_says_nothing_and_the_last_one_tells() -> None:
    looks = [(hour * HOUR, 100.0 - hour) for hour in range(7)]
    assert full_in(looks[:6]) is None
    assert full_in(looks) == pytest.approx(94 * HOUR)


def sending(lab: Lab) -> Standing:
    """100 MiB are planned, 50 of them sent in 10 s; 100 more wait."""
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.clock.at += 10
    lab.sent(sample, 2)
    lab.taken("MO-2")
    return look(lab.views, lab.failed, lambda: True, lab.clock, places={"work": lab.root, "done": lab.root})


def test_what_is_sent_now_tells_how_long_the_rest_takes(lab: Lab) -> None:
    standing = sending(lab)
    assert standing.rate == pytest.approx(5 * MIB)
    assert standing.bytes_left == 150 * MIB
    assert standing.seconds_left == pytest.approx(30)
    assert next(figures(standing)) == "Sending 5.0 MiB a second; 150 MiB are left, which takes about 30 s."


def test_what_was_sent_in_the_last_hour_counts_too(lab: Lab) -> None:
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.clock.at += 20
    lab.sent(sample, 3)
    journal = lab.journal(sample)
    journal.advance(Step.UPLOAD, None, Step.ANALYTICS)
    lab.ended(lab.now(sample), State.DONE)
    lab.clock.at += 600
    lab.taken("MO-2")
    assert lab.standing().rate == pytest.approx(5 * MIB)
    assert lab.standing(daemon=False).rate is None
    lab.clock.at += 3600
    assert lab.standing().rate is None


def test_servers_and_disks_are_said_in_a_sentence_each(lab: Lab) -> None:
    standing = sending(lab)
    said = list(figures(standing))
    assert said[1] == "Metadata server well; image server well; analytics server well."
    assert said[2].startswith("Free on disk: ")
    assert said[2].endswith(" for work, done.")
    assert standing.disks == (Disk(("work", "done"), standing.disks[0].free, standing.disks[0].size),)
    lab.outage(lab.processing("MO-3", Step.UPLOAD))
    assert "image server cannot be used since" in list(figures(lab.standing()))[-1]
