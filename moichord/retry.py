"""What a failed request means for its submission: again at a time, hold for the API, or give up.

Owns the rule of what counts as a try. Pure: the queue gives what it knows, and persists what is decided. It must
not know SQL, HTTP or files. No error leaves it.

While the API's circuit is open nothing counts. A transient failure counts only if the same API answered another
request well since the last one that counted, so that a dead server spends no sample's tries. A submission that drew
outage answers on three turns while others succeeded is a suspect: its outage answers no longer open the circuit, and
each counts for which others have succeeded since the one before. Time alone ends nothing: who is given up after
`give_up_after` has had at least one try that counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import backoff

from moichord.errors import ApiFailure, ApiOutage, ApiRefusal
from moichord.outage import Circuit
from moichord.sample import LONGEST_RETRY_AFTER

TURNS_TO_CHARGE = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """The `retry` block of the configuration, in seconds."""

    first_delay: float
    max_delay: float
    max_tries: int
    give_up_after: float


@dataclass(frozen=True, slots=True)
class Record:
    """How one step of one submission fared until now.

    `tries` have counted; `failures` is the number of turns that ended in waiting for a time of its own, counted or
    not; `successes_seen` is the API's count of successes when one last counted, `outage_successes` when this
    submission last drew an outage answer, which it did on `outage_turns` turns with successes in between; `elapsed`
    seconds since the step began, without the time it was held or paused.
    """

    tries: int = 0
    failures: int = 0
    successes_seen: int = 0
    outage_turns: int = 0
    outage_successes: int = 0
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Run the step again at `at`; `counted` says whether this failure was a try."""

    at: float
    counted: bool


@dataclass(frozen=True, slots=True)
class HoldForApi:
    """Wait until the API's circuit closes, or until it is this submission's turn to probe.

    `until` is set for a suspect of which nobody can tell now whether it is at fault: it asks again by itself, and the
    time until then is not its own.
    """

    until: float | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The sample fails; `why` completes the failure's own text; `counted` says whether the last failure was a try."""

    why: str
    counted: bool = False


Decision = RetryAt | HoldForApi | GiveUp


def is_suspect(record: Record, circuit: Circuit) -> bool:
    """Whether an outage answer that comes now is this submission's own affair, and says nothing about the API."""
    return turns(record, circuit) >= TURNS_TO_CHARGE


def turns(record: Record, circuit: Circuit) -> int:
    """On how many turns this submission drew outage answers, this one included, with successes in between."""
    return record.outage_turns + int(_others_succeeded(record, circuit))


def _others_succeeded(record: Record, circuit: Circuit) -> bool:
    return record.outage_turns == 0 or circuit.successes > record.outage_successes


def decide(
    failure: ApiFailure,
    record: Record,
    circuit: Circuit,
    policy: Policy,
    now: float,
    jitter: Callable[[float], float] = backoff.full_jitter,
) -> Decision:
    """What to do after `failure`, given the API's circuit as the failure has left it."""
    if isinstance(failure, ApiRefusal):
        return GiveUp("")
    if circuit.is_open:
        return HoldForApi()
    at = now + (jitter(delay(record.failures, policy)) if failure.retry_after is None else failure.retry_after)
    at = min(at, now + LONGEST_RETRY_AFTER)
    if isinstance(failure, ApiOutage):
        if not is_suspect(record, circuit):
            return HoldForApi()
        counted = _others_succeeded(record, circuit)
        if not counted:
            return HoldForApi(until=at)
    else:
        counted = circuit.successes > record.successes_seen
    tries = record.tries + int(counted)
    if counted and tries >= policy.max_tries:
        return GiveUp(f"given up after {tries} {'try' if tries == 1 else 'tries'}", counted)
    if tries and record.elapsed >= policy.give_up_after:
        return GiveUp(f"given up after {record.elapsed / 3600:.1f} h", counted)
    return RetryAt(at, counted)


def delay(failures: int, policy: Policy) -> float:
    """Seconds before jitter to wait after `failures` earlier ones: first_delay, doubled, capped, a day at most."""
    longest = min(policy.max_delay, LONGEST_RETRY_AFTER)
    waits = backoff.expo(base=2, factor=policy.first_delay, max_value=longest)
    next(waits)  # the generator's first value only starts it
    for _ in range(min(failures, 64)):
        next(waits)
    return float(next(waits))
