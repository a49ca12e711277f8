"""The unit files themselves: what systemd thinks of them, and that the two are alike."""

import re
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("moichord.service", "moichord@.service")


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_the_units_are_well_hardened(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", SYSTEMD / unit]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exposure = re.search(r"Overall exposure level for \S+ (\d+\.\d)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= 1.5


def test_the_template_differs_from_the_unit_in_nothing_but_its_places() -> None:
    single, template = ((SYSTEMD / unit).read_text().split("[Unit]")[1].splitlines() for unit in UNITS)
    settings = [[line for line in unit if not line.startswith("#")] for unit in (single, template)]
    different = [(one, other) for one, other in zip(*settings, strict=True) if one != other]
    ordinary = [
        other.replace("/%i.yaml", "/config.yaml").replace(" %i", "").replace("/%i", "") for _, other in different
    ]
    assert ordinary == [one for one, _ in different]
