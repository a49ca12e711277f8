"""Kill the daemon at every point of its trips, start it again, and see whether every guarantee holds.

    python -m tests.lifecycle.crash_points           the points of the everyday run
    python -m tests.lifecycle.crash_points --all     every point: each call of each thread, also of the start after it
    python -m tests.lifecycle.crash_points --all --scenario done --call fsync,renameat2

A point is a thread and the number of one system call in it: the daemon dies just before that call, under strace. What
it had done before is on the disk, what it was about to do never happens. First a dry run counts every thread's calls.
At the servers it dies when a request has arrived and is lost (`arrival`), and when one was carried out and is not
answered yet (`answer`).

`--twice` kills the daemon once more in the start that follows, at each call of recovery. `--signal TERM` stops it
instead, after which nothing at all may be repeated. Sites of broken guarantees are kept and named.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.lifecycle.campaign import ANSWER, ARRIVAL, CALLS, STARTING, Campaign, Point, Verdict
from tests.lifecycle.daemon import Trap
from tests.lifecycle.scenarios import Scenario, other_file_system, scenarios

Counts = dict[str, Counter[str]]

# More calls than a start makes: what is not reached is not a death, and says so.
OF_A_START = {"mkdir": 6, "rmdir": 6, "rename": 3, "renameat2": 4, "unlink": 8, "unlinkat": 8, "fsync": 12} | {
    "fdatasync": 12,
    "pwrite64": 60,
    "ftruncate": 2,
}


def every_point(scenario: Scenario, calls: Counts) -> Iterator[Point]:
    """Each call of each thread on the trip, and of a start that finds the sample waiting."""
    yield from _every(scenario, calls, dict.fromkeys((*CALLS, ARRIVAL, ANSWER), 1))
    for call, most in OF_A_START.items():
        for number in range(1, most + 1):
            yield Point(scenario, STARTING, Trap(call, number))


def everyday(scenario: Scenario, calls: Counts) -> Iterator[Point]:
    """The plain trip: all renames, answers and removals, half of the syncs, some of the rest. Others: a selection.

    Always the same points; about a hundred with those of the other tests.
    """
    if scenario.name == "done":
        steps = dict.fromkeys(("rename", "renameat2", "mkdir", "rmdir", "unlink", "connect", ARRIVAL, ANSWER), 1)
        steps |= {"fsync": 2, "sendto": 2, "fdatasync": 4, "pwrite64": 30}
    else:
        steps = {"rename": 2, "renameat2": 1, "rmdir": 1, "unlink": 3, "fsync": 4, "fdatasync": 15}
    yield from _every(scenario, calls, steps)


def twice(points: Iterable[Point]) -> Iterator[Point]:
    """The start after each death dies as well, before each of its calls on folders and each of its commits."""
    for point in points:
        for call, most in OF_A_START.items():
            for number in range(1, most + 1) if call != "pwrite64" else ():
                yield replace(point, again=Trap(call, number))


def _every(scenario: Scenario, calls: Counts, steps: dict[str, int]) -> Iterator[Point]:
    for thread, counts in calls.items():
        for call, last in counts.items():
            for number in range(1, last + 1, steps[call]) if call in steps else ():
                yield Point(scenario, thread, Trap(call, number))


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
    names = None if options.scenario is None else options.scenario.split(",")
    reached = broken = 0
    with Campaign(root, options.lanes) as campaign:
        for scenario in scenarios(other_file_system(root)):
            if names is None or scenario.name in names:
                points = _chosen(options, scenario, campaign.count(scenario))
                verdicts = campaign.judge(points)
                _tell(scenario, verdicts)
                reached += sum(verdict.deaths > 0 for verdict in verdicts)
                broken += sum(bool(verdict.broken) for verdict in verdicts)
    print(f"{reached} points reached, {broken} with broken guarantees")
    if broken:
        print(f"their sites are kept in {root}")
    else:
        shutil.rmtree(root)
    return int(broken > 0)


def _chosen(options: argparse.Namespace, scenario: Scenario, calls: Counts) -> list[Point]:
    points = (every_point if options.all else everyday)(scenario, calls)
    wanted = None if options.call is None else options.call.split(",")
    chosen = [
        replace(point, trap=replace(point.trap, signal=options.signal))
        for point in points
        if (wanted is None or point.trap.call in wanted) and (point.trap.call != ARRIVAL or options.signal == "KILL")
    ]
    return list(twice(chosen)) if options.twice else chosen


def _tell(scenario: Scenario, verdicts: Sequence[Verdict]) -> None:
    dead = [verdict for verdict in verdicts if verdict.deaths]
    print(f"{scenario.name}: {len(dead)} of {len(verdicts)} points reached", flush=True)
    for verdict in verdicts:
        if not verdict.deaths and not verdict.broken:
            print(f"    not reached: {verdict.point}", flush=True)
        for sentence in verdict.broken:
            print(f"    BROKEN {verdict.point}: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
