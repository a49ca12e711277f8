"""Daemons that die: each point is lived through at a site of its own, and judged.

Owns the deaths: where the trap is set, the start that follows, the verdict. It must not know which points are worth
it. What goes wrong at a point is that point's verdict.
"""

import queue
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from itertools import count
from operator import or_
from pathlib import Path
from typing import Self

from tests.lifecycle.daemon import READY, Daemon, Launcher, Trap, noted, until
from tests.lifecycle.guarantees import broken
from tests.lifecycle.scenarios import Scenario, make_templates, start
from tests.lifecycle.site import Site, Snapshot

FOLDER_CALLS = (
    *("rename", "renameat", "renameat2", "fsync", "syncfs", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"),
    *("chmod", "fchmodat", "copy_file_range"),
)
STATE_CALLS = ("pwrite64", "fdatasync", "ftruncate")
NETWORK_CALLS = ("connect", "sendto")
STARTING_CALLS = (*FOLDER_CALLS, *STATE_CALLS)
CALLS = (*FOLDER_CALLS, *STATE_CALLS, *NETWORK_CALLS)
STARTING = "start"
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
class Start:
    """What a start did until it was ready: the calls of its busiest thread, and those of all, in their order.

    Of the order, the state's writes are left out: how many a commit needs, and what it does, are two questions.
    """

    calls: Mapping[str, int]
    order: tuple[str, ...]

    @classmethod
    def of(cls, file: Path) -> Self:
        everything = list(noted(file, READY))
        calls: Counter[str] = Counter()
        for (_, call), number in Counter(everything).items():
            calls[call] = max(calls[call], number)
        return cls(calls, tuple(call for _, call in everything if call != "pwrite64"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one point: how often the daemon died, and which guarantees do not hold.

    `places` is where the sample was after the first death, `recovery` the start after the last one, if it was watched.
    """

    point: Point
    deaths: int
    broken: tuple[str, ...]
    places: tuple[str, ...] = ()
    recovery: Start | None = None


class Campaign:
    """A context manager: lanes with a launcher each, and the sites that trips begin from.

    With `one_worker_thread`, its daemons have no other: then which calls a thread makes is no chance.
    """

    def __init__(self, root: Path, lanes: int = 4, *, one_worker_thread: bool = False) -> None:
        self._root = root
        self._lanes = lanes
        self._one_worker_thread = one_worker_thread
        self._launchers: queue.SimpleQueue[Launcher] = queue.SimpleQueue()
        self._numbers = count()
        self.templates = root / "templates"

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        for _ in range(self._lanes):
            self._launchers.put(self._stack.enter_context(Launcher(one_worker_thread=self._one_worker_thread)))
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
            threads = {name: daemon.threads(name) for name in scenario.threads}
            daemon.note(CALLS, root / "calls")
            scenario.act(site)
            finish(scenario, site, daemon)
            assert not (wrong := broken(site, scenario.outcome, [])), wrong
            calls: dict[int, Counter[str]] = defaultdict(Counter)
            for thread, call in noted(root / "calls"):
                calls[thread][call] += 1
            answers = site.apis.requests.all()
        shutil.rmtree(root)
        # Of threads that share their work the busiest counts: whichever comes so far dies.
        found = {name: reduce(or_, [calls[thread] for thread in several]) for name, several in threads.items()}
        return found | {ANSWERS: Counter({ARRIVAL: len(answers), ANSWER: len(answers)})}

    def count_start(self, scenario: Scenario) -> Start:
        """What a start does that finds its sample, or what people asked for, waiting."""
        root = self._root / f"dry-start-{scenario.name}"
        with self.launcher() as launcher, scenario.site(root, self.templates) as site:
            scenario.act(site)
            daemon = start(site, launcher)
            daemon.note(STARTING_CALLS, root / "calls")
            daemon.begin()
            assert daemon.wait_ready(), daemon.said()
            finish(scenario, site, daemon)
            found = Start.of(root / "calls")
        shutil.rmtree(root)
        return found

    def judge(self, points: Iterable[Point], *, watch: bool = False) -> list[Verdict]:
        """A verdict for each; with `watch` also what the start after the last death does."""
        return list(self._pool.map(partial(self._judge, watch=watch), points))

    def _judge(self, point: Point, *, watch: bool) -> Verdict:
        root = self._root / f"{next(self._numbers)}-{point.name}"
        notes = root / "calls" if watch else None
        recovery = None
        with self.launcher() as launcher:
            try:
                with point.scenario.site(root, self.templates) as site:
                    deaths = _deaths(point, site, launcher, notes)
                    orderly = point.trap.signal != "KILL"
                    wrong = broken(site, point.scenario.outcome, deaths, orderly=orderly)
                    recovery = Start.of(notes) if notes is not None and deaths else None
            except (TimeoutError, AssertionError, OSError, RuntimeError) as error:
                return Verdict(point, 1, (f"{type(error).__name__}: {error}",))
            finally:
                launcher.clear()
        if not wrong:
            shutil.rmtree(root)
        return Verdict(point, len(deaths), tuple(wrong), deaths[0].places if deaths else (), recovery)


def _deaths(point: Point, site: Site, launcher: Launcher, notes: Path | None) -> list[Snapshot]:
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
        if notes is not None:
            daemon.note(STARTING_CALLS, notes)
        daemon.begin()
        assert daemon.wait_ready(), daemon.said()
        finish(point.scenario, site, daemon)
    return deaths


def _set(point: Point, site: Site, daemon: Daemon) -> None:
    if point.thread == ANSWERS:
        when = site.before_answer if point.trap.call == ANSWER else site.instead_of
        when(point.trap.number, daemon.kill if point.trap.signal == "KILL" else daemon.terminate)
    else:
        daemon.trap(point.trap, daemon.threads(point.thread))


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
