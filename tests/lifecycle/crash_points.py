"""Kill the daemon at every point of its trips, start it again, and see whether every guarantee holds.

    python -m tests.lifecycle.crash_points           the points of the everyday run
    python -m tests.lifecycle.crash_points --all     every point: each call of each thread, also of the start after it
    python -m tests.lifecycle.crash_points --all --scenario done --call fsync,renameat2

A point is a thread and the number of one system call in it: the daemon dies just before that call, under strace. What
it had done before is on the disk, what it was about to do never happens. First dry runs count the calls of every
thread, and those of a start; of the threads that upload, which share their work, the one that comes so far dies. What
threads do at the same time may fall into one commit: a call that is not made for that reason is named as not reached.
At the servers it dies when a request has arrived and is lost (`arrival`), and when one was carried out and is not
answered yet (`answer`).

`--twice` kills the daemon once more in the start that follows, at each call of recovery that was counted there.
`--signal TERM` stops it instead, after which nothing at all may be repeated. Sites of broken guarantees are kept and
named.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.lifecycle.campaign import ANSWER, ARRIVAL, CALLS, STARTING, Campaign, Point, Start, Verdict
from tests.lifecycle.daemon import Trap
from tests.lifecycle.scenarios import Scenario, other_file_system, scenarios

Counts = dict[str, Counter[str]]


def every_point(scenario: Scenario, calls: Counts, first: Start) -> Iterator[Point]:
    """Each call of each thread on the trip, and of a start that finds the sample waiting."""
    yield from _every(scenario, calls, dict.fromkeys((*CALLS, ARRIVAL, ANSWER), 1))
    for call, last in sorted(first.calls.items()):
        for number in range(1, last + 1):
            yield Point(scenario, STARTING, Trap(call, number))


def everyday(scenario: Scenario, calls: Counts) -> Iterator[Point]:
    """The plain trip: all renames, answers and removals, half of the syncs, some of the rest. Others: a selection.

    Always the same points; about a hundred and fifty with those of the other tests.
    """
    if scenario.name == "done":
        steps = dict.fromkeys(("rename", "renameat2", "mkdir", "rmdir", "unlink", "connect", ARRIVAL, ANSWER), 1)
        steps |= {"fsync": 2, "sendto": 2, "fdatasync": 4, "pwrite64": 30}
    else:
        steps = {"rename": 2, "renameat2": 1, "rmdir": 1, "unlink": 3, "unlinkat": 4, "fsync": 6, "fdatasync": 15}
    yield from _every(scenario, calls, steps)


def twice(verdicts: Iterable[Verdict]) -> Iterator[Point]:
    """The start after a death dies as well, before each of its calls on folders and each of its commits.

    Deaths after which the sample lies in the same place and the start does the same calls are one case.
    """
    cases = {(one.point.scenario, one.places, one.recovery.order): one for one in verdicts if one.recovery is not None}
    for one in cases.values():
        assert one.recovery is not None
        for call, last in sorted(one.recovery.calls.items()):
            for number in range(1, last + 1) if call != "pwrite64" else ():
                yield replace(one.point, again=Trap(call, number))


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
    began = time.monotonic()
    names = None if options.scenario is None else options.scenario.split(",")
    verdicts: list[Verdict] = []
    with Campaign(root, options.lanes, one_worker_thread=True) as campaign:
        for scenario in scenarios(other_file_system(root)):
            if names is None or scenario.name in names:
                verdicts += _judged(options, scenario, campaign)
    died = [verdict for verdict in verdicts if verdict.deaths]
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    if broken:
        print(f"the sites of broken guarantees are kept in {root}")
    else:
        shutil.rmtree(root)
    print(
        f"crash points: {len(verdicts)} points, {len(died)} reached, {sum(verdict.deaths for verdict in died)} deaths,"
        f" {broken} with broken guarantees, in {time.monotonic() - began:.0f} s"
    )
    return int(broken > 0 or not died)


def _judged(options: argparse.Namespace, scenario: Scenario, campaign: Campaign) -> list[Verdict]:
    """One trip, told as it is judged; a line for each kind of call."""
    calls = campaign.count(scenario)
    points = every_point(scenario, calls, campaign.count_start(scenario)) if options.all else everyday(scenario, calls)
    verdicts = campaign.judge(_chosen(options, points), watch=options.twice)
    _tell(scenario.name, verdicts)
    if options.twice:
        again = campaign.judge(twice(verdicts))
        _tell(f"{scenario.name}, killed twice", again)
        verdicts += again
    return verdicts


def _chosen(options: argparse.Namespace, points: Iterable[Point]) -> Iterator[Point]:
    wanted = None if options.call is None else options.call.split(",")
    for point in points:
        if (wanted is None or point.trap.call in wanted) and (point.trap.call != ARRIVAL or options.signal == "KILL"):
            yield replace(point, trap=replace(point.trap, signal=options.signal))


def _tell(name: str, verdicts: Sequence[Verdict]) -> None:
    dead = [verdict for verdict in verdicts if len(_traps(verdict.point)) == verdict.deaths]
    print(f"{name}: {len(dead)} of {len(verdicts)} points reached", flush=True)
    kinds = Counter(_traps(verdict.point)[-1].call for verdict in dead)
    print("    " + ", ".join(f"{count} {call}" for call, count in kinds.most_common()), flush=True)
    for verdict in verdicts:
        if verdict not in dead and not verdict.broken:
            print(f"    not reached: {verdict.point}", flush=True)
        for sentence in verdict.broken:
            print(f"    BROKEN {verdict.point}: {sentence}", flush=True)


def _traps(point: Point) -> list[Trap]:
    return [trap for trap in (point.trap, point.again) if trap is not None]


if __name__ == "__main__":
    sys.exit(main())
