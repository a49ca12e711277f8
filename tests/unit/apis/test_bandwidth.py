"""All uploads together keep to the limit: exactly by a clock that the test moves, and once over real connections."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from moichord.apis.bandwidth import BLOCKS_PER_SECOND, CREDIT_SECONDS, Bandwidth, Line
from moichord.apis.bodies import BytesBody, Outgoing
from moichord.apis.exchange import Exchange
from moichord.apis.http import Client, Deadlines, Endpoint
from moichord.clock import SystemClock
from moichord.errors import Stopped
from moichord.sample import Api
from tests.fakes import FakeClock
from tests.fault_server import FaultServer, answering

MIB = 1024 * 1024
PATIENT = Deadlines(connect=10, read=60, stall=60)


class UnderWay(Exchange):
    """A request whose server has not answered yet."""

    def refused_early(self) -> bool:
        return False


def sent(clock: FakeClock, bandwidth: Bandwidth, length: int, deadlines: Deadlines = PATIENT) -> list[int]:
    """The sizes of the blocks in which a body of that length goes out."""
    sizes = []
    with Outgoing(BytesBody(bytes(length)), UnderWay(deadlines, clock), None, bandwidth) as outgoing:
        while block := outgoing.read(MIB):
            outgoing.exchange.send_timeout()
            sizes.append(len(block))
    return sizes


@pytest.mark.parametrize("limit", [1024, 100_000, 20 * MIB])
def test_a_body_takes_its_length_divided_by_the_limit(limit: int) -> None:
    clock = FakeClock()
    began = clock.monotonic()
    sizes = sent(clock, Bandwidth(limit, Line()), 60 * limit)
    assert sum(sizes) == 60 * limit
    # The last block is on its way when it has been given.
    assert clock.monotonic() - began == pytest.approx(60 - sizes[-1] / limit)


def test_blocks_are_small_enough_for_a_server_that_wants_to_hear_something_now_and_then() -> None:
    sizes = sent(FakeClock(), Bandwidth(1000, Line()), 5000)
    assert max(sizes) == 1000 // BLOCKS_PER_SECOND
    assert set(sent(FakeClock(), Bandwidth(3, Line()), 12)) == {1}
    assert max(sent(FakeClock(), Bandwidth(2**40, Line()), 3 * MIB)) == MIB


def test_waiting_for_the_line_trips_no_timeout_of_a_server_that_stalls() -> None:
    clock = FakeClock()
    sent(clock, Bandwidth(1, Line()), 50, Deadlines(connect=1, read=0.5, stall=0.5))
    assert clock.monotonic() > 1040


def test_requests_share_the_line_one_block_each_in_turn() -> None:
    line = Line()
    slow, fast = Bandwidth(100, line), Bandwidth(200, line)
    assert [slow.book(10, 0.0), fast.book(10, 0.0), slow.book(10, 0.0)] == pytest.approx([0.0, 0.1, 0.15])


def test_what_was_lost_by_waking_late_is_made_up_for_but_no_idle_hour_is_saved_up() -> None:
    line = Line()
    line.book(1.0, 0.0)
    assert line.book(1.0, 1.1) == 0.0
    assert line.book(1.0, 1.1) == pytest.approx(0.9)
    assert line.book(1.0, 5000.0) == 0.0
    assert line.book(1.0, 5000.0) == pytest.approx(1.0 - CREDIT_SECONDS)


def test_a_pause_ends_when_the_request_is_stopped() -> None:
    exchange = Exchange(PATIENT, SystemClock())
    threading.Timer(0.05, exchange.stop).start()
    with pytest.raises(Stopped):
        exchange.pause(3600.0)


def uploader(server: FaultServer, bandwidth: Bandwidth) -> Client:
    return Client(Endpoint(Api.UPLOAD, server.url, "POST", PATIENT), bandwidth=bandwidth)


def test_uploads_over_real_connections_keep_to_the_limit_together() -> None:
    limit, each, requests = 8 * MIB, 2 * MIB, 4
    with FaultServer(answering()) as server, ThreadPoolExecutor(requests) as threads:
        client = uploader(server, Bandwidth(limit, Line()))
        began = time.monotonic()
        list(threads.map(lambda _: client.send(bytes(each)), range(requests)))
        took = time.monotonic() - began
    assert {len(seen.body) for seen in server.requests} == {each}
    assert took >= 0.85 * requests * each / limit  # the first block goes out at once


def test_stopping_ends_a_request_that_waits_for_the_line() -> None:
    with FaultServer(answering()) as server:
        client = uploader(server, Bandwidth(1, Line()))
        with ThreadPoolExecutor(1) as threads:
            under_way = threads.submit(client.send, bytes(100_000))
            while not server.requests:
                pass
            client.stop_now()
            with pytest.raises(Stopped) as stopped:
                under_way.result(10)
    assert stopped.value.maybe_done


def test_200_images_share_a_few_connections() -> None:
    with FaultServer(answering()) as server, ThreadPoolExecutor(6) as threads:
        client = Client(Endpoint(Api.UPLOAD, server.url, "POST", PATIENT), pool_size=6)
        list(threads.map(lambda number: client.send(bytes(1000 + number)), range(200)))
    assert len(server.requests) == 200
    assert server.connections <= 6
