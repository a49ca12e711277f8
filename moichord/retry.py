"""What a failed request means for its submission: again at a time, hold for the API, or give up.

Owns the rule of what counts as a try. Pure: the queue gives what it knows, and persists what is decided. It must
not know SQL, HTTP or files. No error leaves it.

A transient failure counts only if the same API answered another request well since the last one that counted, so
that a dead server spends no sample's tries. A submission that alone draws outage answers, on three turns while
others succeed, is charged for them like for a transient failure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import backoff

from moichord.errors import ApiFailure, ApiOutage, ApiRefusal
from moichord.outage import Circuit

TURNS_TO_CHARGE = 3
LONGEST_RETRY_AFTER = 24 * 3600.0


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

    `tries` have counted; `failures` happened in a row, counted or not; `successes_seen` is the API's count of
    successes when one last counted, `outage_successes` when this submission last drew an outage answer;
    `elapsed` seconds since the step began, without the time it was held or paused.
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
    """Wait until the API's circuit closes, or until it is this submission's turn to probe."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The sample fails; `why` completes the failure's own text."""

    why: str


Decision = RetryAt | HoldForApi | GiveUp


def is_charged(failure: ApiFailure, record: Record, circuit: Circuit) -> bool:
    """Whether an outage answer is this submission's own: its third turn of them while others succeed."""
    return isinstance(failure, ApiOutage) and turns(record, circuit) >= TURNS_TO_CHARGE


def turns(record: Record, circuit: Circuit) -> int:
    """On how many turns this submission drew outage answers, this one included, with successes in between."""
    fresh = record.outage_turns == 0 or circuit.successes > record.outage_successes
    return record.outage_turns + int(fresh)


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
    charged = is_charged(failure, record, circuit)
    if isinstance(failure, ApiOutage) and not charged:
        return HoldForApi()
    counted = charged or circuit.successes > record.successes_seen
    tries = record.tries + int(counted)
    if counted and tries >= policy.max_tries:
        return GiveUp(f"given up after {tries} {'try' if tries == 1 else 'tries'}")
    if not charged and circuit.is_open:
        return HoldForApi()
    if record.elapsed >= policy.give_up_after:
        return GiveUp(f"given up after {record.elapsed / 3600:.1f} h")
    if failure.retry_after is not None:
        return RetryAt(now + min(failure.retry_after, LONGEST_RETRY_AFTER), counted)
    return RetryAt(now + jitter(delay(record.failures, policy)), counted)


def delay(failures: int, policy: Policy) -> float:
    """Seconds before jitter to wait after `failures` earlier failures in a row: first_delay, doubled, capped."""
    waits = backoff.expo(base=2, factor=policy.first_delay, max_value=policy.max_delay)
    next(waits)  # the generator's first value only starts it
    for _ in range(min(failures, 64)):
        next(waits)
    return float(next(waits))


def sane(next_try_at: float | None, now: float, policy: Policy) -> float | None:
    """`next_try_at` as loaded from the state, made harmless if the machine's clock has jumped back."""
    if next_try_at is None:
        return None
    return min(next_try_at, now + max(policy.max_delay, LONGEST_RETRY_AFTER))
