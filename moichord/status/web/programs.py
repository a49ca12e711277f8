"""Programs that sign in with every request: name and password as RFC 7617 has them ("Basic").

Owns that check, and what of it is remembered, so that a password is hashed once and not for each request. It must not
know what is asked for. Errors: ConfigurationInvalid if the password file cannot be used.

Passwords that are not remembered are hashed one after the other: each wrong one is counted before the next is heard,
and of many requests that bring the right one together only the first is hashed; the others are known by it.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import math
import secrets
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from moichord.clock import Clock
from moichord.sample import printable
from moichord.status.web.attempts import Attempts
from moichord.status.web.passwords import People

log = logging.getLogger(__name__)

CHALLENGE = {"WWW-Authenticate": 'Basic realm="moichord", charset="UTF-8"'}
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class _Known:
    """A password that was right: as the file had it then, and its digest under a key that only this process has."""

    stored: str
    digest: bytes


class Programs:
    """Who asks without a cookie. `attempts` are those of the login too: guessing here is no easier than there."""

    def __init__(self, attempts: Attempts, clock: Clock) -> None:
        self._attempts = attempts
        self._clock = clock
        self._one_by_one = asyncio.Lock()
        self._key = secrets.token_bytes(32)
        self._known: dict[str, _Known] = {}

    async def name(self, request: Request, people: People) -> str | Response:
        """The name that the request's credentials are right for, or the refusal."""
        given = _credentials(request.headers.get("authorization", ""))
        if given is None:
            return PlainTextResponse("Give name and password as Basic credentials.\n", 401, CHALLENGE)
        name, password = given
        address = request.client.host if request.client else "unknown"
        answer = self._at_once(address, name, password, people)
        if answer is not None:
            return answer
        async with self._one_by_one:
            answer = self._at_once(address, name, password, people)  # others have been heard meanwhile
            return await self._hashed(address, name, password, people) if answer is None else answer

    def _at_once(self, address: str, name: str, password: str, people: People) -> str | Response | None:
        """The answer where the password need not be hashed."""
        # Before what is remembered, too: whoever has to wait must not learn from it which password is right.
        wait = self._attempts.wait(address, name, self._clock.monotonic())
        if wait > 0:
            seconds = math.ceil(wait)
            text = f"Too many tries. The next one is heard in {seconds} s.\n"
            return PlainTextResponse(text, 429, {"Retry-After": f"{seconds}"})
        known = self._known.get(name)
        right = known is not None and hmac.compare_digest(known.digest, self._digest(password))
        return name if known is not None and right and people.stored(name) == known.stored else None

    async def _hashed(self, address: str, name: str, password: str, people: People) -> str | Response:
        stored = people.stored(name)
        if not await run_in_threadpool(people.are, name, password) or stored is None:
            self._attempts.failed(address, name, self._clock.monotonic())
            log.warning("the page: a program at %s gave a wrong name or password", printable(address))
            return PlainTextResponse("The name or the password is wrong.\n", 401, CHALLENGE)
        self._attempts.succeeded(address, name)
        self._known[name] = _Known(stored, self._digest(password))
        return name

    def _digest(self, password: str) -> bytes:
        return hashlib.blake2b(password.encode("utf-8", "surrogateescape"), key=self._key).digest()


def _credentials(header: str) -> tuple[str, str] | None:
    """Name and password; None for what is no such header."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name[:LONGEST_NAME], password) if colon else None
