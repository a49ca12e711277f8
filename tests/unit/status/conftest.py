"""A state of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.status.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()
