"""Cut the power at a random moment of a trip, start the daemon again, and see whether every guarantee holds.

    python -m tests.lifecycle.power_cuts               the everyday number of trials
    python -m tests.lifecycle.power_cuts 50            so many trials
    python -m tests.lifecycle.power_cuts 50 --seed 7   at other moments

Folders and state lie on an ext4 file system each, and done on a third in some trials, so that no fsync of one makes
another durable. ext4 writes nothing back on its own account here (see `disks`). At the cut every thread is stopped, the
file systems are shut down without a flush of their journals, the daemon is killed, and all is mounted again under
another boot number. What was written and not synced is gone. Disks that lie about a flush are not part of it.

The moment is just after a system call of one thread, given by its number, or when a request has arrived and is lost,
or when it was carried out and is not answered yet. Some starts after a cut are cut as well. What was committed at a
cut is what SQLite then showed to a reader: it does so only once a commit is synced.

Needs root, mkfs.ext4, unshare and strace. All mounts are made in a mount namespace of its own, and end with it, however
it ends. Sites of broken guarantees are described by what is printed; their logs are kept and named.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from moichord.queue.timekeeping import BOOT_ID
from tests.lifecycle.campaign import ANSWER, ANSWERS, ARRIVAL, Campaign, finish
from tests.lifecycle.daemon import Daemon, Launcher, Trap, until
from tests.lifecycle.disks import Disk, Machine, prove_the_cut
from tests.lifecycle.guarantees import broken
from tests.lifecycle.power_cuts_judged import committed, lost
from tests.lifecycle.scenarios import MAIN, Scenario, other_file_system, scenarios
from tests.lifecycle.site import Layout, Site, Snapshot

TRIALS = 6
TRIPS = ("done", "done-elsewhere", "failed", "done-without-images", "failed-elsewhere", "retry-failed", "retention")
# How often each kind of call is chosen; counts of the rest would drown what happens to folders.
WEIGHTS = {"pwrite64": 2, "fdatasync": 2, ARRIVAL: 6, ANSWER: 12, "rename": 8, "renameat2": 12}
OTHERS = 4
AGAIN = 1 / 3


@dataclass(frozen=True, slots=True)
class Trial:
    """One trip and its moments: where it is cut, and where the start after that is, if it is."""

    number: int
    scenario: Scenario
    thread: str
    trap: Trap
    again: Trap | None

    def __str__(self) -> str:
        after = "" if self.again is None else f", then start after {self.again.call} {self.again.number}"
        return f"{self.number} {self.scenario.name}: {self.thread} after {self.trap.call} {self.trap.number}{after}"


@dataclass(slots=True)
class Verdict:
    trial: Trial
    cuts: list[Snapshot] = field(default_factory=list)
    acknowledged: int = 0  # images committed as such at the first cut
    in_place: bool = False  # whether the first cut came at its moment, not at the end of the trip
    broken: list[str] = field(default_factory=list)


def choose(scenario: Scenario, calls: dict[str, Counter[str]], number: int, seed: int) -> Trial:
    """The same trial for the same seed and number, and the same calls of an undisturbed trip."""
    dice = random.Random(f"{seed} {number}")  # noqa: S311 - it is to be repeated
    # A retry is asked for before the daemon starts, so that its main thread, which is there at once, brings it back.
    threads = (*scenario.threads, ANSWERS) if _acts_late(scenario) else (MAIN, ANSWERS)
    places = [(thread, call) for thread in threads for call, last in sorted(calls[thread].items()) if last]
    thread, call = dice.choices(places, [WEIGHTS.get(call, OTHERS) for _, call in places])[0]
    again = Trap(dice.choice(["fdatasync", "pwrite64", "fsync"]), dice.randint(1, 8), "STOP")
    trap = Trap(call, dice.randint(1, calls[thread][call]), "STOP")
    return Trial(number, scenario, thread, trap, again if dice.random() < AGAIN else None)


class Laboratory:
    """Where trials take place; `boot_id` is the file that stands for the machine's boot number."""

    def __init__(self, root: Path, campaign: Campaign, boot_id: Path) -> None:
        self._root = root
        self._campaign = campaign
        self._boot_id = boot_id

    def judge(self, trial: Trial) -> Verdict:
        verdict = Verdict(trial)
        beside = self._root / f"trial-{trial.number}"
        beside.mkdir()
        with self._campaign.launcher() as launcher, ExitStack() as stack:
            site, machine = self._site(trial, beside, stack)
            stack.callback(launcher.clear)
            try:
                _live(trial, site, machine, _Starts(launcher, beside), verdict)
                verdict.broken += broken(site, trial.scenario.outcome, verdict.cuts)
            except (TimeoutError, AssertionError, OSError, RuntimeError) as error:
                verdict.broken.append(f"{type(error).__name__}: {error}")
        if not verdict.broken:
            shutil.rmtree(beside)
        return verdict

    def _site(self, trial: Trial, beside: Path, stack: ExitStack) -> tuple[Site, Machine]:
        root = beside / "disk"
        disks = [stack.enter_context(Disk(beside / "folders.img", root))]
        disks.append(stack.enter_context(Disk(beside / "state.img", root / "state")))
        scenario = trial.scenario
        if scenario.layout.elsewhere is not None:
            disks.append(stack.enter_context(Disk(beside / "elsewhere.img", root / "elsewhere")))
            layout = Layout(elsewhere=root / "elsewhere", images=scenario.layout.images)
            scenario = replace(scenario, layout=layout)
        site = stack.enter_context(scenario.site(root, self._campaign.templates, beside / "server"))
        return site, Machine(disks, self._boot_id)


@dataclass(frozen=True, slots=True)
class _Starts:
    launcher: Launcher
    beside: Path

    def __call__(self, site: Site) -> Daemon:
        return self.launcher.start(site.config, self.beside / "log", self.beside / "gate", site.passed)


def _live(trial: Trial, site: Site, machine: Machine, start: _Starts, verdict: Verdict) -> None:
    """Live the trip through, with its cuts."""
    if not _acts_late(trial.scenario):
        trial.scenario.act(site)
    machine.flush()
    daemon = start(site)
    if _acts_late(trial.scenario):
        daemon.begin()
        assert daemon.wait_ready(), daemon.said()
        threads = _threads(trial, daemon)
        _act_beside(trial.scenario, site, daemon)
        machine.flush()
        _set(trial, site, daemon, threads)
        daemon.resume()
    else:
        _set(trial, site, daemon, _threads(trial, daemon))
        daemon.begin()
    verdict.in_place = _moment(trial.scenario, site, daemon)
    verdict.acknowledged = _cut(site, machine, daemon, verdict)
    if trial.again is not None:
        daemon = start(site)
        daemon.trap(trial.again, daemon.threads(MAIN))
        daemon.begin()
        _moment(trial.scenario, site, daemon)
        _cut(site, machine, daemon, verdict)
    daemon = start(site)
    daemon.begin()
    assert daemon.wait_ready(), daemon.said()
    finish(trial.scenario, site, daemon)


def _act_beside(scenario: Scenario, site: Site, daemon: Daemon) -> None:
    """Act while the daemon stands still, but not in the middle of a commit, whose lock it would keep."""
    for _ in range(20):
        daemon.freeze()
        try:
            scenario.act(site)
        except sqlite3.OperationalError:
            daemon.resume()
            site.wait_for_the_lock()
        else:
            return
    raise AssertionError(f"{scenario.name}: the state was locked at every look")


def _acts_late(scenario: Scenario) -> bool:
    """Whether the trip begins beside a daemon that is ready; requests of people are there when it starts."""
    return scenario.template is None or scenario.layout.retention is not None


def _threads(trial: Trial, daemon: Daemon) -> list[int]:
    return [] if trial.thread == ANSWERS else daemon.threads(trial.thread)


def _set(trial: Trial, site: Site, daemon: Daemon, threads: list[int]) -> None:
    if threads:
        daemon.trap(trial.trap, threads)
    else:
        when = site.before_answer if trial.trap.call == ANSWER else site.instead_of
        when(trial.trap.number, daemon.stop)


def _moment(scenario: Scenario, site: Site, daemon: Daemon) -> bool:
    """Wait for the moment; False if the trip came to its end without."""
    looks = iter(range(10_000))
    still = 0

    def look() -> str | None:
        nonlocal still
        still = still + 1 if daemon.stands_still() else 0
        # A tracer holds a thread for a while at each call; the freeze that follows makes a mistake here harmless.
        if still >= 3 or daemon.ended:
            return "moment"
        return "end" if next(looks) % 8 == 7 and not still and scenario.over(site) else None

    came = until(look, f"a moment or the end: {daemon.said()}")
    assert not daemon.ended, daemon.said()
    return came == "moment"


def _cut(site: Site, machine: Machine, daemon: Daemon, verdict: Verdict) -> int:
    """The number of images that were acknowledged at the cut; what it has lost goes to the verdict."""
    daemon.freeze()
    before = committed(site)
    machine.cut()
    daemon.kill()
    daemon.wait()
    machine.boot()
    after = site.snapshot()
    number = len(verdict.cuts) + 1
    verdict.broken += [f"cut {number}: {sentence}" for sentence in lost(before, site, after)]
    after.acknowledged |= before.acknowledged
    after.analytics_finished |= before.analytics
    verdict.cuts.append(after)
    return len(before.acknowledged)


def run(trials: int, seed: int, lanes: int, boot_id: Path, root: Path) -> list[Verdict]:
    """All trials; `boot_id` stands for the machine's boot number."""
    prove_the_cut(root)
    with Campaign(root, lanes) as campaign, ThreadPoolExecutor(lanes) as pool:
        known = {scenario.name: scenario for scenario in scenarios(other_file_system(root))}
        trips = [known[name] for name in TRIPS if name in known]
        calls = dict(zip(trips, pool.map(campaign.count, trips), strict=True))
        chosen = [choose(trip, calls[trip], n, seed) for n in range(trials) for trip in [trips[n % len(trips)]]]
        return list(pool.map(Laboratory(root, campaign, boot_id).judge, chosen))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=int, nargs="?", default=TRIALS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=3, help="trials at once")
    parser.add_argument("--own-namespace", action="store_true", help="this process has its mounts for itself already")
    options = parser.parse_args(arguments)
    if not options.own_namespace:
        again = [sys.executable, "-m", "tests.lifecycle.power_cuts", *(arguments or sys.argv[1:]), "--own-namespace"]
        os.chdir(Path(__file__).parents[2])
        os.execvp("unshare", ["unshare", "--mount", *again])
    root = Path(tempfile.mkdtemp(prefix="power-cuts-"))
    boot_id = root / "boot-id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    subprocess.run(["mount", "--bind", boot_id, BOOT_ID], check=True)
    began = time.monotonic()
    verdicts = run(options.trials, options.seed, options.lanes, boot_id, root)
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    if failed:
        print(f"the logs of trials with broken guarantees are kept in {root}")
    else:
        shutil.rmtree(root)
    _tell(verdicts, time.monotonic() - began)
    return int(failed > 0)


def _tell(verdicts: Sequence[Verdict], seconds: float) -> None:
    for verdict in verdicts:
        for sentence in verdict.broken:
            print(f"    BROKEN {verdict.trial}: {sentence}")
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    cuts = sum(len(verdict.cuts) for verdict in verdicts)
    there = sum(verdict.in_place for verdict in verdicts)
    images = sum(verdict.acknowledged for verdict in verdicts)
    print(f"{there} trials cut at their moment, the others at the end; {images} images acknowledged before a first cut")
    print(
        f"power cuts: {len(verdicts)} trials, {cuts} cuts, {failed} trials with broken guarantees, in {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
