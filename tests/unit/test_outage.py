"""The circuit of one API, as the contract's paragraph says it."""

import pytest

from moichord.outage import Circuit, Trouble, failed, probe_delay, succeeded
from moichord.sample import Api

NOW = 1_000_000.0
CLOSED = Circuit(Api.UPLOAD, successes=7)
DAY = 24 * 3600.0


def after(circuit: Circuit, trouble: Trouble, *, times: int = 1, now: float = NOW, probe: bool = False) -> Circuit:
    for _ in range(times):
        circuit = failed(circuit, trouble, "why", "mend", now, probe=probe)
    return circuit


OPEN = after(CLOSED, Trouble.OUTAGE)


def test_an_outage_answer_opens_it_at_once() -> None:
    assert OPEN.is_open
    assert (OPEN.open_since, OPEN.reason, OPEN.remedy) == (NOW, "why", "mend")


@pytest.mark.parametrize(("failures", "is_open"), [(1, False), (4, False), (5, True)])
def test_transient_failures_open_it_only_when_five_come_in_a_row(failures: int, is_open: bool) -> None:
    assert after(CLOSED, Trouble.TRANSIENT, times=failures).is_open is is_open


def test_a_success_begins_the_row_anew() -> None:
    circuit = succeeded(after(CLOSED, Trouble.TRANSIENT, times=4))
    assert not after(circuit, Trouble.TRANSIENT, times=4).is_open


def test_transient_failures_then_an_outage_answer_open_it_before_the_fifth() -> None:
    assert after(after(CLOSED, Trouble.TRANSIENT, times=2), Trouble.OUTAGE).is_open


def test_the_first_probe_is_due_five_seconds_after_it_opened() -> None:
    assert [OPEN.lets_probe(NOW + passed) for passed in (0.0, 4.9, 5.0, 60.0)] == [False, False, True, True]


def test_a_closed_circuit_needs_no_probe() -> None:
    assert not CLOSED.lets_probe(NOW)


def test_probes_grow_apart_from_five_seconds_to_five_minutes() -> None:
    circuit, now, waits = OPEN, NOW, []
    for _ in range(9):
        assert circuit.next_probe_at is not None
        waits.append(circuit.next_probe_at - now)
        now = circuit.next_probe_at
        circuit = after(circuit, Trouble.TRANSIENT, now=now, probe=True)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert probe_delay(100_000) == 300


def test_what_was_in_flight_when_it_opened_does_not_put_off_the_probe() -> None:
    assert after(OPEN, Trouble.OUTAGE, times=3, now=NOW + 1) == OPEN


def test_a_failed_probe_tells_the_newest_reason_and_keeps_since_when() -> None:
    circuit = failed(OPEN, Trouble.TRANSIENT, "now it fails (500)", None, NOW + 5, probe=True)
    assert (circuit.reason, circuit.open_since) == ("now it fails (500)", NOW)


def test_one_success_closes_it() -> None:
    circuit = succeeded(after(OPEN, Trouble.OUTAGE, probe=True))
    assert circuit == Circuit(Api.UPLOAD, successes=8)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(30.0, 30.0), (7200.0, 7200.0), (0.0, 5.0), (2 * DAY, DAY)],
    ids=["exactly as asked", "hours too", "never a storm of probes", "a day at most"],
)
@pytest.mark.parametrize("probe", [False, True], ids=["at its opening", "after a probe"])
def test_a_server_that_says_when_to_come_again_is_believed(asked: float, waits: float, probe: bool) -> None:
    before = OPEN if probe else after(CLOSED, Trouble.TRANSIENT, times=4)
    circuit = failed(before, Trouble.TRANSIENT, "why", None, NOW, asked, probe=probe)
    assert circuit.next_probe_at == NOW + waits


def test_a_clock_that_jumped_back_does_not_put_off_the_probe_for_years() -> None:
    assert OPEN.lets_probe(NOW - 10 * 365 * DAY)
    assert not OPEN.lets_probe(NOW - 3600)
