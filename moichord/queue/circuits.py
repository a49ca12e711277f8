"""The circuits of the three APIs, persisted, and who may send while one is open.

Owns the rows of `circuits`, and in memory which submission holds an open circuit's one probe. It must not know what
a request is about. The rule itself is `outage`. Errors: Hold from `admit`.

Methods that take a connection run inside a unit of the writer thread; what they leave in memory is what that unit
writes, and every claim reads the rows again, so that memory cannot drift from a commit that failed.
"""

import threading
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, select, update

from moichord import outage
from moichord.clock import Clock
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, Hold
from moichord.outage import Circuit, Trouble
from moichord.queue.schema import circuits, submissions
from moichord.sample import Api, State

_ALL = select(circuits)
_ONE = select(circuits).where(circuits.c.api == bindparam("of"))
_COUNT_SUCCESS = (
    update(circuits)
    .where(circuits.c.api == bindparam("of"), circuits.c.open_since.is_(None), circuits.c.failures == 0)
    .values(successes=circuits.c.successes + bindparam("more"))
)
_WRITE = (
    update(circuits)
    .where(circuits.c.api == bindparam("of"))
    .values({column.name: bindparam(column.name) for column in circuits.c if column.name != "api"})
)
_WAKE_HELD = (
    update(submissions)
    .where(submissions.c.state == str(State.WAITING), submissions.c.held_by == bindparam("holder"))
    .values(next_try_at=bindparam("now"))
)


def holder_name(api: Api) -> str:
    """What `held_by` says of a submission that waits for `api`."""
    return f"api:{api}"


class Circuits:
    """The three circuits of one state."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Api, Circuit] = {api: Circuit(api) for api in Api}
        self._probe: dict[Api, str] = {}
        self._in_flight: set[Api] = set()

    def load(self, connection: Connection) -> dict[Api, Circuit]:
        """Read all rows; what `admit` goes by from now on."""
        known = {Api(row.api): circuit_of(row) for row in connection.execute(_ALL)}
        with self._lock:
            self._known = known
        return known

    def snapshot(self) -> dict[Api, Circuit]:
        with self._lock:
            return dict(self._known)

    def admit(self, api: Api, submission: str) -> None:
        """Let a request of `submission` go out, or raise Hold while the circuit is open and it is not the probe."""
        with self._lock:
            circuit = self._known[api]
            if not circuit.is_open:
                return
            due = circuit.next_probe_at is None or circuit.next_probe_at <= self._clock.now()
            if due and self._probe.setdefault(api, submission) == submission and api not in self._in_flight:
                self._in_flight.add(api)
                return
            reason = circuit.reason or "it did not answer"
        raise Hold(reason, held_by=holder_name(api))

    def is_open(self, api: Api) -> bool:
        with self._lock:
            return self._known[api].is_open

    def free_to_probe(self, connection: Connection, now: float) -> list[Api]:
        """The open circuits whose probe is due and held by nobody."""
        known = self.load(connection)
        with self._lock:
            return [
                api
                for api, circuit in known.items()
                if circuit.is_open and (circuit.next_probe_at or 0.0) <= now and api not in self._probe
            ]

    def next_probe_at(self) -> float | None:
        """When the next probe may go out that nobody holds yet."""
        with self._lock:
            times = [
                circuit.next_probe_at or 0.0
                for api, circuit in self._known.items()
                if circuit.is_open and api not in self._probe
            ]
        return min(times, default=None)

    def give_probe(self, api: Api, submission: str) -> None:
        with self._lock:
            self._probe[api] = submission

    def release(self, submission: str) -> None:
        """The submission's turn is over: a probe that it holds is free again."""
        with self._lock:
            for api in [api for api, held in self._probe.items() if held == submission]:
                del self._probe[api]
                self._in_flight.discard(api)

    def succeeded(self, connection: Connection, api: Api, count: int = 1) -> bool:
        """`count` requests were answered well; say whether that closed an open circuit."""
        if connection.execute(_COUNT_SUCCESS, {"of": str(api), "more": count}).rowcount == 1:
            return False
        before = self._read(connection, api)
        after = outage.succeeded(before)
        self._write(connection, after)
        if before.is_open:
            connection.execute(_WAKE_HELD, {"holder": holder_name(api), "now": self._clock.now()})
        return before.is_open

    def failed(self, connection: Connection, failure: ApiFailure, submission: str) -> tuple[Circuit, Circuit]:
        """A request failed; the circuit before and after it."""
        before = self._read(connection, failure.api)
        refusal = isinstance(failure, ApiRefusal)
        if refusal and not before.is_open:
            return before, before  # the server answers; that this request is wrong says nothing about it
        trouble = Trouble.OUTAGE if isinstance(failure, ApiOutage) else Trouble.TRANSIENT
        with self._lock:
            probe = self._probe.get(failure.api) == submission
        after = outage.failed(
            before,
            trouble,
            before.reason or "" if refusal else failure.problem,
            before.remedy if refusal else failure.remedy,
            self._clock.now(),
            failure.retry_after,
            probe=probe,
        )
        self._write(connection, after)
        with self._lock:
            if probe:
                del self._probe[failure.api]
                self._in_flight.discard(failure.api)
        return before, after

    def read(self, connection: Connection, api: Api) -> Circuit:
        return self._read(connection, api)

    def _read(self, connection: Connection, api: Api) -> Circuit:
        return circuit_of(connection.execute(_ONE, {"of": str(api)}).one())

    def _write(self, connection: Connection, circuit: Circuit) -> None:
        values = asdict(circuit)
        connection.execute(_WRITE, {"of": str(values.pop("api")), **values})
        with self._lock:
            self._known[circuit.api] = circuit
            if not circuit.is_open:
                self._probe.pop(circuit.api, None)
                self._in_flight.discard(circuit.api)


def circuit_of(row: object) -> Circuit:
    fields = {column.name: getattr(row, column.name) for column in circuits.c}
    return Circuit(Api(fields.pop("api")), **fields)
