"""From the inbox into work: the one thread that looks, judges and takes.

Owns the cycle bell -> scan -> judge -> record -> take. The scan is the truth; the doorbell only makes it early. It
must not know what is done with a sample afterwards. Nothing but StateUnwritable leaves `look`.
"""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from moichord.clock import Clock
from moichord.errors import StateUnwritable
from moichord.inbox.blindness import Blindness
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.scanner import Scanner
from moichord.inbox.seen import FolderSeen, InboxSeen
from moichord.inbox.settling import NotYet, SettleRule, Take, Tracked, held_open, interrupted, judge, restored
from moichord.inbox.strays import left_alone
from moichord.inbox.taking import Taker
from moichord.pulse import Pulse
from moichord.queue.arrivals import Arrivals, Taking
from moichord.queue.requests import Requests
from moichord.sample import Arrival, printable
from moichord.spool import ATTEMPT_SUFFIX, Spool

log = logging.getLogger(__name__)

SOONEST = 0.05
REST = 50.0
SLOW_SECONDS = 600.0
JUDGING_SECONDS = 120.0
PAUSED = "moichord is paused"


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """The `watch` block as the intake uses it; times in seconds."""

    sample_id: re.Pattern[str]
    settle: SettleRule
    scan_interval: float


class Intake:
    """Looks at the inbox, remembers what it saw, and takes what has settled, unless `hindrance` says why not."""

    def __init__(
        self,
        scanner: Scanner,
        doorbell: Doorbell,
        arrivals: Arrivals,
        requests: Requests,
        spool: Spool,
        clock: Clock,
        rules: IntakeRules,
        taken: Callable[[], None],
        hindrance: Callable[[], str | None] = lambda: None,
        pulse: Pulse | None = None,
    ) -> None:
        self._scanner = scanner
        self._doorbell = doorbell
        self._arrivals = arrivals
        self._requests = requests
        self._taker = Taker(arrivals, spool, clock)
        self._clock = clock
        self._rules = rules
        self._blindness = Blindness(arrivals, clock)
        self._taken = taken
        self._hindrance = hindrance
        self._pulse = pulse or Pulse(clock)
        self._next: tuple[Scanner, IntakeRules] | None = None
        self._tracked: dict[str, Tracked] = {}
        self._recorded: dict[str, Arrival] = {}
        self._problem: str | None = None
        self._seen_at = clock.monotonic()
        self._unwritable: str | None = None
        self._strays: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Why nothing of the inbox can be taken, if so."""
        return [problem for problem in (self._problem, self._taker.problem, self._unwritable) if problem]

    @property
    def notices(self) -> list[str]:
        """What people should know about the inbox as a whole."""
        watch = None if self._problem else self._doorbell.problem  # one that is gone cannot be watched either
        return [*self.problems, *([watch] if watch else []), *left_alone(self._strays)]

    def adopt(self, scanner: Scanner, rules: IntakeRules) -> None:
        """Look with these from the next look on. Any thread may ask for that."""
        self._next = (scanner, rules)

    def restore(self) -> None:
        """Take up what an earlier process remembered of the receiving samples."""
        self._taker.restore()
        self._recorded = self._arrivals.load()
        self._seen_at = self._clock.monotonic()
        monotonic, now = self._clock.monotonic(), self._clock.now()
        unseen = self._blindness.left_out(self._recorded.values())
        self._tracked = {
            name: restored(name, arrival.manifest, arrival.last_change_at, monotonic=monotonic, now=now, unseen=unseen)
            for name, arrival in self._recorded.items()
        }

    def absence(self) -> str | None:
        """Why the inbox cannot be seen ("the share is gone"), if so: before anything is made of what is not there."""
        problem = self._scan().problem
        if problem is not None:
            self._blindness.begins(self._clock.now())
        return problem

    def run(self, ring: threading.Event, stopping: threading.Event) -> None:
        """Look on the bell and every `scan_interval`, until stopping.

        Many samples that settle one after the other are looked at together: without the bell the next look comes REST
        times later than the last one took.
        """
        wait = 0.0
        while not stopping.is_set():
            self._clock.wait(ring, wait)
            ring.clear()
            if stopping.is_set():
                break
            with self._pulse.share("the inbox", SLOW_SECONDS):
                if not self._doorbell.healthy():
                    self._doorbell.rebuild()  # before the scan: what comes in between is seen by it
            try:
                began = self._clock.monotonic()
                with self._pulse.within(JUDGING_SECONDS, "judges what the inbox holds"):
                    wait = self.look()
                took = self._clock.monotonic() - began
                wait = max(wait, min(self._rules.scan_interval, REST * took))
                self._unwritable = None
            except StateUnwritable as error:
                wait = self._rules.scan_interval
                if self._unwritable is None:
                    log.error("%s; nothing is taken until that ends", error)
                self._unwritable = str(error)

    def look(self) -> float:
        """One scan and what follows from it; seconds until the next one is due."""
        seen = self._scan()
        if seen.problem is None and self._taker.unfinished:
            self._take_up()
            seen = self._scan()
        self._note(seen)
        if seen.problem is not None or self._taker.unfinished:
            return self._rules.scan_interval
        ids = (sample_id_of(folder.name, self._rules.sample_id) for folder in seen.folders)
        busy = self._arrivals.busy_samples(filter(None, ids))
        hindrance = PAUSED if self._requests.is_paused() else self._hindrance()
        verdicts = [(folder, self._judge(folder, busy, hindrance)) for folder in seen.folders]
        ready = [] if hindrance else _first_of_each(self._takings(verdicts))
        self._record(verdicts, {taking.folder_name for taking in ready}, hindrance)
        self._listen(seen, {taking.folder_name for taking in ready})
        self._take(ready)
        again = [verdict.look_again_in for _, verdict in verdicts if isinstance(verdict, NotYet)]
        soonest = min((seconds for seconds in again if seconds is not None), default=self._rules.scan_interval)
        return min(self._rules.scan_interval, max(SOONEST, soonest))

    def _scan(self) -> InboxSeen:
        adopted, self._next = self._next, None
        if adopted is not None:
            self._scanner, self._rules = adopted
        with self._pulse.share("the inbox", SLOW_SECONDS):
            return self._scanner.scan()

    def _listen(self, seen: InboxSeen, ready: set[str]) -> None:
        """With a ready marker, the doorbell also listens inside the samples that it has still to appear in."""
        if self._rules.settle.ready_marker is None:
            return
        wanted = {folder.name for folder in seen.folders if folder.is_sample} - ready
        for name in self._doorbell.samples - wanted:
            self._doorbell.unwatch_sample(name)
        for name in wanted - self._doorbell.samples:
            self._doorbell.watch_sample(name)

    def _note(self, seen: InboxSeen) -> None:
        """Say once what is new about the inbox as a whole."""
        if seen.problem != self._problem:
            if seen.problem is None:
                log.warning("the inbox is there again")
                self._begin_anew()
            else:
                log.error("%s; nothing is taken until that ends", seen.problem)
        self._problem = seen.problem
        if seen.problem is not None:
            self._blindness.begins(self._clock.now() - (self._clock.monotonic() - self._seen_at))
            return
        self._blindness.over(self._recorded.values())
        self._seen_at = self._clock.monotonic()
        for line in left_alone(sorted(set(seen.strays) - set(self._strays))):
            log.warning("%s", line)
        self._strays = seen.strays

    def _begin_anew(self) -> None:
        monotonic = self._clock.monotonic()
        for name, tracked in self._tracked.items():
            self._tracked[name] = interrupted(tracked, since=self._seen_at, monotonic=monotonic)

    def _judge(self, folder: FolderSeen, busy: set[str], hindrance: str | None) -> Take | NotYet:
        sample_id = sample_id_of(folder.name, self._rules.sample_id)
        rule, monotonic = self._rules.settle, self._clock.monotonic()
        earlier = f"an earlier submission of {sample_id} is still being processed" if sample_id in busy else None
        blocked = earlier or self._taker.blocked(folder.name)
        tracked, verdict = judge(
            folder,
            self._tracked.get(folder.name),
            rule,
            monotonic=monotonic,
            now=self._clock.now(),
            blocked=blocked,
        )
        self._tracked[folder.name] = tracked
        if isinstance(verdict, Take) and hindrance is None:
            path = self._scanner.open_for_writing(folder)
            return verdict if path is None else held_open(path, tracked, rule, monotonic=monotonic)
        return verdict

    def _takings(self, verdicts: list[tuple[FolderSeen, Take | NotYet]]) -> list[Taking]:
        takings = []
        for folder, verdict in verdicts:
            sample_id = sample_id_of(folder.name, self._rules.sample_id)
            if isinstance(verdict, Take) and sample_id is not None:
                takings.append(
                    Taking(
                        folder_name=folder.name,
                        sample_id=sample_id,
                        manifest=folder.manifest,
                        file_count=len(folder.files),
                        image_count=folder.image_count,
                        size=folder.size,
                        smallest_image=folder.smallest_image,
                        doomed=verdict.doomed,
                    )
                )
        return takings

    def _record(self, verdicts: list[tuple[FolderSeen, Take | NotYet]], ready: set[str], hindrance: str | None) -> None:
        """Write down what has changed about the folders that stay."""
        present = {folder.name for folder, _ in verdicts}
        gone = self._recorded.keys() - present
        changed = []
        for folder, verdict in verdicts:
            if folder.name in ready:
                continue
            arrival = self._arrival(folder, verdict, hindrance)
            if self._recorded.get(folder.name) != arrival:
                changed.append(arrival)
        if changed or gone:
            self._arrivals.record(changed, gone)
        for name in (gone | self._tracked.keys()) - present:
            self._forget(name)
        for arrival in changed:
            before = self._recorded.get(arrival.folder_name)
            self._recorded[arrival.folder_name] = arrival
            if before is None:
                log.info("receiving", extra={"sample": arrival.sample_id or printable(arrival.folder_name)})

    def _arrival(self, folder: FolderSeen, verdict: Take | NotYet, hindrance: str | None) -> Arrival:
        before = self._recorded.get(folder.name)
        if isinstance(verdict, NotYet):
            reason = verdict.reason
        else:
            reason = hindrance or "another folder of the same sample is taken first"
        tracked = self._tracked[folder.name]
        return Arrival(
            folder_name=folder.name,
            sample_id=sample_id_of(folder.name, self._rules.sample_id),
            reason=reason,
            manifest=folder.manifest,
            first_seen_at=before.first_seen_at if before else self._clock.now(),
            last_change_at=tracked.last_change_at,
            file_count=len(folder.files),
            image_count=folder.image_count,
            size=folder.size,
        )

    def _take(self, ready: list[Taking]) -> None:
        with self._pulse.share("the inbox", SLOW_SECONDS):
            moved = self._taker.take(ready)
        for submission in moved:
            self._forget(submission.folder_name)
        if moved:
            self._taken()

    def _take_up(self) -> None:
        with self._pulse.share("the inbox", SLOW_SECONDS):
            moved = self._taker.take_up()
        if moved:
            self._taken()

    def _forget(self, folder_name: str) -> None:
        self._recorded.pop(folder_name, None)
        self._tracked.pop(folder_name, None)
        self._taker.forget(folder_name)


def sample_id_of(folder_name: str, pattern: re.Pattern[str]) -> str | None:
    """The sample ID that a folder's name gives, without an `.attempt-NNN` of ours; None if it gives none.

    Whatever the pattern admits, a name with control characters or undecodable bytes gives none: `$` would pass over
    a line's end.
    """
    if not folder_name.isprintable():
        return None
    match = pattern.search(ATTEMPT_SUFFIX.sub("", folder_name))
    return match["sample_id"] if match else None


def _first_of_each(takings: list[Taking]) -> list[Taking]:
    """One folder for each sample ID: of two that settled together, the second waits for the first."""
    chosen: dict[str, Taking] = {}
    for taking in takings:
        chosen.setdefault(taking.sample_id, taking)
    return list(chosen.values())
