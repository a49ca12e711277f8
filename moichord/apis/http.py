"""One request to one endpoint: bounded in time, streamed, and answered or failed.

Owns the connections, the request template of an endpoint, and the registry of what is under way. It must not know what
is sent, what a status means for a sample, or how often to try. Errors that leave it: ApiOutage or ApiTransient for a
request without an answer, `Stopped`, `BodyLengthWrong`, what a body itself raises (as it is), and
`ConfigurationInvalid` at construction. A status, whatever it is, is an answer and no error.

Nothing outside the endpoint decides: no environment proxies, no .netrc, no cookies, no redirects.
"""

import http.client
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from moichord.apis.answers import SERVER, failure_of_fault, shown_address
from moichord.apis.bandwidth import Bandwidth
from moichord.apis.bodies import Body, BodyFailed, BytesBody, Outgoing, Progress
from moichord.apis.exchange import Exchange
from moichord.apis.faults import fault_of
from moichord.apis.masking import Mask
from moichord.apis.transport import Connections
from moichord.clock import Clock, SystemClock
from moichord.errors import ApiFailure, ApiTransient, ConfigurationInvalid, Stopped
from moichord.pulse import Pulse
from moichord.sample import Api

LARGEST_REPLY = 4 * 1024 * 1024
CONNECTING = 4
"""A server may have several addresses, each of which is tried for as long as connecting may take."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `connect`: until connected (and TLS agreed); `stall`: until the server takes the next bytes of the
    body (default: `read`); `read`: until it sends the next bytes of its answer; `total`: the whole request. Without
    `total` the whole answer must arrive within `read` of the end of sending, and sending may take as long as it moves.
    """

    connect: float
    read: float
    total: float | None = None
    stall: float | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the issuers to trust (None: the public ones), and a client certificate with its key."""

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API: where it is and how it is asked. `headers` are those that carry the key; `private` are further words
    that must not be kept when a refusal quotes them."""

    api: Api
    url: str = field(repr=False)
    method: str
    timeout: Deadlines
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = Tls()
    proxy: str | None = field(default=None, repr=False)
    private: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The address without user, password and parameters, as it may be logged."""
        return shown_address(self.url)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered. `headers` are found whatever their case; `content` is at most 4 MiB of the reply,
    without the key if that is quoted in it, `cut` if there was more; `elapsed` is in seconds, sending included.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    cut: bool
    elapsed: float


class Client:
    """Sends requests to one endpoint, from any number of threads, over at most `pool_size` connections kept open.

    More threads than that may send at once; their connections are closed afterwards. All are closed once nobody holds
    the client any more.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock | None = None,
        pool_size: int = 4,
        pulse: Pulse | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._pulse = pulse or Pulse(self.clock)
        self._bandwidth = bandwidth
        self._template = _template(endpoint)
        self._connections = _connections(endpoint, pool_size)
        weakref.finalize(self, self._connections.close)
        self._keys = Mask(endpoint.headers.values())
        self._private = Mask((*endpoint.headers.values(), *endpoint.private))
        self._lock = threading.Lock()
        self._under_way: set[Exchange] = set()
        self._stopped = False

    def send(
        self,
        body: Body | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        url: str | None = None,
        params: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Answer:
        """Send one request, once, and read its answer whatever the status is. `params` come after the endpoint's own,
        unless `url`, another address of the same server, takes the place of its address.

        Raises ApiOutage or ApiTransient if there is no answer, Stopped after `stop_now`, and what the body raises.
        """
        whole = BytesBody(body) if isinstance(body, bytes) else body
        with self._exchange() as exchange, Outgoing(whole, exchange, progress, self._bandwidth) as outgoing:
            request = self._template
            if method or params or url:
                request = request.copy()
                request.method = method or request.method
                if params or url:
                    request.prepare_url(url or request.url, dict(params or {}))
            sent = CaseInsensitiveDict(self._template.headers)
            sent.update(headers or {})
            sent["Content-Length"] = str(whole.length)
            answer = self._answered(request, sent, outgoing, exchange)
        if 200 <= answer.status < 300 and not exchange.body_complete:
            raise ApiTransient(
                f"{SERVER[self.endpoint.api]} reported success ({answer.status}) before it had been sent everything.",
                api=self.endpoint.api,
                remedy="Nothing to do now: moichord tries again. If this goes on, look at that server's own log.",
                status=answer.status,
            )
        return answer

    def probe(self, method: str = "OPTIONS") -> int:
        """The status of a request that causes no work; raises ApiOutage or ApiTransient if there is none."""
        return self.send(b"", method=method).status

    def stop_now(self) -> None:
        """End all requests under way and refuse new ones: their threads get Stopped. Safe from any thread.

        A thread that still waits for a name or for a connection to be taken notices when that is over.
        """
        with self._lock:
            self._stopped = True
            ending = list(self._under_way)
        for exchange in ending:
            exchange.stop()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._connections.close()

    @contextmanager
    def _exchange(self) -> Iterator[Exchange]:
        """Register a request, so that `stop_now` finds it."""
        exchange = Exchange(self.endpoint.timeout, self.clock, self._pulse)
        with self._lock:
            if self._stopped:
                raise Stopped("stopping: no new request is sent", maybe_done=False)
            self._under_way.add(exchange)
        limits = self.endpoint.timeout
        # Until it is connected; then the exchange says at each part how long that may take.
        seconds = CONNECTING * limits.connect + limits.read
        try:
            with self._pulse.within(seconds, f"waits for the {self.endpoint.api} server"):
                yield exchange
        finally:
            with self._lock:
                self._under_way.discard(exchange)
            exchange.close()

    def _answered(
        self, request: requests.PreparedRequest, headers: Mapping[str, str], body: Outgoing, exchange: Exchange
    ) -> Answer:
        limits = self.endpoint.timeout
        started = self.clock.monotonic()
        try:
            timeout = (exchange.connect_timeout(), limits.read)
            with self._connections.answer(request, headers, body, timeout) as response:
                content = response.read(LARGEST_REPLY + 1, decode_content=True)
        except BodyFailed as failed:
            error = failed.error
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError) as failed:
            if exchange.stopped:
                raise Stopped("stopping: the request was given up", maybe_done=exchange.began) from failed
            raise self._failure(failed, exchange) from failed
        else:
            # What is a good answer is used: nothing but a key may be missing in it.
            masked = self._keys if response.status < 300 else self._private
            return Answer(
                status=response.status,
                headers=response.headers,
                content=masked(content[:LARGEST_REPLY]),
                cut=len(content) > LARGEST_REPLY,
                elapsed=self.clock.monotonic() - started,
            )
        raise error

    def _failure(self, error: Exception, exchange: Exchange) -> ApiFailure:
        fault, why = fault_of(error, exchange.phase, overdue=exchange.overdue)
        return failure_of_fault(self.endpoint.api, fault, at=self.endpoint.shown, why=why, maybe_done=exchange.began)


def _template(endpoint: Endpoint) -> requests.PreparedRequest:
    headers = {"User-Agent": "moichord", "Accept": "*/*", "Accept-Encoding": "identity", **endpoint.headers}
    request = requests.Request(endpoint.method, endpoint.url, headers=headers, params=dict(endpoint.params))
    try:
        template = request.prepare()
    except (requests.RequestException, ValueError) as error:
        # The library's message would quote the header's value, which may be the key.
        what = "url" if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema) else "key"
        problem = f"{endpoint.api}: the request cannot be made: check {endpoint.api}.{what}"
        raise ConfigurationInvalid([problem]) from None
    # A user and password in the address do not take the place of a configured Authorization.
    template.headers.update(headers)
    return template


def _connections(endpoint: Endpoint, kept: int) -> Connections:
    tls = endpoint.tls
    # The key's file is always named: only then is a key with a password refused instead of asked for on the terminal.
    key = tls.client_key or tls.client_cert
    cert = (tls.client_cert, key) if tls.client_cert and key else None
    return Connections(kept, verify=tls.ca_file or True, cert=cert, proxy=endpoint.proxy)
