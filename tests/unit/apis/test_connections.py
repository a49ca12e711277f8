"""What goes over a connection beside the one answer: informational answers, answers too many, and a proxy's."""

import pytest

from moichord.apis.http import Client, Deadlines, Endpoint
from moichord.clock import SystemClock
from moichord.errors import ApiFailure, ApiOutage, ApiTransient
from moichord.sample import Api
from tests.fault_server import FaultServer, Peer, answering, reply, sending
from tests.unit.apis.endpoints import QUICK, client

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("before", [CONTINUE, HINTS, PROCESSING * 3 + HINTS + CONTINUE])
def test_informational_answers_are_not_the_answer(before: bytes) -> None:
    """Otherwise the answer that follows would be taken for the next request's: an image that is stored, and is not."""
    with FaultServer(sending(before + reply(201, b"stored", {"X-Word": "there"}), again=True)) as server:
        one = client(server.url)
        for _ in range(3):
            answer = one.send(b"image")
            assert (answer.status, answer.content, answer.headers["x-word"]) == (201, b"stored", "there")
    assert server.connections == 1


def test_informational_answers_without_end_are_bounded() -> None:
    def endless(peer: Peer) -> None:
        peer.request()
        while not peer.server.ended.wait(0.01):
            peer.send(PROCESSING)

    with FaultServer(endless) as server, pytest.raises(ApiTransient, match="too slowly"):
        client(server.url, timeout=QUICK).send(b"image")


def test_a_change_of_protocol_is_no_success_and_ends_the_connection() -> None:
    with FaultServer(sending(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", again=True)) as server:
        one = client(server.url)
        assert [one.send(b"1").status, one.send(b"2").status] == [101, 101]
    assert server.connections == 2


def test_an_answer_that_comes_twice_answers_one_request() -> None:
    twice = reply(200, b"first") + reply(200, b"once too often")
    with FaultServer(sending(twice, again=True)) as server:
        one = client(server.url)
        assert [one.send(b"image").content for _ in range(5)] == [b"first"] * 5


def refused_by_proxy(proxy: FaultServer, timeout: Deadlines) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        client("https://images.invalid/", proxy=f"http://127.0.0.1:{proxy.port}", timeout=timeout).send(b"image")
    assert not caught.value.maybe_done
    return caught.value


def test_a_proxy_that_trickles_its_answer_is_bounded_by_connect() -> None:
    def drip(peer: Peer) -> None:
        peer.head()
        peer.trickle(b"HTTP/1.1 200 Connection established\r\nX: " + b"y" * 9999)

    with FaultServer(drip) as proxy:
        failure = refused_by_proxy(proxy, Deadlines(connect=0.3, read=30.0))
    assert isinstance(failure, ApiTransient)
    assert "did not take the connection in time" in failure.problem


def test_a_proxy_that_never_answers_is_bounded_by_connect() -> None:
    with FaultServer(lambda peer: peer.stall()) as proxy:
        assert isinstance(refused_by_proxy(proxy, Deadlines(connect=0.3, read=30.0)), ApiTransient)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_is_an_outage_that_names_it(status: int) -> None:
    with FaultServer(sending(reply(status, b"no such host"))) as proxy:
        failure = refused_by_proxy(proxy, QUICK)
    assert isinstance(failure, ApiOutage)
    assert str(status) in failure.problem
    assert "upload.proxy" in str(failure.remedy)


def test_a_proxy_that_speaks_no_http_is_an_outage_or_transient() -> None:
    with FaultServer(sending(b"SSH-2.0-OpenSSH_9.2\r\n")) as proxy:
        assert isinstance(refused_by_proxy(proxy, QUICK), ApiTransient | ApiOutage)


def test_what_connecting_may_take_does_not_bound_a_kept_connection() -> None:
    class Jumping(SystemClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead

    clock = Jumping()
    with FaultServer(answering()) as server:
        one = Client(Endpoint(Api.UPLOAD, server.url, "POST", Deadlines(connect=60.0, read=60.0)), clock=clock)
        assert one.send(b"1").status == 200
        clock.ahead = 3600.0
        assert one.send(b"2").status == 200
    assert server.connections == 1
