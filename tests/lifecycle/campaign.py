"""Daemons that die: each point is lived through at a site of its own, and judged.

Owns the deaths: where the trap is set, the start that follows, the verdict. It must not know which points are worth
it. What goes wrong at a point is that point's verdict.
"""

import queue
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

from tests.lifecycle.daemon import Daemon, Launcher, Trap, counted, until
from tests.lifecycle.guarantees import broken
from tests.lifecycle.scenarios import Scenario, make_templates, start
from tests.lifecycle.site import Site, Snapshot

FOLDER_CALLS = (
    *("rename", "renameat", "renameat2", "fsync", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"),
    *("chmod", "fchmodat", "copy_file_range"),
)
STATE_CALLS = ("pwrite64", "fdatasync", "ftruncate")
NETWORK_CALLS = ("connect", "sendto")
CALLS = (*FOLDER_CALLS, *STATE_CALLS, *NETWORK_CALLS)
THREADS = ("main", "intake", "worker-0", "queue-writer")
STARTING = "start"
REQUESTS = "requests"
ANSWERS = "server"
ANSWER = "answer"
ARRIVAL = "arrival"
KILLED = -9


@dataclass(frozen=True, slots=True)
class Point:
    """Where the daemon dies: before the trap's call in `thread`, or, for `start`, in any thread from its beginning.

    `again` is where the start after it dies as well.
    """

    scenario: Scenario
    thread: str
    trap: Trap
    again: Trap | None = None

    def __str__(self) -> str:
        text = f"{self.scenario.name}: {self.thread} before {self.trap.call} {self.trap.number}"
        text += "" if self.trap.signal == "KILL" else f" ({self.trap.signal})"
        return text if self.again is None else f"{text}, then start before {self.again.call} {self.again.number}"

    @property
    def name(self) -> str:
        return str(self).replace(": ", "_").replace(", ", "_").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one point: how often the daemon died, and which guarantees do not hold."""

    point: Point
    deaths: int
    broken: tuple[str, ...]


class Campaign:
    """A context manager: lanes with a launcher each, and the sites that trips begin from."""

    def __init__(self, root: Path, lanes: int = 4) -> None:
        self._root = root
        self._lanes = lanes
        self._launchers: queue.SimpleQueue[Launcher] = queue.SimpleQueue()
        self._numbers = count()
        self.templates = root / "templates"

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        for _ in range(self._lanes):
            self._launchers.put(self._stack.enter_context(Launcher()))
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._lanes))
        with self.launcher() as launcher:
            make_templates(self.templates, launcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def launcher(self) -> Iterator[Launcher]:
        launcher = self._launchers.get()
        try:
            yield launcher
        finally:
            self._launchers.put(launcher)

    def count(self, scenario: Scenario) -> dict[str, Counter[str]]:
        """The calls of each thread on an undisturbed trip."""
        root = self._root / f"dry-{scenario.name}"
        with self.launcher() as launcher, scenario.site(root, self.templates) as site:
            daemon = start(site, launcher)
            daemon.begin()
            daemon.wait_ready()
            threads = {name: daemon.thread(name) for name in THREADS}
            daemon.count([f"?{call}" for call in CALLS], root / "calls")
            scenario.act(site)
            finish(scenario, site, daemon)
            assert not (wrong := broken(site, scenario.outcome, [])), wrong
            calls = counted(root / "calls")
            answers = site.apis.requests.all()
        shutil.rmtree(root)
        found = {name: calls.get(thread, Counter()) for name, thread in threads.items()}
        network = {call: max(counts[call] for counts in calls.values()) for call in NETWORK_CALLS}
        for counts in found.values():
            for call in NETWORK_CALLS:
                del counts[call]
        return found | {REQUESTS: Counter(network), ANSWERS: Counter({ARRIVAL: len(answers), ANSWER: len(answers)})}

    def judge(self, points: Iterable[Point]) -> list[Verdict]:
        return list(self._pool.map(self._judge, points))

    def _judge(self, point: Point) -> Verdict:
        root = self._root / f"{next(self._numbers)}-{point.name}"
        with self.launcher() as launcher:
            try:
                with point.scenario.site(root, self.templates) as site:
                    deaths = _deaths(point, site, launcher)
                    orderly = point.trap.signal != "KILL"
                    wrong = broken(site, point.scenario.outcome, deaths, orderly=orderly)
            except (TimeoutError, AssertionError, OSError, RuntimeError) as error:
                return Verdict(point, 1, (f"{type(error).__name__}: {error}",))
            finally:
                launcher.clear()
        if not wrong:
            shutil.rmtree(root)
        return Verdict(point, len(deaths), tuple(wrong))


def _deaths(point: Point, site: Site, launcher: Launcher) -> list[Snapshot]:
    """Live the trip through, with its deaths; what was true after each of them."""
    deaths = []
    daemon = start(site, launcher)
    if point.thread == STARTING:
        point.scenario.act(site)
        daemon.trap(point.trap)
        daemon.begin()
    else:
        daemon.begin()
        assert daemon.wait_ready(), daemon.said()
        _set(point, site, daemon)
        point.scenario.act(site)
    if not _lived(point, site, daemon):
        deaths.append(site.snapshot())
        if point.again is not None:
            daemon = start(site, launcher)
            daemon.trap(point.again)
            daemon.begin()
            if not _lived(point, site, daemon):
                deaths.append(site.snapshot())
        daemon = start(site, launcher)
        daemon.begin()
        assert daemon.wait_ready(), daemon.said()
        finish(point.scenario, site, daemon)
    return deaths


def _set(point: Point, site: Site, daemon: Daemon) -> None:
    if point.thread == ANSWERS:
        when = site.before_answer if point.trap.call == ANSWER else site.instead_of
        when(point.trap.number, daemon.kill if point.trap.signal == "KILL" else daemon.terminate)
    elif point.thread == REQUESTS:
        daemon.trap(point.trap)
    else:
        daemon.trap(point.trap, daemon.thread(point.thread))


def _lived(point: Point, site: Site, daemon: Daemon) -> bool:
    """Whether the daemon came to the trip's end; then it is stopped."""
    until(lambda: daemon.ended or point.scenario.over(site), f"the end of the trip: {daemon.said()}")
    if not daemon.ended and daemon.wait_ready():
        daemon.terminate()
    status = daemon.wait()
    assert status in (0, KILLED), daemon.said()
    return status != KILLED and point.scenario.over(site)


def finish(scenario: Scenario, site: Site, daemon: Daemon) -> None:
    until(lambda: daemon.ended or scenario.over(site), f"the end of the trip: {daemon.said()}")
    daemon.terminate()
    assert daemon.wait() == 0, daemon.said()
