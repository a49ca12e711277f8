"""A small request to whoever is to be told something: taken or not, soon, and without a word of its address."""

import pytest

from moichord.apis.http import Deadlines
from moichord.apis.receiver import LARGEST_REPLY, Receiver
from moichord.clock import SystemClock
from moichord.errors import NotTold
from tests.fault_server import (
    FaultServer,
    Script,
    answering,
    closing_at_once,
    resetting,
    sending,
    silent,
    stalling_while_reading,
    trickling,
)

SECRET = "t0ken-in-the-path"
RECEIVER = Receiver("notify.report_url", SystemClock(), Deadlines(connect=0.3, read=0.3, total=0.4))
LARGE = b"x" * (24 * 2**20)
"""More than the buffers of a loopback connection hold."""


def told(*scripts: Script, body: bytes = b"{}") -> FaultServer:
    with FaultServer(*scripts) as server:
        RECEIVER.tell("POST", f"{server.url}/{SECRET}?key={SECRET}", body, {"Content-Type": "application/json"})
    return server


def test_it_gets_what_it_is_told_with_its_address_as_it_is_written() -> None:
    (seen,) = told(answering(204)).requests
    assert seen.line.startswith("POST ")
    assert f"/{SECRET}?key={SECRET} HTTP/1.1" in seen.line
    assert (seen.body, seen.headers["content-length"], seen.headers["content-type"]) == (b"{}", "2", "application/json")


def test_a_request_without_a_body_has_none() -> None:
    with FaultServer(answering(200, b"OK" * LARGEST_REPLY)) as server:
        RECEIVER.tell("GET", server.url)
    assert server.requests[0].line.startswith("GET ")
    assert bytes(server.requests[0].body) == b""


@pytest.mark.parametrize(
    ("script", "body", "says", "refused"),
    [
        (answering(500), b"{}", "(status 500)", False),
        (answering(404), b"{}", "(status 404)", False),
        (answering(429), b"{}", "(status 429)", False),
        (answering(413), b"{}", "(status 413)", True),
        (answering(422), b"{}", "(status 422)", True),
        (answering(302, headers={"Location": "http://127.0.0.1:9/"}), b"{}", "(status 302)", False),
        (closing_at_once, b"{}", "(connection lost)", False),
        (resetting(), b"{}", "(connection lost)", False),
        (sending(b"nonsense\r\n\r\n"), b"{}", "(answer garbled)", False),
        (silent, b"{}", "(", False),
        (trickling(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), b"{}", "(", False),
        (stalling_while_reading, LARGE, "(send stalled)", False),
    ],
    ids=["500", "404", "429", "413", "422", "redirect", "closed", "reset", "garbled", "silent", "trickles", "stalls"],
)
def test_what_is_not_taken_is_said_without_the_address(script: Script, body: bytes, says: str, refused: bool) -> None:
    with pytest.raises(NotTold) as failure:
        told(script, body=body)
    assert str(failure.value).startswith("notify.report_url: the server did not take it (")
    assert says in str(failure.value)
    assert failure.value.refused is refused
    assert SECRET not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_server_that_is_not_there_or_has_no_name_is_said() -> None:
    for url, says in (("http://127.0.0.1:9/", "connection refused"), ("http://nowhere.invalid/", "name unknown")):
        with pytest.raises(NotTold, match=says):
            RECEIVER.tell("GET", url + SECRET)


def test_the_environment_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert len(told(answering()).requests) == 1
