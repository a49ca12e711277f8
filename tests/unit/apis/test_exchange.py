"""How long the parts of a request may take, by a clock that the test moves."""

import socket

import pytest

from moichord.apis.exchange import Exchange
from moichord.apis.faults import Phase
from moichord.apis.http import Deadlines
from moichord.clock import SystemClock
from moichord.errors import Stopped


class Hand(SystemClock):
    """A clock whose hand the test moves."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def test_without_a_total_time_sending_may_take_as_long_as_it_moves() -> None:
    clock = Hand()
    exchange = Exchange(Deadlines(connect=10, read=300, stall=120), clock)
    clock.at += 1_000_000
    assert exchange.send_timeout() == 120
    assert not exchange.overdue


def test_connecting_takes_no_longer_in_several_parts() -> None:
    clock = Hand()
    exchange = Exchange(Deadlines(connect=10, read=300), clock)
    clock.at += 10
    with pytest.raises(TimeoutError):
        exchange.receive_timeout()
    assert not exchange.overdue


def test_without_a_total_time_the_whole_answer_is_due_within_read() -> None:
    clock = Hand()
    exchange = Exchange(Deadlines(connect=10, read=300, stall=120), clock)
    exchange.phase = Phase.SENDING
    exchange.sent()
    clock.at += 200
    assert exchange.receive_timeout() == 100
    clock.at += 100
    with pytest.raises(TimeoutError):
        exchange.receive_timeout()
    assert not exchange.overdue


def test_a_total_time_bounds_every_part() -> None:
    clock = Hand()
    exchange = Exchange(Deadlines(connect=10, read=30, total=35), clock)
    assert exchange.connect_timeout() == 10
    clock.at += 8
    assert exchange.connect_timeout() == 2
    assert exchange.receive_timeout() == 2, "while connecting, of a proxy"
    exchange.phase = Phase.SENDING
    assert exchange.send_timeout() == 27
    exchange.sent()
    clock.at += 20
    assert exchange.receive_timeout() == 7
    assert not exchange.overdue
    clock.at += 7
    assert exchange.overdue
    with pytest.raises(TimeoutError):
        exchange.receive_timeout()


def test_without_a_stall_time_sending_is_bounded_by_read() -> None:
    assert Exchange(Deadlines(connect=10, read=30), Hand()).send_timeout() == 30


def test_a_server_that_stopped_reading_gets_a_moment_for_its_last_word() -> None:
    exchange = Exchange(Deadlines(connect=10, read=300, stall=120), Hand())
    exchange.phase = Phase.SENDING
    exchange.stalled()
    exchange.sent()
    assert exchange.receive_timeout() == 5
    assert exchange.phase is Phase.SENDING


def test_what_is_stopped_before_it_is_connected_never_begins() -> None:
    exchange = Exchange(Deadlines(connect=10, read=30), Hand())
    exchange.stop()
    one, other = socket.socketpair()
    with one, other, pytest.raises(Stopped):
        exchange.connected(one)


def test_stopping_twice_or_after_the_end_does_no_harm() -> None:
    exchange = Exchange(Deadlines(connect=10, read=30), Hand())
    one, other = socket.socketpair()
    with one, other:
        exchange.connected(one)
    exchange.stop()
    exchange.stop()
    assert exchange.stopped
