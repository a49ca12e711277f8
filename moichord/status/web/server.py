"""Listens, and serves the page, in a thread of the daemon's.

Owns the socket and the life of uvicorn in that thread. A page that cannot be served stops nothing else: that is said,
and tried again. It must not know what is served. No error leaves `run` but faults.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp

from moichord.clock import Clock
from moichord.config import Address
from moichord.status.web.live import Live

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
HEED_SECONDS = 0.5
LAST_ANSWERS_SECONDS = 2
MOST_CONNECTIONS = 256
BACKLOG = 64
THREADS = 8

Make = Callable[[Live], ASGIApp]


class PageServer:
    """Serves what `make` makes, at `address`. `look` looks for something new, for the pages that are open."""

    def __init__(self, address: Address, make: Make, look: Callable[[], int], clock: Clock) -> None:
        self._address = address
        self._make = make
        self._look = look
        self._clock = clock
        self._problem: str | None = None
        self._listens = threading.Event()
        self._listens_at: Address | None = None

    @property
    def notices(self) -> list[str]:
        """What people should know who do not see the page."""
        return [] if self._problem is None else [self._problem]

    def address_once_it_listens(self, seconds: float) -> Address | None:
        """Where it listens; None if it does not within that time."""
        return self._listens_at if self._listens.wait(seconds) else None

    def run(self, stopping: threading.Event) -> None:
        """Serve until `stopping` is set."""
        while not stopping.is_set():
            listening = self._listening()
            if listening is None:
                self._clock.wait(stopping, AGAIN_SECONDS)
                continue
            with listening:
                host, port = listening.getsockname()[:2]
                self._listens_at = Address(host, port)
                self._listens.set()
                log.info("the page is at http://%s/", self._listens_at)
                try:
                    asyncio.run(self._serve(listening, stopping))
                finally:
                    self._listens.clear()

    def _listening(self) -> socket.socket | None:
        """The socket; None, and people are told, if it cannot be had."""
        try:
            found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
            family, _, _, _, where = found[0]
            listening = socket.create_server(where, family=family, backlog=BACKLOG)
            # Inherited by what it accepts: a small answer in two pieces would else wait 40 ms for an acknowledgement
            # (RFC 896). asyncio sees to that only where the protocol was named.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            problem = f"the page cannot be served at {self._address}: {why}; see web.listen"
            if problem != self._problem:
                log.error("%s", problem)
            self._problem = problem
            return None
        self._problem = None
        return listening

    async def _serve(self, listening: socket.socket, stopping: threading.Event) -> None:
        live = Live(self._look)
        server = _Server(uvicorn.Config(self._make(live), **_OPTIONS), stopping, live.end)
        both = {asyncio.create_task(server.serve(sockets=[listening])), asyncio.create_task(live.watch())}
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        live.end()  # the one that has not ended, whichever it is
        server.end()
        await asyncio.gather(*both)


class _Server(uvicorn.Server):
    """Looks twice a second what there is to do, and not ten times: a page that nobody looks at costs next to nothing.

    Once it is `stopping`, no answers begin any more, and those that are being given end; `end_streams` lets those end
    that have no end of their own.
    """

    def __init__(self, config: uvicorn.Config, stopping: threading.Event, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._end_streams = end_streams
        self._ending = asyncio.Event()

    def end(self) -> None:
        """The same, at once."""
        self.should_exit = True
        self._ending.set()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stopping.is_set()

    async def main_loop(self) -> None:
        while not await self.on_tick(counter=0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), HEED_SECONDS)
        self._end_streams()


_OPTIONS: dict[str, Any] = {
    "lifespan": "off",
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "log_level": "warning",
    "server_header": False,
    "limit_concurrency": MOST_CONNECTIONS,
    "timeout_graceful_shutdown": LAST_ANSWERS_SECONDS,
    # A proxy on this machine may say who asks, and that the browser speaks https; nobody else may.
    "proxy_headers": True,
    "forwarded_allow_ips": "127.0.0.1,::1",
    "h11_max_incomplete_event_size": 32 * 1024,
}
