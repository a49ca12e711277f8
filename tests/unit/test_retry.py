"""What counts as a try, and what follows: each sentence of the contract's paragraph."""

import pytest

from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient, SampleUnknown
from moichord.outage import Circuit
from moichord.retry import Decision, GiveUp, HoldForApi, Policy, Record, RetryAt, decide, delay, is_suspect, turns
from moichord.sample import Api

NOW = 1_000_000.0
DAY = 24 * 3600.0
POLICY = Policy(first_delay=2.0, max_delay=900.0, max_tries=20, give_up_after=3 * DAY)
OPEN = Circuit(Api.UPLOAD, open_since=NOW - 1, reason="down", successes=10)
CLOSED = Circuit(Api.UPLOAD, successes=10)


def transient(retry_after: float | None = None) -> ApiTransient:
    return ApiTransient("it failed", api=Api.UPLOAD, retry_after=retry_after)


OUTAGE = ApiOutage("access denied", api=Api.UPLOAD, status=403)


def decided(failure: ApiFailure, record: Record, circuit: Circuit = CLOSED, policy: Policy = POLICY) -> Decision:
    """The decision when chance always gives the longest delay."""
    return decide(failure, record, circuit, policy, NOW, jitter=lambda longest: longest)


@pytest.mark.parametrize(
    ("seen", "counted"),
    [(9, True), (10, False)],
    ids=["another request was answered well since", "nothing was answered well since"],
)
def test_a_transient_failure_counts_only_if_the_api_answered_well_since_the_last_that_counted(
    seen: int, counted: bool
) -> None:
    assert decided(transient(), Record(successes_seen=seen)) == RetryAt(NOW + 2, counted)


@pytest.mark.parametrize("failure", [transient(), OUTAGE], ids=["transient", "outage"])
@pytest.mark.parametrize("tries", [0, 19, 500])
def test_while_the_circuit_is_open_nothing_counts(failure: ApiFailure, tries: int) -> None:
    record = Record(tries=tries, outage_turns=5, elapsed=30 * DAY)
    assert decided(failure, record, OPEN) == HoldForApi()


def test_an_outage_answer_holds_even_if_the_circuit_was_closed_meanwhile() -> None:
    assert decided(OUTAGE, Record()) == HoldForApi()


def test_the_twentieth_try_is_the_last() -> None:
    assert decided(transient(), Record(tries=18)) == RetryAt(NOW + 2, counted=True)
    assert decided(transient(), Record(tries=19)) == GiveUp("given up after 20 tries", counted=True)


def test_a_failure_that_does_not_count_never_ends_the_tries() -> None:
    assert decided(transient(), Record(tries=19, successes_seen=10)) == RetryAt(NOW + 2, counted=False)


def test_one_try_means_one() -> None:
    policy = Policy(2.0, 900.0, 1, 3 * DAY)
    assert decided(transient(), Record(), policy=policy) == GiveUp("given up after 1 try", counted=True)


def test_it_is_given_up_after_a_time() -> None:
    late = Record(tries=1, successes_seen=10, elapsed=3 * DAY)
    assert decided(transient(), late) == GiveUp("given up after 72.0 h")
    assert isinstance(decided(transient(), Record(tries=1, successes_seen=10, elapsed=3 * DAY - 1)), RetryAt)


def test_it_is_not_given_up_after_a_time_without_a_try_that_counted() -> None:
    untried = Record(successes_seen=10, elapsed=30 * DAY)
    assert decided(transient(), untried) == RetryAt(NOW + 2, counted=False)
    first = Record(successes_seen=9, elapsed=30 * DAY)
    assert decided(transient(), first) == GiveUp("given up after 720.0 h", counted=True)


@pytest.mark.parametrize("failure", [ApiRefusal("no", api=Api.UPLOAD), SampleUnknown("who?", api=Api.METADATA)])
def test_a_refusal_fails_the_sample_whatever_the_circuit(failure: ApiFailure) -> None:
    assert decided(failure, Record()) == GiveUp("")
    assert decided(failure, Record(), OPEN) == GiveUp("")


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(0.0, 0.0), (10.0, 10.0), (3600.0, 3600.0), (DAY, DAY), (2 * DAY, DAY)],
)
def test_retry_after_is_kept_exactly_up_to_a_day(asked: float, waits: float) -> None:
    record = Record(failures=3)
    policy = Policy(2.0, 5.0, 20, 3 * DAY)
    for _ in range(20):  # without chance: real jitter
        assert decide(transient(asked), record, CLOSED, policy, NOW) == RetryAt(NOW + waits, counted=True)


def test_delays_double_up_to_the_longest() -> None:
    assert [delay(failures, POLICY) for failures in range(11)] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert delay(1_000_000, POLICY) == 900
    assert delay(50, Policy(2.0, 30 * DAY, 20, 60 * DAY)) == DAY


def test_chance_only_shortens_a_delay() -> None:
    for _ in range(100):
        decision = decide(transient(), Record(failures=5), CLOSED, POLICY, NOW)
        assert isinstance(decision, RetryAt)
        assert NOW <= decision.at <= NOW + 64


def test_nothing_waits_longer_than_a_day() -> None:
    patient = Policy(first_delay=5 * DAY, max_delay=30 * DAY, max_tries=20, give_up_after=60 * DAY)
    assert decided(transient(), Record(), policy=patient) == RetryAt(NOW + DAY, counted=True)


@pytest.mark.parametrize(
    ("before", "last_at", "now_on"),
    [(0, 0, 1), (1, 9, 2), (1, 10, 1), (2, 10, 2), (2, 9, 3), (3, 10, 3)],
    ids=["first", "others succeeded", "nobody did", "nobody did again", "third", "no more than before"],
)
def test_a_turn_is_one_with_successes_since_the_one_before(before: int, last_at: int, now_on: int) -> None:
    record = Record(outage_turns=before, outage_successes=last_at)
    assert turns(record, CLOSED) == now_on
    assert is_suspect(record, CLOSED) is (now_on >= 3)


def test_a_submission_that_draws_outage_answers_on_three_turns_while_others_succeed_is_charged_alone() -> None:
    assert decided(OUTAGE, Record(outage_turns=1, outage_successes=9)) == HoldForApi()
    assert decided(OUTAGE, Record(outage_turns=2, outage_successes=9)) == RetryAt(NOW + 2, counted=True)
    spent = Record(tries=19, outage_turns=3, outage_successes=9)
    assert decided(OUTAGE, spent) == GiveUp("given up after 20 tries", counted=True)


def test_a_suspect_is_not_charged_while_nobody_succeeds() -> None:
    suspect = Record(tries=19, failures=1, outage_turns=3, outage_successes=10, elapsed=30 * DAY)
    assert decided(OUTAGE, suspect) == HoldForApi(until=NOW + 4)
