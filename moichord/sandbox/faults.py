"""What goes wrong at the stand-in APIs, when asked to: scripted, by rule, by chance, or held at a gate.

Owns the decision which request is spoilt, and how. It must not know sockets: who asks carries the fault out.
`UsageRefused` leaves it, for a rejection that cannot be read.
"""

import random
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from moichord.errors import UsageRefused
from moichord.sample import Api
from moichord.sandbox.received import Received


class Moment(StrEnum):
    """When a fault strikes."""

    INSTEAD = "instead"
    """The body is read, nothing is carried out, and the fault is the answer."""
    EARLY = "early"
    """The answer goes out before the body is read, then the connection closes."""
    CUT = "cut"
    """The connection is cut in the middle of the body, or instead of the answer if there is none."""
    LOST = "lost"
    """The request is carried out, and the connection is cut instead of the answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to spoil a request. `body` None is a short JSON explanation."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    moment: Moment = Moment.INSTEAD


@dataclass(frozen=True, slots=True)
class Rejection:
    """Answer `status` to everything about one sample, everything at one API, or everything."""

    status: int
    sample_id: str | None = None
    api: Api | None = None

    def concerns(self, received: Received) -> bool:
        if self.api is not None and received.api is not self.api:
            return False
        return self.sample_id is None or received.is_about(self.sample_id)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Failures for a whole session: `fail_rate` 0 to 1, `latency` in seconds, `seed` repeats the same chances."""

    fail_rate: float = 0.0
    latency: float = 0.0
    reject: tuple[Rejection, ...] = ()
    seed: int | None = None


def parse_rejection(text: str) -> Rejection:
    """`SAMPLE`, `SAMPLE:STATUS`, `API:STATUS` or `STATUS`; a sample alone is answered 400.

    Raises:
        UsageRefused: the status is no HTTP status that tells of a failure.
    """
    what, colon, number = text.rpartition(":")
    if not colon:
        what, number = ("", text) if re.fullmatch("[0-9]{3}", text) else (text, "400")
    understood = re.fullmatch("[345][0-9]{2}", number) and (what or not colon) and text
    if not understood:
        raise UsageRefused(
            f"cannot reject {text!r}: that is neither a sample ID nor the HTTP status of a failure",
            remedy="Write SAMPLE, SAMPLE:STATUS, metadata:STATUS, upload:STATUS, analytics:STATUS or STATUS.",
        )
    status = int(number)
    if what in set(Api):
        return Rejection(status, api=Api(what))
    return Rejection(status, sample_id=what or None)


class FaultPlan:
    """Everything that is to go wrong, asked by all connections at once. OPTIONS probes use up no script."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        # Chances must be repeatable; nothing here guards a secret.
        self._chance = random.Random(rehearsal.seed)  # noqa: S311
        self._lock = threading.Lock()
        self._scripts: defaultdict[Api, deque[Fault]] = defaultdict(deque)
        self._rules: list[tuple[Callable[[Received], bool], Fault]] = []
        self._gates: dict[Api, threading.Event] = {}

    def script(self, api: Api, fault: Fault, times: int) -> None:
        """Spoil the next `times` requests that arrive at `api`."""
        with self._lock:
            self._scripts[api].extend([fault] * times)

    def rule(self, predicate: Callable[[Received], bool], fault: Fault) -> None:
        """Spoil every complete request of which `predicate` is true."""
        with self._lock:
            self._rules.append((predicate, fault))

    def gate(self, api: Api) -> threading.Event:
        """Hold every request to `api`, its body read, until the returned event is set."""
        with self._lock:
            event = self._gates[api] = threading.Event()
            return event

    def gate_of(self, api: Api) -> threading.Event | None:
        """The gate at which a request to `api` waits now."""
        with self._lock:
            return self._gates.get(api)

    def clear(self) -> None:
        """Nothing goes wrong any more, but for the rehearsal's own failures; gates open."""
        with self._lock:
            self._scripts.clear()
            self._rules.clear()
            self._open_gates()

    def open_gates(self) -> None:
        with self._lock:
            self._open_gates()

    def _open_gates(self) -> None:
        for gate in self._gates.values():
            gate.set()
        self._gates.clear()

    def on_arrival(self, api: Api, method: str) -> Fault | None:
        """The scripted fault for a request of which only the headers are known."""
        with self._lock:
            script = self._scripts[api]
            return script.popleft() if script and method != "OPTIONS" else None

    def on_request(self, received: Received) -> Fault | None:
        """The fault for a request that is known whole: by rule, by rejection, or by chance."""
        with self._lock:
            rules = tuple(self._rules)
        for predicate, fault in rules:
            if predicate(received):
                return fault
        for rejection in self.rehearsal.reject:
            if rejection.concerns(received):
                return Fault(rejection.status)
        return self._by_chance()

    def _by_chance(self) -> Fault | None:
        with self._lock:
            if self._chance.random() >= self.rehearsal.fail_rate:
                return None
            return self._chance.choice([Fault(500), Fault(503, {"Retry-After": "1"})])
