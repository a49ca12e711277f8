"""A state for each test: a real database file, in memory where the machine has a place for that.

What a disk does to it at a power cut is another test's; here only its fsyncs would be waited for.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, opened

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only looked for


@pytest.fixture
def folder() -> Iterator[Path]:
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="moichord-test-") as name:
        yield Path(name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state as it is made, to be copied: making the tables takes most of a short test's time."""
    path = tmp_path_factory.mktemp("empty") / "state.db"
    with opened(path):
        pass
    return path


@pytest.fixture
def queue(folder: Path, clock: FakeClock, empty_state: Path) -> Iterator[Queue]:
    shutil.copyfile(empty_state, folder / "state.db")
    with opened(folder / "state.db", clock) as one:
        yield one
