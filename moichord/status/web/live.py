"""Tells browsers that something has changed, by server-sent events (WHATWG HTML, 9.2).

Owns the one thread of control that looks, and the streams. An event holds a number only: the browser then asks for the
page again. It must not know what has changed. No error leaves it: a state that cannot be read is looked at again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from moichord.errors import StateUnwritable

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
STILL_HERE_SECONDS = 15.0
MOST_STREAMS = 64


class Live:
    """The streams of all browsers. `look` looks for something new, and gives a number that differs if there is."""

    def __init__(self, look: Callable[[], int]) -> None:
        self._look = look
        self._number = 0
        self._streams = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._listened_to = asyncio.Event()
        self._stopped = asyncio.Event()

    async def watch(self) -> None:
        """Look again and again while somebody listens, until `end`; then end the streams."""
        while not self._stopped.is_set():
            await self._listened_to.wait()
            if not self._stopped.is_set():
                await self._look_once()
            await _pause(self._stopped, LOOK_SECONDS)
        self._ended = True
        self._wake()

    def end(self) -> None:
        """Let `watch` come to its end."""
        self._stopped.set()
        self._listened_to.set()

    async def stream(self, request: Request) -> Response:  # noqa: ARG002
        """The endpoint."""
        if self._streams >= MOST_STREAMS:
            return PlainTextResponse("Too many pages are open: this one shows nothing new by itself.\n", 503)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        self._streams += 1
        self._listened_to.set()
        try:
            told = None
            while not self._ended:
                if told == self._number:
                    await _pause(self._changed, STILL_HERE_SECONDS)
                yield ": still here\n\n" if told == self._number else f"event: change\ndata: {self._number}\n\n"
                told = self._number
        finally:
            self._streams -= 1
            if not self._streams:
                self._listened_to.clear()

    async def _look_once(self) -> None:
        try:
            number = await run_in_threadpool(self._look)
        except StateUnwritable as error:
            log.debug("the page cannot be brought up to date: %s", error)
            return
        if number != self._number:
            self._number = number
            self._wake()

    def _wake(self) -> None:
        """Wake those who wait now; those who come later wait for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()


async def _pause(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
