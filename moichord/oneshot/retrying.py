"""Again after a failure that may pass: in this process, after a growing pause or the one that the server asks for.

Owns the loop around the pipeline; when to try again is `retry`'s rule, in which every failure counts here, since there
is no other sample to tell a dead server from an unlucky one. Errors: TriesEnded, and what the pipeline raises
besides transient failures and outages.
"""

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moichord.clock import Clock
from moichord.errors import ApiFailure, ApiOutage, ApiTransient, MoichordError, Stopped
from moichord.oneshot.journal import MemoryJournal
from moichord.outage import Circuit
from moichord.pipeline.pipeline import Trip, run
from moichord.retry import TURNS_TO_CHARGE, Policy, Record, RetryAt, decide
from moichord.sample import Step

log = logging.getLogger(__name__)


class TriesEnded(MoichordError):
    """The last try of a step ended on a failure that may pass: `failure`."""

    exit_code = 75

    def __init__(self, failure: ApiFailure, tries: int) -> None:
        super().__init__(f"{failure.problem} Given up after {tries} {'try' if tries == 1 else 'tries'}.")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Retrying:
    """`retries` after the first try of each step, with pauses as in the configuration's `retry` block."""

    retries: int
    pauses: Policy
    clock: Clock
    stopping: threading.Event
    tell: Callable[[str], None]

    def run(self, trip: Trip, journal: MemoryJournal, steps: Sequence[Step]) -> None:
        """Run `steps` until they are done. What an earlier try has finished is not done again."""
        tries: Counter[Step] = Counter()
        while True:
            try:
                run(trip, steps)
            except (ApiTransient, ApiOutage) as failure:
                tries[trip.step] += 1
                self._pause(failure, journal.asked_to_wait(), tries[trip.step])
            else:
                return

    def _pause(self, failure: ApiFailure, asked: float | None, tries: int) -> None:
        # Several images may have failed together: no server is asked again before it wants to be.
        failure.retry_after = asked
        seconds = self._seconds(failure, tries)
        if seconds is None:
            raise TriesEnded(failure, tries) from failure
        again = f"Trying again in {seconds:.0f} s (try {tries + 1} of {self.retries + 1})."
        self.tell(f"{failure.problem} {again}")
        if self.clock.wait(self.stopping, seconds):
            raise Stopped("interrupted") from failure

    def _seconds(self, failure: ApiFailure, tries: int) -> float | None:
        """How long to wait after the `tries`-th try; None if it was the last one."""
        policy = Policy(self.pauses.first_delay, self.pauses.max_delay, self.retries + 1, math.inf)
        record = Record(tries=tries - 1, failures=tries - 1, outage_turns=TURNS_TO_CHARGE)
        now = self.clock.now()
        decision = decide(failure, record, Circuit(failure.api, successes=1), policy, now)
        return max(0.0, decision.at - now) if isinstance(decision, RetryAt) else None
