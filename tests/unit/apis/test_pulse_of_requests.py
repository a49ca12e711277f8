"""Which requests count as hanging: none that moves, none that waits for its body."""

import socket
import threading
from collections.abc import Iterator

import pytest

from moichord.apis.exchange import Exchange
from moichord.apis.http import Deadlines
from moichord.pulse import GRACE, Pulse
from tests.fakes import FakeClock

LIMITS = Deadlines(connect=10.0, read=300.0, stall=120.0)


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    with here, there:
        yield here


def test_a_request_whose_pieces_go_out_slowly_is_no_hang_and_one_that_overstays_its_own_timeout_is(
    connection: socket.socket,
) -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    exchange = Exchange(LIMITS, clock, pulse)
    with pulse.within(4 * LIMITS.connect + LIMITS.read, "waits for the upload server"):
        exchange.connected(connection)
        for _ in range(1000):
            assert exchange.send_timeout() == 120.0
            clock.advance(119.0)
            assert pulse.hanging() == []
        clock.advance(1.0 + GRACE + 0.1)
        assert [one.thread for one in pulse.hanging()] == [threading.current_thread().name]
