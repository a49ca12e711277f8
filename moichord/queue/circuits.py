"""The circuits of the three APIs, persisted, and who may send while one is open.

Owns the rows of `circuits`, and which submission is an open circuit's one probe (`submissions.probing`). It must not
know what a request is about. The rule itself is `outage`. Errors: Hold from `admit`.

The rows are the truth; units of the writer thread decide by them. Memory, which lets requests go out without a query,
follows each commit and never runs ahead of it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, or_, select, update

from moichord import outage
from moichord.clock import Clock
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, Hold
from moichord.outage import Circuit, Trouble, holder_name
from moichord.queue.database import after_commit
from moichord.queue.occasions import note
from moichord.queue.schema import circuits, submissions
from moichord.sample import Api, State

log = logging.getLogger(__name__)

s = submissions.c
_PROCESSING = s.state == str(State.PROCESSING)

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
    .where(s.state == str(State.WAITING), s.held_by == bindparam("holder"))
    .values(next_try_at=bindparam("now"))
)
_ASK_SOON = (
    update(circuits)
    .where(circuits.c.open_since.is_not(None))
    .where(or_(circuits.c.next_probe_at <= bindparam("soon"), circuits.c.api.in_(bindparam("mended", expanding=True))))
    .values(next_probe_at=bindparam("now"), probes=0)
)
_PROBED = select(s.probing).where(_PROCESSING, s.probing.is_not(None))
_IS_PROBE = select(s.uuid).where(_PROCESSING, s.uuid == bindparam("of"), s.probing == bindparam("at_api"))
_END_PROBE = update(submissions).where(_PROCESSING, s.probing == bindparam("at_api")).values(probing=None)


def ask_soon(connection: Connection, now: float, mended: Collection[Api] = ()) -> None:
    """Let the open circuits' next probes be due now, and begin their waits anew: somebody may have mended the cause.

    What a server itself has asked to wait (longer than we ever do) stands, unless its settings are `mended`. Memory
    follows with the next claim.
    """
    limits = {"now": now, "soon": now + outage.LONGEST_PROBE_AFTER}
    connection.execute(_ASK_SOON, {**limits, "mended": [str(api) for api in mended]})


class Circuits:
    """The three circuits of one state."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Api, Circuit] = {api: Circuit(api) for api in Api}
        self._probe: dict[Api, str] = {}
        self._in_flight: set[Api] = set()

    def snapshot(self) -> dict[Api, Circuit]:
        """The circuits as last committed; `successes` may lag behind."""
        with self._lock:
            return dict(self._known)

    def is_open(self, api: Api) -> bool:
        with self._lock:
            return self._known[api].is_open

    def is_steady(self, api: Api) -> bool:
        """Whether nothing is amiss with `api`: another good answer changes nothing but a count."""
        with self._lock:
            return not self._known[api].is_open and not self._known[api].failures

    def admit(self, api: Api, submission: str) -> None:
        """Let a request of `submission` go out, or raise Hold while the circuit is open and it is not the probe."""
        with self._lock:
            circuit = self._known[api]
            if not circuit.is_open:
                return
            probe = self._probe.get(api) == submission and api not in self._in_flight
            if probe and circuit.lets_probe(self._clock.now()):
                self._in_flight.add(api)
                return
        raise Hold(circuit.reason or "it did not answer", held_by=holder_name(api))

    def free_to_probe(self, connection: Connection, now: float) -> list[Api]:
        """The open circuits whose probe is due and is nobody yet."""
        rows = {Api(row.api): circuit_of(row) for row in connection.execute(_ALL)}
        after_commit(connection, lambda: self._learn(rows))
        due = [api for api, circuit in rows.items() if circuit.lets_probe(now)]
        if not due:
            return []
        probed = set(connection.execute(_PROBED).scalars())
        return [api for api in due if str(api) not in probed]

    def next_probe_at(self, api: Api) -> float | None:
        """When the next probe of an open circuit may go out; None while it is closed, or somebody is its probe."""
        with self._lock:
            circuit = self._known[api]
            return (circuit.next_probe_at or 0.0) if circuit.is_open and api not in self._probe else None

    def probe_given(self, connection: Connection, api: Api, submission: str) -> None:
        """A claim has made `submission` the probe of `api`."""
        after_commit(connection, lambda: self._give(api, submission))

    def turn_ended(self, connection: Connection, submission: str) -> None:
        """A submission left processing: if it was a probe, another may be."""
        after_commit(connection, lambda: self._take_back(submission))

    def read(self, connection: Connection, api: Api) -> Circuit:
        return circuit_of(connection.execute(_ONE, {"of": str(api)}).one())

    def succeeded(self, connection: Connection, api: Api) -> bool:
        """A request was answered well; say whether that closed an open circuit."""
        if self._counted(connection, api, 1):
            return False
        before = self.read(connection, api)
        self._write(connection, outage.succeeded(before))
        if not before.is_open:
            return False
        note(connection, self._clock.now(), f"the {api} API answers again", "outage_ended", api)
        connection.execute(_WAKE_HELD, {"holder": holder_name(api), "now": self._clock.now()})
        connection.execute(_END_PROBE, {"at_api": str(api)})
        after_commit(connection, lambda: log.warning("the %s API answers again", api))
        return True

    def succeeded_often(self, connection: Connection, apis: list[Api]) -> None:
        """Each of these answered a request well, once for each time it is named."""
        for api, times in Counter(apis).items():
            if not self._counted(connection, api, times):
                self.succeeded(connection, api)

    def _counted(self, connection: Connection, api: Api, times: int) -> bool:
        """Count good answers of an API with which nothing is amiss; False if something is."""
        return connection.execute(_COUNT_SUCCESS, {"of": str(api), "more": times}).rowcount == 1

    def failed(self, connection: Connection, failure: ApiFailure, submission: str) -> tuple[Circuit, Circuit]:
        """A request failed; the circuit before and after it."""
        before = self.read(connection, failure.api)
        refusal = isinstance(failure, ApiRefusal)
        if refusal and not before.is_open:
            return before, before  # the server answers; that this request is wrong says nothing about it
        asked = {"of": submission, "at_api": str(failure.api)}
        probe = before.is_open and connection.execute(_IS_PROBE, asked).first() is not None
        after = outage.failed(
            before,
            Trouble.OUTAGE if isinstance(failure, ApiOutage) else Trouble.TRANSIENT,
            before.reason or "" if refusal else failure.problem,
            before.remedy if refusal else failure.remedy,
            self._clock.now(),
            failure.retry_after,
            probe=probe,
        )
        if after != before:
            self._write(connection, after)
        if probe:
            connection.execute(_END_PROBE, {"at_api": str(failure.api)})
            self.turn_ended(connection, submission)
        if after.is_open and not before.is_open:
            problem = failure.problem
            note(
                connection, self._clock.now(), f"the {failure.api} API is held: {problem}", "outage_began", failure.api
            )
            after_commit(connection, lambda: log.error("the %s API is held: %s", failure.api, problem))
        return before, after

    def _write(self, connection: Connection, circuit: Circuit) -> None:
        values = asdict(circuit)
        connection.execute(_WRITE, {"of": str(values.pop("api")), **values})
        after_commit(connection, lambda: self._learn({circuit.api: circuit}))

    def _learn(self, news: dict[Api, Circuit]) -> None:
        with self._lock:
            self._known |= news
            for api, circuit in news.items():
                if not circuit.is_open:
                    self._probe.pop(api, None)
                    self._in_flight.discard(api)

    def _give(self, api: Api, submission: str) -> None:
        with self._lock:
            self._probe[api] = submission
            self._in_flight.discard(api)

    def _take_back(self, submission: str) -> None:
        with self._lock:
            for api in [api for api, held in self._probe.items() if held == submission]:
                del self._probe[api]
                self._in_flight.discard(api)


def circuit_of(row: object) -> Circuit:
    fields = {column.name: getattr(row, column.name) for column in circuits.c}
    return Circuit(Api(fields.pop("api")), **fields)
