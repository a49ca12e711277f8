"""A server on loopback that misbehaves as told: the network's faults, one script per connection.

    with FaultServer(answering(503, headers={"Retry-After": "7"}), resetting()) as server:
        ...  # the first connection gets 503, every later one is reset

A script is a function of a `Peer`. Scripts follow one another, connection by connection; the last one stays. With
`tls` the server speaks TLS, and a script begins when that is agreed.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Seen:
    """What of one request reached the server."""

    head: bytes
    body: bytearray = field(default_factory=bytearray)

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket, server: "FaultServer") -> None:
        self.connection = connection
        self.server = server
        self._pending = b""

    def head(self) -> Seen | None:
        """Read a request's head; None if the client closed instead."""
        while b"\r\n\r\n" not in self._pending:
            data = self.connection.recv(65536)
            if not data:
                return None
            self._pending += data
        head, _, self._pending = self._pending.partition(b"\r\n\r\n")
        seen = Seen(head)
        self.server.requests.append(seen)
        return seen

    def body(self, seen: Seen, most: int | None = None) -> None:
        """Read the request's body, or at most its first `most` bytes."""
        length = int(seen.headers.get("content-length", 0))
        wanted = length if most is None else min(most, length)
        while len(seen.body) < wanted:
            data = self._pending or self.connection.recv(1024 * 1024)
            if not data:
                return
            taken = wanted - len(seen.body)
            seen.body += data[:taken]
            self._pending = data[taken:]

    def request(self) -> Seen | None:
        seen = self.head()
        if seen is not None:
            self.body(seen)
        return seen

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        """Close with a TCP reset instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def hold(self) -> None:
        """Do nothing until the client has gone or the server ends."""
        self.connection.settimeout(None)
        while self.connection.recv(65536):
            pass

    def stall(self) -> None:
        """Read nothing, say nothing, until the server ends."""
        self.server.reached.set()
        self.server.ended.wait()

    def trickle(self, data: bytes, every: float = 0.02) -> None:
        """Send byte by byte, as slowly as told: that is the fault."""
        for byte in data:
            if self.server.ended.wait(every):
                return
            self.send(bytes([byte]))


Script = Callable[[Peer], None]


class FaultServer:
    """Listens on a free loopback port while it is entered; `requests` is what it saw."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = list(scripts)
        self._tls = tls
        self.requests: list[Seen] = []
        self.connections = 0
        self.reached = threading.Event()
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/instances"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        _shut(self._listener)
        for connection in self._open:
            _shut(connection)
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: Script) -> None:
        # Many of these tests are about the client going away, or about TLS that is not agreed.
        with connection, suppress(OSError):
            if self._tls is None:
                script(Peer(connection, self))
                return
            with self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
                self._open.append(secured)
                secured.do_handshake()
                script(Peer(secured, self))


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket.shutdown: it takes the TLS layer off the socket while its thread still uses it.
        socket.socket.shutdown(one, socket.SHUT_RDWR)
    one.close()


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answering(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Script:
    """Read every request whole and answer it; the connection stays open."""
    return sending(reply(status, body, headers), again=True)


def sending(data: bytes, *, again: bool = False) -> Script:
    """Read a request whole, send these bytes, and close (or go on with the next request)."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(data)
            if not again:
                return

    return script


def answering_early(status: int, *, then: Callable[[Peer], None], body: bytes = b"") -> Script:
    """Answer as soon as the head is there, before the body is read; then reset, stall, read on..."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(reply(status, body))
        then(peer)

    return script


def resetting(after: int = 0) -> Script:
    """Reset the connection after `after` bytes of the body."""

    def script(peer: Peer) -> None:
        seen = peer.head()
        if seen is not None:
            peer.body(seen, after)
        peer.reset()

    return script


def closing_at_once(peer: Peer) -> None:
    """Read the request, and close without a word."""
    peer.request()


def stalling_while_reading(peer: Peer) -> None:
    """Read the head and nothing of the body."""
    peer.head()
    peer.stall()


def silent(peer: Peer) -> None:
    """Read the whole request and never answer."""
    peer.request()
    peer.stall()


def trickling(before: bytes, slowly: bytes) -> Script:
    """Answer with some bytes at once and the rest one by one."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(before)
        peer.trickle(slowly)

    return script


def in_turn(*answers: bytes) -> Script:
    """Answer the requests of one connection one after the other; the last answer stays."""

    def script(peer: Peer) -> None:
        waiting = list(answers)
        while peer.request() is not None:
            peer.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return script
