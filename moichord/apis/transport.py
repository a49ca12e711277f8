"""The connections below a request: urllib3's, bounded by the request's exchange.

Owns that every send and every receive asks the exchange how long it may take, so that neither a stalled nor a
trickling server can hold a thread for ever; and that a connection is used again only after a whole request and a
whole answer. It must not know what is sent or what an answer means. It raises what urllib3 raises, `TimeoutError`,
and `Stopped`.

Facts that it answers to: urllib3 bounds sending by the *connect* timeout and each receive by the read timeout, so
that a byte now and then never ends; a server may answer before it has the whole body (RFC 9112 section 9.5), and may
say that it will, by any number of informational answers, which http.client takes for the answer itself (RFC 9110
section 15.2).
"""

import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util.wait import wait_for_read

from moichord.apis.exchange import Exchange
from moichord.apis.faults import Phase

BLOCK = 1024 * 1024
_TLS_PIECE = 256 * 1024
"""TLS takes a piece as a whole, within the time for one; a plain socket only what fits in, which costs less."""


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
        timeout = self._exchange.receive_timeout()
        early = self._exchange.unread(len(buffer))
        if early:
            buffer[: len(early)] = early
            count: int | None = len(early)
        else:
            self._socket.settimeout(timeout)
            count = self._file.readinto(buffer)
        if count:
            self._exchange.answered()
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
        while 100 <= self.status < 200 and self.status != http.client.SWITCHING_PROTOCOLS:
            # Only begins anew without headers; the time of the exchange bounds how often.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        if self.status == http.client.SWITCHING_PROTOCOLS:
            self.will_close = True
        if not self._exchange.body_complete:
            self.will_close = True


class BoundedConnection(HTTPConnection):
    """A connection whose requests are bounded by the exchange that their body (`bodies.Outgoing`) carries."""

    _exchange: Exchange | None = None
    _piece = BLOCK

    def serve(self, exchange: Exchange) -> None:
        """The next request is this exchange's; so is connecting, if that is still to be done."""
        self._exchange = exchange
        self.response_class = self._bounded_answer  # type: ignore[assignment]

    def connect(self) -> None:
        if self._exchange is not None:
            self.timeout = self._exchange.connect_timeout()
        super().connect()

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        exchange: Exchange = body.exchange
        if self.sock is None:
            self.connect()
        exchange.connected(self.sock)
        self.timeout = exchange.send_timeout()
        super().request(method, url, body, headers, **options)

    def send(self, data: Any) -> None:
        exchange = self._exchange
        if exchange is None or exchange.phase is Phase.CONNECTING:
            super().send(data)  # to a proxy
            return
        exchange.began = True
        view = memoryview(data)
        while view:
            self.sock.settimeout(exchange.send_timeout())
            view = view[self._send_piece(view[: self._piece], exchange) :]

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
        if self._exchange is not None:
            self._exchange.sent()
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
    """The same over TLS, perhaps through a proxy; it can be stopped while that is being agreed."""

    _piece = _TLS_PIECE

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        if self._exchange is not None:
            try:
                self._exchange.connecting(connection)
            except BaseException:
                connection.close()
                raise
        return connection


class _PlainPool(HTTPConnectionPool):
    """Connections that know whose request they serve before they connect."""

    ConnectionCls = BoundedConnection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._under_way = threading.local()

    def urlopen(self, method: str, url: str, body: Any = None, *arguments: Any, **options: Any) -> Any:
        self._under_way.exchange = body.exchange
        return super().urlopen(method, url, body, *arguments, **options)

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if isinstance(connection, BoundedConnection):
            connection.serve(self._under_way.exchange)
        return connection


class _TlsPool(_PlainPool, HTTPSConnectionPool):
    ConnectionCls = BoundedTlsConnection


class _BoundedAdapter(HTTPAdapter):
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


class Connections:
    """The connections to one server, of which `kept` stay open.

    requests knows issuers, certificates and proxies, and makes the pool that fits; each request then goes straight to
    that pool. What requests' session and adapter do for every request besides (cookies, hooks, redirects, the choice
    of a pool) was a quarter of what a small one costs.
    """

    def __init__(
        self,
        kept: int,
        *,
        verify: bool | str = True,
        cert: tuple[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        self._adapter = _BoundedAdapter(kept)
        self._verify = verify
        self._cert = cert
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._pool: Any = None  # of `_POOLS`

    @contextmanager
    def answer(
        self, request: PreparedRequest, headers: Mapping[str, str], body: Any, timeout: tuple[float, float]
    ) -> Iterator[BaseHTTPResponse]:
        """Send `request`, with these headers and this body (`bodies.Outgoing`) instead of its own.

        Within `timeout` (seconds: to connect, to read) the answer has begun; what is not read of it until the end costs
        the connection.
        """
        adapter, url = self._adapter, request.url or ""
        pool = self._pool_for(request)
        adapter.cert_verify(pool, url, self._verify, self._cert)  # type: ignore[no-untyped-call]  # they may have gone
        response = pool.urlopen(
            request.method or "GET",
            adapter.request_url(request, self._proxies),
            body,
            headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=adapter.max_retries,
            timeout=Timeout(*timeout),
        )
        try:
            yield response
        finally:
            response.close()
            response.release_conn()

    def close(self) -> None:
        """Close those that are kept open; the next request opens others."""
        self._pool = None
        self._adapter.close()

    def _pool_for(self, request: PreparedRequest) -> Any:
        pool = self._pool
        if pool is None:
            pool = self._adapter.get_connection_with_tls_context(
                request, self._verify, proxies=self._proxies, cert=self._cert
            )
            self._pool = pool
        return pool


_POOLS: dict[str, Callable[..., HTTPConnectionPool]] = {"http": _PlainPool, "https": _TlsPool}
