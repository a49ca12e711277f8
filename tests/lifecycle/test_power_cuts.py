"""Whenever the power is cut, nothing that was committed is lost, and every sample ends once, in one place.

More trials: `python -m tests.lifecycle.power_cuts 50`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lifecycle.power_cuts import TRIALS

pytestmark = pytest.mark.needs("root", "mkfs.ext4", "unshare", "mount", "strace")

PROJECT = Path(__file__).parents[2]


def test_the_power_may_be_cut_at_any_moment_of_a_trip() -> None:
    command = [sys.executable, "-m", "tests.lifecycle.power_cuts", str(TRIALS)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    in_place = re.search(r"^(\d+) trials cut at their moment", run.stdout, re.MULTILINE)
    counted = re.search(rf"^power cuts: {TRIALS} trials, (\d+) cuts, 0 trials", run.stdout, re.MULTILINE)
    assert in_place is not None, run.stdout
    assert counted is not None, run.stdout
    assert int(counted[1]) >= TRIALS
    assert int(in_place[1]) >= TRIALS // 2
