"""What the conformance tests share: how much of them is run, one file of the corpora, a real Orthanc.

Every day a part of what repeats itself is run; `--all-conformance` runs all of it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.conformance.originals import Original
from tests.integration import orthanc as orthanc_server

REPEATS = "repeats: more of the same; left to --all-conformance"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", REPEATS)
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("everyday", max_examples=50, deadline=None, suppress_health_check=slow, derandomize=True)
    settings.register_profile("all", max_examples=5_000, deadline=None, suppress_health_check=slow)
    settings.load_profile("all" if config.getoption("--all-conformance") else "everyday")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-conformance"):
        return
    repeated = {item for item in items if item.get_closest_marker("repeats")}
    config.hook.pytest_deselected(items=list(repeated))
    items[:] = [item for item in items if item not in repeated]


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc_server.Orthanc]:
    """A real image server. Tests tell their images apart by patient IDs of their own."""
    with orthanc_server.running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def original(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Original]:
    """Parametrised indirectly with a name of the corpora; afterwards the file must be as it was."""
    made = Original(request.param, tmp_path / "original.dcm")
    yield made
    assert made.path.read_bytes() == made.content, "the original was modified"
