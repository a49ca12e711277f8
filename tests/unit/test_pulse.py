"""Who hangs, who waits for a share, and who is only slow."""

import threading

import pytest

from moichord.pulse import GRACE, Pulse
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pulse(clock: FakeClock) -> Pulse:
    return Pulse(clock)


def test_a_thread_that_comes_back_neither_in_its_time_nor_in_the_grace_hangs(pulse: Pulse, clock: FakeClock) -> None:
    began = clock.now()
    with pulse.within(60.0, "writes the state"):
        clock.advance(60.0 + GRACE)
        assert pulse.hanging() == []
        clock.advance(0.1)
        (one,) = pulse.hanging()
        assert (one.thread, one.what, one.since) == (threading.current_thread().name, "writes the state", began)
        assert one.ident == threading.get_ident()
    assert pulse.hanging() == []


def test_who_moves_does_not_hang_however_slow_it_is(pulse: Pulse, clock: FakeClock) -> None:
    with pulse.within(60.0, "sends"):
        for _ in range(100):
            clock.advance(59.0)
            pulse.beat()
            assert pulse.hanging() == []
        pulse.beat(300.0)
        clock.advance(300.0 + GRACE)
        assert pulse.hanging() == []
        clock.advance(1.0)
        assert len(pulse.hanging()) == 1


def test_who_waits_for_a_share_never_hangs_but_is_told_of(pulse: Pulse, clock: FakeClock) -> None:
    with pulse.share("the inbox", 60.0):
        clock.advance(59.0)
        assert pulse.waiting() == []
        clock.advance(1_000_000.0)
        assert [one.what for one in pulse.waiting()] == ["the inbox"]
        assert pulse.hanging() == []
    assert pulse.waiting() == []


@pytest.mark.parametrize("inner", ["share", "untimed"])
def test_what_a_thread_waits_for_within_something_is_not_charged_to_that(
    pulse: Pulse, clock: FakeClock, inner: str
) -> None:
    with pulse.within(10.0, "attends"):
        clock.advance(9.0)
        with pulse.share("a folder") if inner == "share" else pulse.untimed():
            clock.advance(10_000.0)
            assert (pulse.hanging(), pulse.waiting()) == ([], [])
        clock.advance(10.0 + GRACE)
        assert pulse.hanging() == []
        clock.advance(1.0)
        assert [one.what for one in pulse.hanging()] == ["attends"]


def test_a_thread_that_broke_off_rests(pulse: Pulse, clock: FakeClock) -> None:
    with pytest.raises(OSError, match="gone"), pulse.within(1.0, "reads"):
        raise OSError("gone")
    pulse.beat()
    clock.advance(10_000.0)
    assert pulse.hanging() == []


def test_every_thread_has_a_deadline_of_its_own(pulse: Pulse, clock: FakeClock) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with pulse.within(5.0, "hangs"):
            inside.set()
            go_on.wait(30.0)

    thread = threading.Thread(target=other, name="worker-3")
    thread.start()
    assert inside.wait(30.0)
    with pulse.within(1000.0, "goes well"):
        clock.advance(5.1 + GRACE)
        assert [one.thread for one in pulse.hanging()] == ["worker-3"]
    go_on.set()
    thread.join()
    assert pulse.hanging() == []
