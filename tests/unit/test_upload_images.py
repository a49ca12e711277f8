"""The upload step: what several failures mean together, and files that come too late."""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from moichord.errors import ApiFailure, ApiOutage, ApiTransient, SampleFailure, Stopped
from moichord.pipeline.upload_images import _raise_gravest
from moichord.queue.circuits import Circuits
from moichord.queue.journal import QueueJournal
from moichord.queue.requests import Requests, reopening
from moichord.queue.timekeeping import Timekeeper
from moichord.sample import Api, State, Step
from tests.house import Called, House, Says, house

DAY = 86400.0


def transient(retry_after: float | None) -> ApiTransient:
    return ApiTransient(f"later ({retry_after})", api=Api.UPLOAD, retry_after=retry_after)


def test_of_several_transient_failures_the_longest_wait_that_was_asked_for_is_honoured() -> None:
    with pytest.raises(ApiTransient) as raised:
        _raise_gravest([transient(None), transient(3600.0), transient(2.0)])
    assert raised.value.retry_after == 3600.0


@pytest.mark.parametrize("first", [0, 1])
def test_a_fault_of_the_sample_outweighs_those_of_the_server(first: int) -> None:
    failures = [SampleFailure("broken"), ApiOutage("down", api=Api.UPLOAD)]
    with pytest.raises(SampleFailure):
        _raise_gravest([failures[first], failures[1 - first], transient(5.0)])


# Already stored, where that is to fail

IN_DOUBT = {
    "answer 500": Says(500),
    "answer 503": Says(503),
    "lost on the way": ApiTransient("the connection was lost", api=Api.UPLOAD, maybe_done=True),
    "stopped on the way": Stopped("stopping", maybe_done=True),
}
NOTHING_DONE = {
    "refused connection": ApiOutage("nothing listens there", api=Api.UPLOAD, maybe_done=False),
    "no connection in time": ApiTransient("it did not take the connection", api=Api.UPLOAD, maybe_done=False),
    "answer 401": Says(401),
    "answer 429": Says(429),
    "stopped before": Stopped("stopping", maybe_done=False),
}


@pytest.fixture
def strict() -> Iterator[House]:
    with house({"upload": {"already_stored": "fail", "concurrency": 1}}) as made:
        yield made


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def answers(lab: House, *said: Says | ApiFailure | Stopped) -> None:
    """What the image server does with one request after another; it holds the image already."""
    left = deque(said)

    def script(called: Called) -> Says | ApiFailure | None:
        if called.api is not Api.UPLOAD:
            return None
        answer = left.popleft() if left else Says(409)
        if isinstance(answer, Stopped):
            raise answer
        return answer

    lab.script = script


def outcome(lab: House, name: str = "S1") -> State:
    lab.run(DAY)
    return lab.state(name)


@pytest.mark.parametrize("first", NOTHING_DONE)
def test_after_a_request_that_stored_nothing_an_image_that_is_there_is_not_ours(strict: House, first: str) -> None:
    answers(strict, NOTHING_DONE[first])
    strict.drop("S1")
    assert outcome(strict) is State.FAILED
    assert "already holds this image" in (strict.newest("S1").reason or "")


@pytest.mark.parametrize("first", IN_DOUBT)
def test_after_a_request_that_may_have_stored_it_an_image_that_is_there_is_ours(strict: House, first: str) -> None:
    answers(strict, IN_DOUBT[first])
    strict.drop("S1")
    assert outcome(strict) is State.DONE


@pytest.mark.parametrize("seed", range(12))
def test_one_doubt_among_any_failures_makes_it_ours(strict: House, seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    names = [chosen.choice([*NOTHING_DONE, *IN_DOUBT]) for _ in range(4)]
    answers(strict, *((NOTHING_DONE | IN_DOUBT)[name] for name in names))
    strict.drop("S1")
    ours = any(name in IN_DOUBT for name in names)
    assert outcome(strict) is (State.DONE if ours else State.FAILED), names


@pytest.mark.parametrize("then", NOTHING_DONE)
def test_a_request_whose_end_nobody_saw_stays_a_doubt(strict: House, then: str) -> None:
    """The process was killed after the intent was committed."""
    answers(strict, ApiOutage("down", api=Api.UPLOAD, maybe_done=False))
    strict.drop("S1")
    strict.run(1)
    (image,) = strict.views.detail(strict.newest("S1").uuid).images
    assert not image.upload_began
    journal = QueueJournal(
        strict.database, Timekeeper(strict.clock), Circuits(strict.clock), strict.newest("S1"), lambda: None
    )
    journal.sending(image)
    strict.close()
    strict.start()
    answers(strict, NOTHING_DONE[then])
    assert outcome(strict) is State.DONE


def test_an_image_that_came_too_late_to_be_sent_is_not_thought_to_be_stored(strict: House) -> None:
    """Its intent is committed while another of its sample is on its way, which then ends the turn."""

    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        wait_until(lambda: sum(requests_of(strict)) >= 2)
        return Says(401)

    strict.script = script
    strict.drop("S1", images=3)
    strict.run(1)
    assert requests_of(strict) == [0, 0, 0]
    answers(strict)
    assert outcome(strict) is State.FAILED


def test_what_waits_for_its_slot_when_the_daemon_is_stopped_is_not_sent(strict: House) -> None:
    sent = []

    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        sent.append(called)
        wait_until(lambda: sum(requests_of(strict)) >= 2)
        strict.signals.stopping.set()
        return Says(200)

    strict.script = script
    strict.drop("S1", images=3)
    strict.turn()
    assert len(sent) == 1
    assert sorted(requests_of(strict)) == [0, 0, 1]


def test_what_waits_for_its_slot_when_the_disk_gets_full_is_not_thought_to_be_stored(strict: House) -> None:
    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        wait_until(lambda: sum(requests_of(strict)) >= 2)
        strict.free = lambda _: 0
        strict.rooms.storage.look()
        return Says(200)

    strict.script = script
    strict.drop("S1", images=2)
    strict.turn()
    assert (strict.newest("S1").held_by or "").startswith("disk")
    assert sorted(requests_of(strict)) == [0, 1]
    strict.free = lambda _: 1 << 40
    strict.rooms.housekeeping.look()
    answers(strict)
    assert outcome(strict) is State.FAILED, "the server has the other one from elsewhere"


def test_a_retry_does_not_take_for_ours_what_was_refused_as_anothers(strict: House) -> None:
    answers(strict)
    strict.drop("S1")
    assert outcome(strict) is State.FAILED
    known = strict.views.detail(strict.newest("S1").uuid)
    assert reopening(known.submission, known.steps, known.images, None).from_step is Step.UPLOAD, "it has begun"
    Requests(strict.database, strict.clock).ask_retry(known.submission, None)
    strict.rooms.attendant.look()
    assert strict.state("S1") is State.READY
    assert outcome(strict) is State.FAILED


def test_a_sample_of_which_nothing_left_this_machine_begins_anew_at_metadata(strict: House) -> None:
    answers(strict, *[ApiOutage("nothing listens there", api=Api.UPLOAD, maybe_done=False)] * 99)
    (one,) = strict.drop("S1")
    strict.run(60)
    Requests(strict.database, strict.clock).ask_cancel(one)
    strict.rooms.attendant.look()
    assert strict.state("S1") is State.CANCELLED
    known = strict.views.detail(one.uuid)
    assert reopening(known.submission, known.steps, known.images, None).from_step is Step.METADATA


def test_a_reply_that_is_nested_however_deeply_is_written_down(lab: House) -> None:
    """Which depth can be read and not be written again depends on where each of both is done."""
    depths = {f"S{levels}": levels for levels in range(900, 1000, 2)}

    def script(called: Called) -> Says | None:
        levels = depths[called.sample_id]
        return Says(200, reply=b"[" * levels + b"]" * levels) if called.api is Api.UPLOAD else None

    lab.script = script
    lab.drop(*depths)
    lab.run(60)
    assert {lab.state(sample_id) for sample_id in depths} == {State.DONE}
    assert len([called for called in lab.calls_to(Api.UPLOAD) if called.key]) == len(depths), "each of them once"


def requests_of(lab: House) -> list[int]:
    return [image.requests for image in lab.views.detail(lab.newest("S1").uuid).images]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    pause, left = threading.Event(), 2000
    while not true():
        assert left, "it never came"
        left -= 1
        pause.wait(0.01)
