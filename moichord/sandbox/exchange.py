"""One HTTP connection to the stand-in APIs: reads requests, streams bodies, spoils or answers them.

Owns HTTP/1.1 on the server's side (RFC 9112) as far as the stand-in needs it: keep-alive, Content-Length, cut
connections. It must not know what the answers mean. `OSError` of a broken connection leaves it; the server expects it.
"""

import hashlib
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from moichord.sample import Api
from moichord.sandbox.endpoints import KEY_HEADERS, PATHS, Answer, Body
from moichord.sandbox.faults import Fault, Moment
from moichord.sandbox.received import Received

if TYPE_CHECKING:
    from moichord.sandbox.listener import Listener

# Identity lies before (0020,000E); a real header reaches that point within some hundred kilobytes at most.
WINDOW = 1 << 20
CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Arrived:
    """A body as far as it arrived."""

    body: Body
    length: int
    sha256: str


class Exchange(BaseHTTPRequestHandler):
    """The requests of one connection, one after another."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment: two small ones would meet Nagle's algorithm and delayed ACKs (40 ms).
    wbufsize = CHUNK
    disable_nagle_algorithm = True
    server: "Listener"

    def version_string(self) -> str:
        return "moichord-sandbox"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the request log is the only one."""

    def handle_expect_100(self) -> bool:
        carry_on = super().handle_expect_100()
        self.wfile.flush()
        return carry_on

    def do_GET(self) -> None:
        self._exchange()

    do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET

    def _exchange(self) -> None:
        api = PATHS.get(urlsplit(self.path).path)
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._send(Answer(411, {"error": "a body needs a Content-Length"}), close=True)
        elif api is None:
            arrived = self._read(int(length), None)
            self._send(Answer(404), close=arrived.length < int(length))
        else:
            self.server.log.begin(api)
            self._serve(api, int(length))

    def _serve(self, api: Api, length: int) -> None:
        fault = self.server.faults.on_arrival(api, self.command)
        moment = fault.moment if fault else None
        if fault and moment is Moment.EARLY:
            self.server.log.record(replace(self._head(api), complete=length == 0, status=fault.status))
            self._send_fault(fault, close=True)
            return
        folder = self.server.endpoints.instances.folder if api is Api.UPLOAD else None
        with self._arriving(length // 2 if moment is Moment.CUT else length, folder) as arrived:
            received = replace(
                self._head(api),
                length=arrived.length,
                sha256=arrived.sha256,
                complete=arrived.length == length,
            )
            received = self.server.endpoints.understood(received, arrived.body)
            if received.complete:
                self.server.log.came_whole(api)
            if received.complete and self.server.pause(api):
                self._carry_out(received, arrived.body, fault or self.server.faults.on_request(received))
            else:
                self._cut(received)

    def _carry_out(self, received: Received, body: Body, fault: Fault | None) -> None:
        moment = fault.moment if fault else None
        if moment is Moment.CUT:
            self._cut(received)
            return
        if fault and moment is not Moment.LOST:
            self.server.log.record(replace(received, status=fault.status))
            self._send_fault(fault)
            return
        answer = self.server.endpoints.answer(received, body)
        if received.api is Api.UPLOAD and answer.status == 200:
            received = replace(received, stored=answer.body["Status"])
        if fault:
            self._cut(received)
            return
        self.server.log.record(replace(received, status=answer.status))
        self._send(answer)

    def _send_fault(self, fault: Fault, *, close: bool = False) -> None:
        explained = Answer(fault.status, {"error": "this failure was asked for"}, fault.headers)
        self._send(explained, raw=fault.body, close=close)

    def _cut(self, received: Received) -> None:
        """End the connection without an answer."""
        self.server.log.record(received)
        self.close_connection = True
        cut(self.connection)

    def _head(self, api: Api) -> Received:
        """What the headers say; the keys stay out of every record."""
        key_header = KEY_HEADERS[api]
        return Received(
            api=api,
            at=self.server.clock.now(),
            method=self.command,
            path=self.path,
            headers={k.lower(): v for k, v in self.headers.items() if k.lower() not in KEY_HEADERS.values()},
            idempotency_key=self.headers.get("Idempotency-Key"),
            authorized=self.headers.get(key_header) == self.server.endpoints.keys[api],
        )

    @contextmanager
    def _arriving(self, length: int, folder: Path | None = None) -> Iterator[Arrived]:
        """Read `length` bytes of the body; a file they are spooled to in `folder` is gone afterwards unless stored."""
        if folder is None:
            yield self._read(length, None)
            return
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as spool:
            file = Path(spool.name)
            try:
                arrived = self._read(length, spool.file)
                spool.flush()
                yield replace(arrived, body=replace(arrived.body, file=file))
            finally:
                file.unlink(missing_ok=True)

    def _read(self, length: int, spool: IO[bytes] | None) -> Arrived:
        buffer = memoryview(bytearray(min(CHUNK, max(length, 1))))
        digest, beginning, done = hashlib.sha256(), bytearray(), 0
        while done < length:
            try:
                count = self.rfile.readinto(buffer[: length - done])
            except ConnectionError:
                break
            if not count:
                break
            part = buffer[:count]
            digest.update(part)
            beginning += part[: WINDOW - len(beginning)]
            if spool:
                spool.write(part)
            done += count
        return Arrived(Body(bytes(beginning)), done, digest.hexdigest())

    def _send(self, answer: Answer, *, raw: bytes | None = None, close: bool = False) -> None:
        body = answer.encoded() if raw is None else raw
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def cut(connection: socket.socket) -> None:
    """End a connection for both sides, whatever is under way on it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
