"""Kill the daemon again and again at random moments, while samples keep coming and the servers fail: nothing is lost.

    python -m tests.lifecycle.random_kills              a dozen kills, as every day
    python -m tests.lifecycle.random_kills 200          so many, and the figures
    python -m tests.lifecycle.random_kills 200 --seed 7

A moment is a number of requests or folders counted from the start on, chosen by the seed, never a time. `arrival`: the
request has come and is lost; `answer`: it was carried out, and its answer never arrives; `taken` and `filed`: so many
folders have come into work, or lie in done; `start`: the daemon has said its first word and may still be recovering.
Between two kills every interrupted sample gets on, else two of them in a row would make it poison.

Of the requests some are answered 503, some cut off, some carried out without an answer; which, is chance by the seed,
the request's subject and how often it was asked. A folder of broken guarantees is kept and named.
"""

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from moichord.sample import Api
from moichord.sandbox import faults
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_image
from tests.lifecycle.daemon import Daemon, Launcher, until
from tests.lifecycle.random_kills_judged import Death, broken, repeated
from tests.lifecycle.site import Layout, Site

EVERYDAY = 12
AT_ONCE = 8
IMAGES = 3
PATIENCE = 120.0
LATEST = 24
MORE = {"workers: 1": "workers: 4", "concurrency: 1": "concurrency: 4"}


class Moment(StrEnum):
    """What is counted until the daemon dies."""

    ARRIVAL = "arrival"
    ANSWER = "answer"
    TAKEN = "taken"
    FILED = "filed"
    START = "start"


WEIGHTS = {Moment.ARRIVAL: 4, Moment.ANSWER: 6, Moment.TAKEN: 3, Moment.FILED: 3, Moment.START: 2}
FAULTS = {faults.Moment.INSTEAD: 60, faults.Moment.CUT: 40, faults.Moment.LOST: 40}
"""In a thousand requests."""


class Chances:
    """Which requests are spoilt: the same ones for the same seed, in whatever order threads ask."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()

    def strikes(self, fault: faults.Moment, received: Received) -> bool:
        subject = f"{fault} {received.api} {received.sop_instance_uid or received.sample_id}"
        with self._lock:
            self._times[subject] += 1
            number = self._times[subject]
        # No secret: a campaign must be repeatable.
        return random.Random(f"{self._seed} {subject} {number}").randrange(1000) < FAULTS[fault]  # noqa: S311


class Trigger:
    """Acts once, when the moment it is set to has come for the given time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moment: Moment | None = None
        self._left = 0
        self._act: Callable[[], None] = lambda: None

    def set(self, moment: Moment, number: int, act: Callable[[], None]) -> None:
        with self._lock:
            self._moment, self._left, self._act = moment, number, act

    def came(self, moment: Moment, times: int = 1) -> bool:
        """Count; say whether it acted."""
        with self._lock:
            if moment is not self._moment:
                return False
            self._left -= times
            if self._left > 0:
                return False
            self._moment = None
            self._act()
            return True


@dataclass(frozen=True)
class Figures:
    """What a campaign came to. `broken` says which guarantees do not hold; none do not."""

    kills: Counter[str]
    done: int
    poison: int
    requests: int
    spoilt: int
    repeated: int
    interrupted: int
    seconds: float
    broken: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        moments = ", ".join(f"{count} {name}" for name, count in self.kills.most_common())
        return "\n".join(
            [
                f"kills: {moments}",
                f"{self.interrupted} times a sample was being processed at a kill",
                f"{self.requests} requests, {self.spoilt} of them not answered well; {self.repeated} uploads repeated",
                *(f"    BROKEN {sentence}" for sentence in self.broken),
                f"random kills: {self.kills.total()} kills, {self.done + self.poison} samples, {self.done} done,"
                f" {self.poison} set aside as poison, {len(self.broken)} guarantees broken, in {self.seconds:.0f} s",
            ]
        )


class Campaign:
    """One site, its daemon's lives, and the samples that keep coming."""

    def __init__(self, site: Site, launcher: Launcher, trigger: Trigger, seed: int) -> None:
        self._site = site
        self._launcher = launcher
        self._trigger = trigger
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self.kills: Counter[str] = Counter()
        self.dropped: list[str] = []
        self.deaths: list[Death] = []

    def run(self, kills: int) -> None:
        """So many lives that end in a kill, and one in which all samples come to their end."""
        for _ in range(kills):
            moment = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            self._live_until(moment, self._chance.randint(1, LATEST))
            self.kills[moment] += 1
            self.deaths.append(Death.of(self._site))
        daemon = self._start()
        self._wait(daemon, lambda: self._ended() == len(self.dropped) and not self._unfinished(), "all to end")
        daemon.terminate()
        assert daemon.wait() == 0, daemon.said()

    def _live_until(self, moment: Moment, number: int) -> None:
        daemon = self._start(ready=moment is not Moment.START)
        if moment is Moment.START:
            daemon.kill()
        else:
            self._wait(daemon, lambda: not self._suspects(), "every interrupted sample to get on", feed=True)
            folders = {Moment.TAKEN: self._site.work, Moment.FILED: self._site.done}
            # A sample is five requests: as many folders would take five times as long.
            count = number if moment not in folders else 1 + number // (IMAGES + 2)
            known = set(_names(folders.get(moment, self._site.done)))
            self._trigger.set(moment, count, daemon.kill)

            def struck() -> bool:
                if moment in folders:
                    new = set(_names(folders[moment])) - known
                    known.update(new)
                    self._trigger.came(moment, len(new))
                return daemon.ended

            self._wait(None, struck, f"{count} times {moment}: {daemon.said()}", feed=True)
        daemon.wait()

    def _start(self, *, ready: bool = True) -> Daemon:
        daemon = self._launcher.start(self._site.config, self._site.root / "log", self._site.root / "gate")
        daemon.begin()
        if ready:
            assert daemon.wait_ready(), daemon.said()
        else:
            until(lambda: daemon.ended or daemon.said(), "its first word")
        return daemon

    def _wait(self, daemon: Daemon | None, condition: Callable[[], bool], what: str, *, feed: bool = False) -> None:
        def there() -> bool:
            if feed:
                self._feed()
            assert daemon is None or not daemon.ended, f"the daemon ended: {daemon.said()}"
            return condition()

        until(there, what, PATIENCE)

    def _feed(self) -> None:
        """Keep some samples under way."""
        while len(self.dropped) - self._ended() < AT_ONCE:
            name = f"S-{len(self.dropped) + 1:05d}"
            folder = self._site.root / "originals" / name
            folder.mkdir(parents=True)
            for image in range(IMAGES):
                write_image(folder / f"{image}.dcm", rows=16 + image)
            beside = self._site.root / "scanner" / name
            shutil.copytree(folder, beside)
            beside.rename(self._site.inbox / name)
            self.dropped.append(name)

    def _ended(self) -> int:
        return sum(len(_names(folder)) for folder in (self._site.done, self._site.failed))

    def _suspects(self) -> int:
        """How many samples have not got on since a kill that interrupted them."""
        return self._asked("SELECT count(*) FROM submissions WHERE crashes > 0")

    def _unfinished(self) -> int:
        return self._asked("SELECT count(*) FROM submissions WHERE finished_at IS NULL OR intent IS NOT NULL")

    def _asked(self, question: str) -> int:
        with closing(sqlite3.connect(f"file:{self._site.state}?mode=ro", uri=True, timeout=5)) as connection:
            return int(connection.execute(question).fetchone()[0])


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def campaign(root: Path, kills: int, seed: int) -> Figures:
    """All of it below `root`, which must not exist."""
    began = time.monotonic()
    trigger, chances = Trigger(), Chances(seed)
    root.mkdir(parents=True)
    with (
        StandInApis(
            any_sample=True, keep_files=root / "server", on_record=lambda _: trigger.came(Moment.ANSWER)
        ) as apis,
        Launcher() as launcher,
    ):
        apis.fail_for(lambda _: trigger.came(Moment.ARRIVAL), moment=faults.Moment.CUT)
        for fault in FAULTS:
            apis.fail_for(lambda one, fault=fault: chances.strikes(fault, one), status=503, moment=fault)
        site = _site(root, apis)
        one = Campaign(site, launcher, trigger, seed)
        one.run(kills)
        return _figures(site, one, time.monotonic() - began)


def _site(root: Path, apis: StandInApis) -> Site:
    site = Site(root, apis, Layout(), {}, [], root / "passed")
    for folder in (site.inbox, site.done, site.failed, site.state.parent, root / "scanner"):
        folder.mkdir()
    site.write_config()
    text = site.config.read_text()
    for one, several in MORE.items():
        assert one in text
        text = text.replace(one, several)
    site.config.write_text(text)
    return site


def _figures(site: Site, one: Campaign, seconds: float) -> Figures:
    requests = site.apis.requests.all()
    return Figures(
        kills=one.kills,
        done=len(_names(site.done)),
        poison=len(_names(site.failed)),
        requests=len(requests),
        spoilt=sum(request.status != 200 for request in requests),
        repeated=repeated(site.apis.requests.calls(Api.UPLOAD)),
        interrupted=sum(len(death.processing) for death in one.deaths),
        seconds=seconds,
        broken=tuple(broken(site, one.dropped, one.deaths)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", nargs="?", type=int, default=EVERYDAY)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="random-kills-"))
    print(f"the site is {root}, and is kept if a guarantee is broken", flush=True)
    figures = campaign(root / "site", options.kills, options.seed)
    print(figures)
    if not figures.broken:
        shutil.rmtree(root)
    return int(bool(figures.broken))


if __name__ == "__main__":
    sys.exit(main())
