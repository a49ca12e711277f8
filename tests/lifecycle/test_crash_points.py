"""The spine: whatever call of a trip the daemon dies before, the sample arrives, once, and nothing is lost.

The points of every day are those of `crash_points.everyday`. Every point of every trip, in about half an hour:
`python -m tests.lifecycle.crash_points --all`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.sample import RECEIPT_NAME
from tests.lifecycle.campaign import FOLDER_CALLS, STARTING, Campaign, Point, finish
from tests.lifecycle.crash_points import everyday
from tests.lifecycle.daemon import Trap
from tests.lifecycle.guarantees import broken
from tests.lifecycle.scenarios import Scenario, other_file_system, scenarios, start
from tests.lifecycle.site import SAMPLE, SOMEBODY_ELSES

pytestmark = pytest.mark.needs("strace")

TRIPS = ["done", "failed", "cancel", "retry-cancelled", "done-elsewhere", "retry-cancelled-elsewhere", "retention"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    lanes = 2 * (os.cpu_count() or 1)
    with Campaign(tmp_path_factory.mktemp("crashes"), lanes, one_worker_thread=True) as campaign:
        yield campaign


def trip(name: str, near: Path) -> Scenario:
    return next(one for one in scenarios(other_file_system(near)) if one.name == name)


@pytest.mark.parametrize("name", TRIPS)
def test_the_daemon_may_die_before_any_call_of_a_trip(name: str, campaign: Campaign, tmp_path: Path) -> None:
    scenario = trip(name, tmp_path)
    points = list(everyday(scenario, campaign.count(scenario)))
    verdicts = campaign.judge(points)
    # What threads do at the same time may fall into one commit: then a last call on the state is not made, this time.
    again = campaign.judge(verdict.point for verdict in verdicts if not verdict.deaths)
    assert not [f"{verdict.point}: {sentence}" for verdict in (*verdicts, *again) for sentence in verdict.broken]
    missed = [verdict.point for verdict in again if not verdict.deaths]
    assert not [str(point) for point in missed if point.trap.call in FOLDER_CALLS]
    assert len(missed) <= len(points) // 10


def test_the_daemon_may_die_in_its_first_start(campaign: Campaign, tmp_path: Path) -> None:
    scenario = trip("done", tmp_path)
    steps = {"mkdir": 1, "rename": 1, "renameat2": 1, "rmdir": 1, "pwrite64": 30}
    calls = campaign.count_start(scenario).calls
    traps = [Trap(call, number) for call, step in steps.items() for number in range(1, calls.get(call, 0) + 1, step)]
    assert {"mkdir", "rename", "pwrite64"} <= {trap.call for trap in traps}
    verdicts = campaign.judge([Point(scenario, STARTING, trap) for trap in traps])
    assert not [f"{verdict.point}: {sentence}" for verdict in verdicts for sentence in verdict.broken]
    assert not [str(verdict.point) for verdict in verdicts if not verdict.deaths]


def test_the_start_after_a_death_may_die_as_well(campaign: Campaign, tmp_path: Path) -> None:
    first = {
        "done": [("intake", Trap("fsync", 1)), ("worker", Trap("rmdir", 2))],
        "retry-cancelled": [("main", Trap("unlink", 1))],
    }
    again = [Trap("renameat2", 1), Trap("fdatasync", 2)]
    points = [
        Point(trip(name, tmp_path), thread, trap, second)
        for name, places in first.items()
        for thread, trap in places
        for second in again
    ]
    verdicts = campaign.judge(points)
    assert not [f"{verdict.point}: {sentence}" for verdict in verdicts for sentence in verdict.broken]
    assert sum(verdict.deaths == 2 for verdict in verdicts) >= len(points) // 2


def test_after_a_stop_at_any_request_nothing_is_repeated(campaign: Campaign, tmp_path: Path) -> None:
    scenario = trip("done", tmp_path)
    points = [Point(scenario, "server", Trap("answer", number, "TERM")) for number in range(1, 6)]
    verdicts = campaign.judge(points)
    assert not [f"{verdict.point}: {sentence}" for verdict in verdicts for sentence in verdict.broken]


def test_the_judge_sees_a_deletion_that_is_broken(campaign: Campaign, tmp_path: Path) -> None:
    scenario = trip("retention", tmp_path)
    with campaign.launcher() as launcher, scenario.site(tmp_path / "site", campaign.templates) as site:
        daemon = start(site, launcher)
        daemon.begin()
        assert daemon.wait_ready()
        scenario.act(site)
        finish(scenario, site, daemon)
        assert broken(site, "deleted", []) == []
        (site.done / SAMPLE).mkdir()
        assert any("was to be deleted" in sentence for sentence in broken(site, "deleted", []))
        assert any("half of the sample" in sentence for sentence in broken(site, "deleted", [site.snapshot()]))
        (site.done / SAMPLE).rename(site.done / ".moichord-half")
        assert any("a temporary file is left" in sentence for sentence in broken(site, "deleted", []))
        (site.done / ".moichord-half").rmdir()
        shutil.rmtree(site.failed / SOMEBODY_ELSES)
        assert any("somebody else" in sentence for sentence in broken(site, "deleted", []))


def test_the_judge_sees_what_is_broken(campaign: Campaign, tmp_path: Path) -> None:
    """A guarantee that nothing can break is no guarantee: spoil a good end in several ways."""
    with campaign.launcher() as launcher, trip("done", tmp_path).site(tmp_path / "site", campaign.templates) as site:
        daemon = start(site, launcher)
        daemon.begin()
        assert daemon.wait_ready()
        site.drop()
        finish(trip("done", tmp_path), site, daemon)
        assert broken(site, "done", []) == []
        folder = site.done / SAMPLE
        image = folder / site.images()[0]
        good = image.read_bytes()
        image.write_bytes(good[:-1] + b"?")
        assert any("not what the server holds" in sentence for sentence in broken(site, "done", []))
        image.write_bytes(good)
        (site.work / "left").mkdir()
        assert any("work is not empty" in sentence for sentence in broken(site, "done", []))
        (site.work / "left").rmdir()
        (folder / RECEIPT_NAME).unlink()
        assert any("lacks" in sentence for sentence in broken(site, "done", []))
        folder.rename(site.inbox / SAMPLE)
        assert any("not in done" in sentence for sentence in broken(site, "done", []))
