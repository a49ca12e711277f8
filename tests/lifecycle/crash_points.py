"""Kill the daemon at every point of its trips, start it again, and see whether every guarantee holds.

    python -m tests.lifecycle.crash_points           the points of the everyday run
    python -m tests.lifecycle.crash_points --all     every point: each call of each thread, also of the start after it
    python -m tests.lifecycle.crash_points --all --scenario done --call fsync,renameat2

A point is a thread and the number of one system call in it: the daemon dies just before that call, under strace. What
it had done before is on the disk, what it was about to do never happens. First a dry run counts every thread's calls.

`--twice` kills the daemon once more in the start that follows, at each call of recovery. `--signal TERM` stops it
instead, after which nothing at all may be repeated. Sites of broken guarantees are kept and named.
"""

import argparse
import queue
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Self

from tests.lifecycle.daemon import Daemon, Launcher, Trap, counted, until
from tests.lifecycle.guarantees import broken
from tests.lifecycle.scenarios import Scenario, make_templates, other_file_system, scenarios, start
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


@dataclass(slots=True)
class Report:
    """A campaign's verdicts."""

    verdicts: list[Verdict] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)

    @property
    def reached(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.deaths]

    @property
    def violations(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.broken]


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
        with self._launcher() as launcher:
            make_templates(self.templates, launcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def _launcher(self) -> Iterator[Launcher]:
        launcher = self._launchers.get()
        try:
            yield launcher
        finally:
            self._launchers.put(launcher)

    def count(self, scenario: Scenario) -> dict[str, Counter[str]]:
        """The calls of each thread on an undisturbed trip."""
        root = self._root / f"dry-{scenario.name}"
        with self._launcher() as launcher, scenario.site(root, self.templates) as site:
            daemon = start(site, launcher)
            daemon.begin()
            daemon.wait_ready()
            threads = {name: daemon.thread(name) for name in THREADS}
            daemon.count([f"?{call}" for call in CALLS], root / "calls")
            scenario.act(site)
            _finish(scenario, site, daemon)
            assert not (wrong := broken(site, scenario.outcome, [])), wrong
            calls = counted(root / "calls")
            answers = site.apis.requests.all()
        shutil.rmtree(root)
        found = {name: calls.get(thread, Counter()) for name, thread in threads.items()}
        network = {call: max(counts[call] for counts in calls.values()) for call in NETWORK_CALLS}
        for counts in found.values():
            for call in NETWORK_CALLS:
                del counts[call]
        return found | {REQUESTS: Counter(network), ANSWERS: Counter({ANSWER: len(answers)})}

    def judge(self, points: Iterable[Point]) -> list[Verdict]:
        return list(self._pool.map(self._judge, points))

    def _judge(self, point: Point) -> Verdict:
        root = self._root / f"{next(self._numbers)}-{point.name}"
        with self._launcher() as launcher:
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
        _finish(point.scenario, site, daemon)
    return deaths


def _set(point: Point, site: Site, daemon: Daemon) -> None:
    if point.thread == ANSWERS:
        site.before_answer(point.trap.number, daemon.kill if point.trap.signal == "KILL" else daemon.terminate)
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


def _finish(scenario: Scenario, site: Site, daemon: Daemon) -> None:
    until(lambda: daemon.ended or scenario.over(site), f"the end of the trip: {daemon.said()}")
    daemon.terminate()
    assert daemon.wait() == 0, daemon.said()


def points_of(scenario: Scenario, calls: dict[str, Counter[str]], every: Callable[[str], int]) -> Iterator[Point]:
    """Every `every(call)`th point of a trip, by the calls that were counted; 0 leaves a call out."""
    for thread, counts in calls.items():
        for call, last in counts.items():
            step = every(call)
            for number in range(1, last + 1, step) if step else ():
                yield Point(scenario, thread, Trap(call, number))


def start_points(scenario: Scenario, call: str, most: int, step: int = 1) -> Iterator[Point]:
    """Points from the daemon's first instruction on, with the sample waiting for it already."""
    for number in range(1, most + 1, step):
        yield Point(scenario, STARTING, Trap(call, number))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every point, not the everyday selection")
    parser.add_argument("--twice", action="store_true", help="kill the start after each death as well")
    parser.add_argument("--scenario", help="only these, separated by commas")
    parser.add_argument("--call", help="only these system calls, separated by commas")
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM"])
    parser.add_argument("--lanes", type=int, default=4, help="daemons at once")
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="crash-points-"))
    chosen = [
        one
        for one in scenarios(other_file_system(root))
        if options.scenario is None or one.name in options.scenario.split(",")
    ]
    wanted = set((*CALLS, ANSWER) if options.call is None else options.call.split(","))
    total = bad = 0
    with Campaign(root, options.lanes) as campaign:
        for scenario in chosen:
            calls = campaign.count(scenario)
            for thread, counts in calls.items():
                print(f"{scenario.name}: {thread}: {dict(counts)}", flush=True)
            every = (lambda call: int(call in wanted)) if options.all else everyday(wanted)
            points = list(points_of(scenario, calls, every))
            if options.all:
                points += [p for call in sorted(wanted & set(CALLS)) for p in start_points(scenario, call, 60)]
            points = [replace(point, trap=replace(point.trap, signal=options.signal)) for point in points]
            verdicts = campaign.judge(points)
            reached = [verdict for verdict in verdicts if verdict.deaths]
            total += len(reached)
            print(f"{scenario.name}: {len(reached)} of {len(points)} points reached", flush=True)
            for verdict in verdicts:
                bad += bool(verdict.broken)
                for sentence in verdict.broken:
                    print(f"BROKEN {verdict.point}: {sentence}", flush=True)
    print(f"{total} points, {bad} with broken guarantees")
    if bad:
        print(f"the sites are kept in {root}")
    else:
        shutil.rmtree(root)
    return int(bad > 0)


def everyday(wanted: set[str]) -> Callable[[str], int]:
    """Every call on folders, every seventh on the state and the network."""
    return lambda call: 0 if call not in wanted else 1 if call in (*FOLDER_CALLS, ANSWER) else 7


if __name__ == "__main__":
    sys.exit(main())
