"""Somebody who is told something by one small request: the receiver of reports, or of heartbeats.

Owns that request, which is bounded like every other one, and what its answer means here: it was taken, or not. It must
not know what is told. No sample waits for it, so that it has no circuit, and nothing of it belongs to the three APIs.
Errors that leave it: NotTold, which names the server by its key only; its address may hold a secret.
"""

import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from moichord.apis.bodies import BytesBody, Outgoing
from moichord.apis.exchange import Exchange
from moichord.apis.faults import fault_of
from moichord.apis.http import Deadlines
from moichord.apis.transport import Connections
from moichord.clock import Clock
from moichord.errors import NotTold

LARGEST_REPLY = 64 * 1024
DEADLINES = Deadlines(connect=10.0, read=20.0, total=60.0)
REFUSED = frozenset({400, 409, 413, 422})
"""Statuses (RFC 9110, 15.5) that are about what was sent; all others are about the server, its address or its load."""
_OWN = {"User-Agent": "moichord", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """`key` is the key of the configuration that names it (`notify.report_url`), as people are told of it."""

    key: str
    clock: Clock
    deadlines: Deadlines = DEADLINES

    def tell(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send one request, once. Raises NotTold unless the answer is a success."""
        status = self._status(method, url, body, headers or {})
        if not 200 <= status < 300:
            problem = f"{self.key}: the server did not take it (status {status})"
            raise NotTold(problem, refused=status in REFUSED)

    def _status(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        # A pulse of its own: whatever happens here, the daemon does not hang.
        exchange = Exchange(self.deadlines, self.clock)
        try:
            request = requests.Request(method, url, headers={**_OWN, **headers}).prepare()
            request.headers["Content-Length"] = str(len(body))
            timeout = (self.deadlines.connect, self.deadlines.read)
            with (
                closing(Connections(1)) as way,
                Outgoing(BytesBody(body), exchange, None) as outgoing,
                way.answer(request, request.headers, outgoing, timeout) as reply,
            ):
                reply.read(LARGEST_REPLY)
                return reply.status
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as failed:
            fault, _ = fault_of(failed, exchange.phase, overdue=exchange.overdue)
            # Not chained: the library's own words quote the address.
            raise NotTold(f"{self.key}: the server did not take it ({fault})") from None
        finally:
            exchange.close()
