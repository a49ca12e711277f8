"""One request over a real connection: what is sent, what comes back, and every way in which it may go wrong."""

import gzip
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moichord.apis.bodies import BodyLengthWrong
from moichord.apis.http import LARGEST_REPLY, Deadlines, Endpoint, Tls
from moichord.errors import ApiFailure, ApiOutage, ApiTransient, ConfigurationInvalid, Stopped
from moichord.sample import Api
from tests.fault_server import (
    FaultServer,
    Peer,
    Script,
    answering,
    answering_early,
    closing_at_once,
    in_turn,
    reply,
    resetting,
    sending,
    silent,
    stalling_while_reading,
    trickling,
)
from tests.unit.apis.endpoints import KEY, QUICK, client

MIB = 1024 * 1024
LARGE = bytes(range(256)) * 4096 * 24  # 24 MiB: more than the buffers of a loopback connection hold


@dataclass
class FileBody:
    """A body that claims a length and gives blocks (or raises) when it is opened."""

    length: int
    blocks: Sequence[bytes | Exception]
    opened: int = 0
    closed: int = 0
    sizes: list[int] = field(default_factory=list)

    def open(self) -> "FileBody":
        self.opened += 1
        self._left = list(self.blocks)
        return self

    def read(self, size: int, /) -> bytes:
        self.sizes.append(size)
        block = self._left.pop(0) if self._left else b""
        if isinstance(block, Exception):
            raise block
        return block

    def close(self) -> None:
        self.closed += 1


def test_the_request_is_what_the_endpoint_says() -> None:
    with FaultServer(answering(201, b'{"ID": 7}', {"X-Word": "there"})) as server:
        one = client(server.url, params={"level": "5 µ"})
        answer = one.send(b"image", {"Idempotency-Key": "k-1", "Content-Type": "application/binary"})
    seen = server.requests[0]
    assert seen.line == "POST /instances?level=5+%C2%B5 HTTP/1.1"
    assert seen.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "moichord",
        "accept": "*/*",
        "accept-encoding": "identity",
        "authorization": KEY,
        "idempotency-key": "k-1",
        "content-type": "application/binary",
        "content-length": "5",
    }
    assert seen.body == b"image"
    assert (answer.status, answer.content, answer.cut) == (201, b'{"ID": 7}', False)
    assert answer.headers["x-word"] == "there"
    assert answer.elapsed >= 0


def test_headers_of_one_request_do_not_stay_for_the_next() -> None:
    with FaultServer(answering()) as server:
        one = client(server.url)
        one.send(b"1", {"Idempotency-Key": "k-1"})
        one.send(b"2")
    assert "idempotency-key" not in server.requests[1].headers


def test_a_get_carries_its_body() -> None:
    with FaultServer(answering()) as server:
        client(server.url, Api.METADATA, method="GET").send(b'{"sample_id": "A1"}')
    assert server.requests[0].line.startswith("GET ")
    assert server.requests[0].body == b'{"sample_id": "A1"}'


def test_requests_share_one_connection() -> None:
    with FaultServer(answering(200, b"{}")) as server:
        one = client(server.url)
        for number in range(5):
            one.send(b"x" * number)
    assert server.connections == 1
    assert [len(seen.body) for seen in server.requests] == [0, 1, 2, 3, 4]


def test_a_connection_that_the_server_closes_is_replaced() -> None:
    with FaultServer(sending(reply(200, b"", {"Connection": "close"}))) as server:
        one = client(server.url)
        assert [one.send(b"1").status, one.send(b"2").status] == [200, 200]
    assert server.connections == 2


def test_a_large_body_is_streamed_in_blocks_with_its_exact_length() -> None:
    blocks: list[bytes | Exception] = [LARGE[start : start + MIB] for start in range(0, len(LARGE), MIB)]
    body = FileBody(len(LARGE), blocks)
    told: list[int] = []
    with FaultServer(answering()) as server:
        client(server.url).send(body, progress=told.append)
    assert server.requests[0].headers["content-length"] == str(len(LARGE))
    assert "transfer-encoding" not in server.requests[0].headers
    assert server.requests[0].body == LARGE
    assert set(body.sizes) == {MIB}
    assert told == [MIB * number for number in range(1, 25)]
    assert (body.opened, body.closed) == (1, 1)


def test_a_second_try_sends_the_whole_body_again() -> None:
    body = FileBody(6, [b"abc", b"def"])
    with FaultServer(answering()) as server:
        one = client(server.url)
        one.send(body)
        one.send(body)
    assert [bytes(seen.body) for seen in server.requests] == [b"abcdef", b"abcdef"]
    assert body.closed == 2


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ConnectionResetError(), ValueError("x"), BrokenPipeError()]
)
def test_what_a_body_raises_comes_out_as_it_is(error: Exception) -> None:
    body = FileBody(6, [b"abc", error])
    with FaultServer(answering()) as server, pytest.raises(type(error)) as caught:
        client(server.url).send(body)
    assert caught.value is error
    assert body.closed == 1


@pytest.mark.parametrize("blocks", [[b"abc"], [], [b"abc", b"defg"], [b"abcdefg"]])
def test_a_body_that_breaks_its_word_about_its_length_is_named(blocks: list[bytes | Exception]) -> None:
    with FaultServer(answering()) as server, pytest.raises(BodyLengthWrong, match="changed while"):
        client(server.url).send(FileBody(6, blocks))


def test_what_progress_raises_ends_the_request() -> None:
    def cancelled(_sent: int) -> None:
        raise Stopped("cancelled")

    with FaultServer(answering()) as server, pytest.raises(Stopped, match="cancelled"):
        client(server.url).send(FileBody(6, [b"abc", b"def"]), progress=cancelled)


def failing(script: Script, timeout: Deadlines = QUICK, body: bytes = LARGE) -> ApiFailure:
    """The failure of one request to a server that does this; it must be sent once, and no more."""
    with FaultServer(script) as server, pytest.raises(ApiFailure) as caught:
        client(server.url, timeout=timeout).send(body)
    assert server.connections == 1
    return caught.value


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (resetting(), "was lost"),
        (resetting(after=3 * MIB), "was lost"),
        (closing_at_once, "was lost (closed without an answer)"),
        (stalling_while_reading, "stopped taking data"),
        (silent, "did not answer in time"),
        (trickling(b"", reply(200, b"{}")), "too slowly"),
        (trickling(OK + b"Content-Length: 999\r\n\r\n", b"x" * 999), "too slowly"),
        (trickling(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200), "too slowly"),
        (sending(OK + b"Content-Length: 999\r\n\r\ncut"), "cut short"),
        (sending(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"), "cut short"),
        (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP"),
        (sending(OK + b"X: y\r\n" * 500), "not HTTP"),
        (sending(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), "not HTTP"),
    ],
)
def test_a_broken_exchange_is_transient_and_sent_once(script: Script, words: str) -> None:
    failure = failing(script)
    assert isinstance(failure, ApiTransient)
    assert words in failure.problem
    assert failure.maybe_done
    assert failure.status is None


def test_the_total_time_bounds_an_answer_that_keeps_coming() -> None:
    timeout = Deadlines(connect=2.0, read=30.0, total=0.3)
    failure = failing(trickling(OK + b"Content-Length: 99999\r\n\r\n", b"x" * 99999), timeout)
    assert "took longer than it may" in failure.problem


def test_the_total_time_bounds_sending_too() -> None:
    timeout = Deadlines(connect=2.0, read=30.0, stall=30.0, total=0.3)
    assert "took longer than it may" in failing(stalling_while_reading, timeout).problem


def test_the_total_time_bounds_sending_that_moves_too_slowly() -> None:
    def sip(peer: Peer) -> None:
        peer.head()
        while not peer.server.ended.wait(0.02):
            peer.connection.recv(65536)

    timeout = Deadlines(connect=2.0, read=30.0, stall=30.0, total=0.3)
    assert "took longer than it may" in failing(sip, timeout).problem


def test_a_refused_connection_is_an_outage_and_nothing_was_sent() -> None:
    with FaultServer(answering()) as server:
        url = server.url
    with pytest.raises(ApiOutage, match="refused the connection") as caught:
        client(url).send(b"image")
    assert not caught.value.maybe_done


def test_an_unknown_name_is_an_outage_and_nothing_was_sent() -> None:
    with pytest.raises(ApiOutage, match="cannot be found") as caught:
        client("http://" + "a" * 64 + ".invalid/").send(b"image")
    assert not caught.value.maybe_done


def _plain_http(peer: Peer) -> None:
    peer.connection.recv(4096)
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _end(peer: Peer) -> None:
    peer.connection.recv(4096)


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (_plain_http, ApiOutage, "secure connection"),
        (_end, ApiTransient, "was lost"),
        (lambda peer: peer.reset(), ApiTransient, "was lost"),
        (lambda peer: peer.stall(), ApiTransient, "did not take the connection"),
    ],
)
def test_a_server_without_tls_is_told_from_one_that_is_lost(script: Script, kind: type, words: str) -> None:
    timeout = Deadlines(connect=0.3, read=0.3)
    with FaultServer(script) as server, pytest.raises(kind, match=words) as caught:
        client(server.url.replace("http:", "https:"), timeout=timeout).send(b"image")
    assert not caught.value.maybe_done


def test_a_missing_ca_file_is_named() -> None:
    with FaultServer(answering()) as server, pytest.raises(ApiOutage, match=r"gone\.pem") as caught:
        client(server.url.replace("http:", "https:"), tls=Tls(ca_file="/gone.pem")).send(b"image")
    assert "upload.tls" in str(caught.value.remedy)
    assert server.connections == 0


@pytest.mark.parametrize(
    "then",
    [Peer.reset, lambda peer: None, lambda peer: peer.stall(), lambda peer: peer.hold()],
    ids=["reset", "close", "stall", "read"],
)
def test_an_early_refusal_is_heard(then: Callable[[Peer], None]) -> None:
    with FaultServer(answering_early(413, then=then, body=b"too large")) as server:
        answer = client(server.url, timeout=QUICK).send(LARGE)
    assert (answer.status, answer.content) == (413, b"too large")


def test_an_early_refusal_ends_the_sending_and_the_connection() -> None:
    sent: list[int] = []
    heard = threading.Event()

    def refuse(peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        peer.body(seen, MIB)
        peer.send(reply(401))
        heard.set()
        peer.hold()

    def wait(count: int) -> None:
        sent.append(count)
        heard.wait()

    with FaultServer(refuse, answering()) as server:
        one = client(server.url)
        assert one.send(LARGE, progress=wait).status == 401
        assert one.send(b"next").status == 200
    assert sent == [MIB]
    assert server.connections == 2


def test_an_early_success_is_no_reason_to_stop_sending() -> None:
    read = threading.Event()

    def welcome(peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        peer.send(reply(200))
        peer.body(seen)
        read.set()

    with FaultServer(welcome) as server:
        assert client(server.url).send(LARGE).status == 200
        assert read.wait(10)
    assert server.requests[0].body == LARGE


def test_a_success_before_everything_was_sent_is_not_believed() -> None:
    failure = failing(answering_early(200, then=Peer.reset))
    assert isinstance(failure, ApiTransient)
    assert failure.status == 200
    assert "before it had been sent everything" in failure.problem


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with FaultServer(answering()) as other, FaultServer(answering(302, b"moved", {"Location": other.url})) as server:
        answer = client(server.url).send(b"image")
    assert (answer.status, answer.headers["location"]) == (302, other.url)
    assert other.requests == []


def test_a_redirect_to_an_unreadable_address_does_no_harm() -> None:
    with FaultServer(answering(307, b"", {"Location": "http://[bad"})) as server:
        assert client(server.url).send(b"image").status == 307


@pytest.mark.parametrize("size", [LARGEST_REPLY, LARGEST_REPLY + 1, 3 * LARGEST_REPLY])
def test_a_huge_reply_is_cut(size: int) -> None:
    with FaultServer(answering(200, b"x" * size)) as server:
        one = client(server.url)
        answer = one.send(b"image")
        assert one.send(b"again").status == 200
    assert len(answer.content) == LARGEST_REPLY
    assert answer.cut is (size > LARGEST_REPLY)


def test_a_small_reply_that_unpacks_to_a_huge_one_is_cut() -> None:
    packed = gzip.compress(b"\x00" * (8 * LARGEST_REPLY))
    with FaultServer(answering(200, packed, {"Content-Encoding": "gzip"})) as server:
        answer = client(server.url).send(b"image")
    assert (len(answer.content), answer.cut) == (LARGEST_REPLY, True)


def test_a_packed_reply_is_unpacked() -> None:
    with FaultServer(answering(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"})) as server:
        assert client(server.url).send(b"image").content == b"{}"


def test_cookies_are_not_kept() -> None:
    with FaultServer(answering(200, b"", {"Set-Cookie": "session=1; Path=/"})) as server:
        one = client(server.url)
        one.send(b"1")
        one.send(b"2")
    assert "cookie" not in server.requests[1].headers


def test_the_environment_decides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer(answering()) as server:
        assert client(server.url).send(b"image").status == 200
        assert client(server.url, headers={}).send(b"image").status == 200
    assert server.requests[0].headers["authorization"] == KEY
    assert "authorization" not in server.requests[1].headers


def test_a_configured_proxy_is_asked_for_the_whole_address() -> None:
    with FaultServer(answering()) as proxy:
        one = client("http://images.invalid/instances", proxy=f"http://127.0.0.1:{proxy.port}")
        assert one.send(b"image").status == 200
    assert proxy.requests[0].line == "POST http://images.invalid/instances HTTP/1.1"


def test_a_proxy_that_is_down_or_refuses_is_an_outage() -> None:
    with FaultServer(sending(reply(407))) as proxy:
        one = client("https://images.invalid/", proxy=f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ApiOutage, match=r"proxy.*407") as caught:
            one.send(b"image")
    assert not caught.value.maybe_done
    with pytest.raises(ApiOutage, match="proxy"):
        one.send(b"image")


def test_a_key_beats_user_and_password_in_the_address() -> None:
    with FaultServer(answering()) as server:
        url = server.url.replace("//", "//user:pw@")
        client(url).send(b"image")
        client(url, headers={}).send(b"image")
    assert server.requests[0].headers["authorization"] == KEY
    assert server.requests[1].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("url", "key", "setting"),
    [
        ("http://h/", "se\ncret", "upload.key"),
        ("http:///", KEY, "upload.url"),
        ("images", KEY, "upload.url"),
        ("http://[bad", KEY, "upload.url"),
    ],
)
def test_what_can_never_be_sent_is_a_configuration_error_without_the_key(url: str, key: str, setting: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=setting) as caught:
        client(url, headers={"Authorization": key})
    # The library's own error quotes the header; a traceback must not show it as a cause.
    assert caught.value.__suppress_context__
    assert key not in str(caught.value)


def test_an_endpoint_does_not_show_its_secrets() -> None:
    endpoint = Endpoint(
        Api.UPLOAD,
        "http://user:geheim@h/instances?token=geheim",
        "POST",
        QUICK,
        headers={"Authorization": "geheim"},
        params={"key": "geheim"},
        proxy="http://user:geheim@proxy",
    )
    assert "geheim" not in repr(endpoint) + endpoint.shown


def test_a_probe_asks_with_options_and_gives_any_status() -> None:
    with FaultServer(in_turn(reply(401), reply(204), reply(500))) as server:
        one = client(server.url)
        assert [one.probe(), one.probe(), one.probe("HEAD")] == [401, 204, 500]
    assert server.requests[0].line.startswith("OPTIONS ")
    assert server.requests[0].headers["content-length"] == "0"
    assert server.requests[0].headers["authorization"] == KEY


@pytest.mark.parametrize("script", [stalling_while_reading, silent], ids=["sending", "waiting"])
def test_stopping_ends_what_is_under_way_and_refuses_what_is_new(script: Script) -> None:
    ended: list[Stopped] = []
    with FaultServer(script) as server:
        one = client(server.url)

        def sending_thread() -> None:
            try:
                one.send(LARGE)
            except Stopped as stopped:
                ended.append(stopped)

        thread = threading.Thread(target=sending_thread)
        thread.start()
        assert server.reached.wait(10)
        one.stop_now()
        thread.join(10)
        assert not thread.is_alive()
        with pytest.raises(Stopped) as refused:
            one.send(b"next")
    assert [stopped.maybe_done for stopped in ended] == [True]
    assert not refused.value.maybe_done
    assert server.connections == 1


def test_many_threads_share_a_client() -> None:
    with FaultServer(answering()) as server:
        one = client(server.url)
        threads = [threading.Thread(target=one.send, args=(bytes([65 + n]) * 100_000,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(bytes(seen.body[:1]) for seen in server.requests) == [bytes([65 + n]) for n in range(8)]
    assert all(len(set(seen.body)) == 1 and len(seen.body) == 100_000 for seen in server.requests)
