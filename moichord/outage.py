"""One circuit per API, as a value: what an answer does to it, and when the next probe is due.

Owns the rule by which an API is believed to be down and up again. It must not know submissions, SQL, HTTP or
threads: `queue.circuits` persists the value and decides who may be the probe. No error leaves it.

A circuit opens at once on an outage answer, or after five transient failures in a row. While it is open one
probe at a time goes out, after 5 s, 10 s, ... up to 5 min, or when the server itself says (Retry-After, RFC 9110
section 10.2.3), but never sooner than 5 s nor later than 24 h; one success closes it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from moichord.sample import LONGEST_RETRY_AFTER, Api

FAILURES_TO_OPEN = 5
FIRST_PROBE_AFTER = 5.0
LONGEST_PROBE_AFTER = 300.0


class Trouble(StrEnum):
    """How a request failed, as far as a circuit cares."""

    OUTAGE = "outage"
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of one API. `successes` counts the requests it ever answered well."""

    api: Api
    open_since: float | None = None
    reason: str | None = None
    remedy: str | None = None
    failures: int = 0
    probes: int = 0
    next_probe_at: float | None = None
    successes: int = 0

    @property
    def is_open(self) -> bool:
        return self.open_since is not None

    def lets_probe(self, now: float) -> bool:
        """Whether it is open and its next probe is due; a time beyond any that is ever set was a clock that jumped."""
        if not self.is_open:
            return False
        at = self.next_probe_at
        return at is None or at <= now or at > now + LONGEST_RETRY_AFTER


def holder_name(api: Api) -> str:
    """What `held_by` says of a submission that waits for `api`."""
    return f"api:{api}"


def held_api(held_by: str | None) -> Api | None:
    """The API that `held_by` names; None if it names something else."""
    return next((api for api in Api if held_by == holder_name(api)), None)


def succeeded(circuit: Circuit) -> Circuit:
    """The API answered a request well: the circuit is closed."""
    return Circuit(circuit.api, successes=circuit.successes + 1)


def failed(
    circuit: Circuit,
    trouble: Trouble,
    reason: str,
    remedy: str | None,
    now: float,
    retry_after: float | None = None,
    *,
    probe: bool = False,
) -> Circuit:
    """A request failed. `probe` says whether it was the one that an open circuit had let out."""
    if circuit.is_open:
        if not probe:
            return circuit
        probes = circuit.probes + 1
        at = now + _wait(probes, retry_after)
        return replace(circuit, reason=reason, remedy=remedy, probes=probes, next_probe_at=at)
    failures = circuit.failures + 1
    if trouble is Trouble.TRANSIENT and failures < FAILURES_TO_OPEN:
        return replace(circuit, failures=failures)
    at = now + _wait(0, retry_after)
    return replace(circuit, open_since=now, reason=reason, remedy=remedy, failures=failures, next_probe_at=at)


def probe_delay(probes: int) -> float:
    """Seconds from the failure of the `probes`-th probe to the next one."""
    return float(min(LONGEST_PROBE_AFTER, FIRST_PROBE_AFTER * 2 ** min(probes, 10)))


def _wait(probes: int, retry_after: float | None) -> float:
    if retry_after is None:
        return probe_delay(probes)
    return min(max(retry_after, FIRST_PROBE_AFTER), LONGEST_RETRY_AFTER)
