"""A daemon that is killed at random moments, under a continuous drop, with servers that fail: every sample ends once.

A dozen kills every day; `python -m tests.lifecycle.random_kills 200` makes as many as asked, with figures.
"""

from pathlib import Path

from tests.lifecycle.random_kills import EVERYDAY, campaign


def test_the_daemon_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    figures = campaign(tmp_path / "site", EVERYDAY, seed=4)
    print(figures)
    assert not figures.broken
    assert figures.kills.total() == EVERYDAY
    assert figures.done + figures.poison >= EVERYDAY
    assert figures.interrupted > 0
    assert figures.spoilt > 0
