"""The connections below a request: its deadlines, early answers, and stopping it.

Owns one exchange (a request and its answer) on a socket: every send and every receive is bounded by what is left of
the request's time, so that neither a stalled nor a trickling server can hold a thread for ever. It must not know what
is sent or what an answer means. It raises what urllib3 raises, `TimeoutError`, and `Stopped`.

Facts that it answers to: urllib3 bounds sending by the *connect* timeout and each receive by the read timeout, so
that a byte now and then never ends; a server may answer before it has the whole body (RFC 9112 section 9.5).
"""

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse
from urllib3.util.wait import wait_for_read

from moichord.apis.faults import Phase
from moichord.clock import Clock
from moichord.errors import Stopped

BLOCK = 1024 * 1024
_PIECE = 256 * 1024
_LAST_WORD = 5.0


class Limits(Protocol):
    """Seconds that the parts of a request may take; see `http.Deadlines`."""

    @property
    def connect(self) -> float: ...
    @property
    def read(self) -> float: ...
    @property
    def total(self) -> float | None: ...
    @property
    def stall(self) -> float | None: ...


class Exchange:
    """One request and its answer: how far it is, how long it may still take, and the socket to shut."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.phase = Phase.CONNECTING
        self.began = False
        self.body_complete = False
        self.stopped = False
        self._stalled = False
        self._limits = limits
        self._monotonic = clock.monotonic
        self._overdue_at = None if limits.total is None else clock.monotonic() + limits.total
        self._deadline = self._overdue_at
        self._socket: socket.socket | None = None

    @property
    def overdue(self) -> bool:
        """Whether the total time of the request has run out."""
        return self._overdue_at is not None and self._monotonic() >= self._overdue_at

    def connected(self, connection: socket.socket) -> None:
        """The request goes out on this socket, from now on."""
        self._socket = connection
        self._refuse_if_stopped()
        self.phase = Phase.SENDING

    def sent(self) -> None:
        """The request is sent, or as much of it as the server wanted; the answer is due."""
        self._refuse_if_stopped()
        if self._stalled:
            self._deadline = self._monotonic() + self._bounded(_LAST_WORD)
            return
        self.phase = Phase.WAITING
        if self._deadline is None:
            # Without a total of its own, a request still may not be answered by a byte now and then.
            self._deadline = self._monotonic() + self._limits.read

    def stalled(self) -> None:
        """The server has stopped reading: what it has to say about that must be here already."""
        self._stalled = True

    def send_timeout(self) -> float:
        """Seconds that the next piece may take; raises TimeoutError if there are none left."""
        return self._bounded(self._limits.read if self._limits.stall is None else self._limits.stall)

    def receive_timeout(self) -> float:
        """Seconds to wait for the next bytes of the answer; raises TimeoutError if there are none left."""
        return self._bounded(self._limits.read)

    def connect_timeout(self) -> float:
        """Seconds that connecting may take; raises TimeoutError if there are none left."""
        return self._bounded(self._limits.connect)

    def stop(self) -> None:
        """End the exchange from another thread: whoever waits on its socket wakes up and fails."""
        self.stopped = True
        if self._socket is not None:
            # Not SSLSocket.shutdown: it takes the TLS layer off the socket while its thread still uses it.
            with suppress(OSError):  # it may have ended by itself
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def refused_early(self) -> bool:
        """Whether the server has already answered that it does not want the rest of the body.

        Only for plain connections: on TLS, readable bytes may be anything, and cannot be looked at in advance.
        """
        connection = self._socket
        if connection is None or isinstance(connection, ssl.SSLSocket) or not wait_for_read(connection, 0.0):
            return False
        answer = connection.recv(10, socket.MSG_PEEK)
        return len(answer) == 10 and answer.startswith(b"HTTP/1.") and answer[9:] in (b"3", b"4", b"5")

    def _bounded(self, seconds: float) -> float:
        if self._deadline is None:
            return seconds
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the request's time has run out")
        return min(seconds, left)

    def _refuse_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped("stopping: the request was given up")


class _BoundedReader(io.RawIOBase):
    """The answer's bytes, each receive bounded by what is left of the exchange's time."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._socket = connection
        # The socket's own reader keeps the socket open as long as an answer is being read.
        self._file = connection.makefile("rb", buffering=0)
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._exchange.receive_timeout())
        count = self._file.readinto(buffer)
        if count:
            self._exchange.phase = Phase.ANSWERING
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Readable:
    """What http.client asks of a socket: a buffered reader of it."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._connection, self._exchange))


class _BoundedAnswer(http.client.HTTPResponse):
    """An answer whose connection is not used again if the server did not take the whole request."""

    def __init__(self, connection: socket.socket, exchange: Exchange, **options: Any) -> None:
        super().__init__(_Readable(connection, exchange), **options)  # type: ignore[arg-type]
        self._exchange = exchange

    def begin(self) -> None:
        super().begin()
        if not self._exchange.body_complete:
            self.will_close = True


class BoundedConnection(HTTPConnection):
    """A connection whose requests are bounded by the exchange that their body (`bodies.Outgoing`) carries."""

    _exchange: Exchange | None = None

    def connect(self) -> None:
        self._exchange = None
        super().connect()

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        exchange: Exchange = body.exchange
        if self.sock is None:
            self.connect()
        exchange.connected(self.sock)
        self._exchange = exchange
        self.timeout = exchange.send_timeout()
        super().request(method, url, body, headers, **options)

    def send(self, data: Any) -> None:
        exchange = self._exchange
        if exchange is None:
            super().send(data)
            return
        exchange.began = True
        view = memoryview(data)
        while view:
            self.sock.settimeout(exchange.send_timeout())
            view = view[self._send_piece(view[:_PIECE], exchange) :]

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
        if self._exchange is not None:
            self._exchange.sent()
            self.response_class = self._bounded_answer  # type: ignore[assignment]
        return super().getresponse()

    def _send_piece(self, piece: memoryview, exchange: Exchange) -> int:
        # urllib3 looks for an answer only after a broken pipe, but it may be here after any loss.
        try:
            return self.sock.send(piece)
        except TimeoutError:
            if not wait_for_read(self.sock, 0.0):
                raise
            exchange.stalled()
            raise BrokenPipeError("the server stopped reading") from None
        except OSError as error:
            raise BrokenPipeError("the connection was lost while sending") from error

    def _bounded_answer(self, connection: socket.socket, **options: Any) -> http.client.HTTPResponse:
        if self._exchange is None:
            return http.client.HTTPResponse(connection, **options)
        return _BoundedAnswer(connection, self._exchange, **options)


class BoundedTlsConnection(BoundedConnection, HTTPSConnection):
    """The same over TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = BoundedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = BoundedTlsConnection


class BoundedAdapter(HTTPAdapter):
    """requests' way to our connections: large blocks, no retries of its own, `pool_size` connections kept open."""

    def __init__(self, pool_size: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, blocksize=BLOCK, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, blocksize=BLOCK, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS: dict[str, Callable[..., HTTPConnectionPool]] = {"http": _PlainPool, "https": _TlsPool}
