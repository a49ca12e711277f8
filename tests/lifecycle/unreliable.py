"""The three APIs on a server that cannot be relied on: by chance it resets, stalls, refuses, lies and loses answers.

Owns the faults, their chances, and the ledger of what was asked and what was stored. What befalls a request depends on
the seed, on what it is about and on how often that was asked before, and on nothing else. It uses nothing of moichord,
so that it can judge it.

A request is about a sample, which its header X-Sample names; an upload about an image of it, told by its length.
"""

import hashlib
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from time import time
from typing import Self

from tests.fault_server import FaultServer, Peer, Seen, reply

STALL = 30.0
WELL = "well"


class Treatment(StrEnum):
    """What befalls a request."""

    RESET = "reset"
    RESET_IN_BODY = "reset in the body"
    STALL = "stalls before the body"
    EARLY = "answers 503 before the body, and closes"
    TOO_MANY = "429 with Retry-After"
    BUSY = "503 with Retry-After as a date"
    BROKEN = "500"
    GATEWAY = "502, of a gateway that does not know what was done"
    SILENT = "carried out, no answer"
    LOST = "carried out, closed instead of the answer"
    CUT = "carried out, the answer is cut short"
    TRICKLE = "carried out, the answer trickles"
    GARBAGE = "carried out, answered with what is not HTTP"
    CREDENTIALS = "401"
    TWICE = "answered twice"
    INFORMED = "answered after two informational answers"
    JUNK = "answered well, with text that is not JSON"


ANSWERED_WELL = frozenset({WELL, Treatment.TWICE, Treatment.INFORMED, Treatment.JUNK})
NOT_CARRIED_OUT = frozenset(
    {
        Treatment.RESET,
        Treatment.RESET_IN_BODY,
        Treatment.STALL,
        Treatment.EARLY,
        Treatment.TOO_MANY,
        Treatment.BUSY,
        Treatment.BROKEN,
        Treatment.CREDENTIALS,
    }
)
# In a thousand requests; the rest goes well. What takes its time, and what opens a circuit at once, is rare.
CHANCES = {
    Treatment.RESET: 25,
    Treatment.RESET_IN_BODY: 20,
    Treatment.STALL: 4,
    Treatment.EARLY: 25,
    Treatment.TOO_MANY: 25,
    Treatment.BUSY: 20,
    Treatment.BROKEN: 20,
    Treatment.GATEWAY: 20,
    Treatment.SILENT: 4,
    Treatment.LOST: 30,
    Treatment.CUT: 20,
    Treatment.TRICKLE: 4,
    Treatment.GARBAGE: 20,
    Treatment.CREDENTIALS: 1,
    Treatment.TWICE: 30,
    Treatment.INFORMED: 30,
    Treatment.JUNK: 30,
}


@dataclass(slots=True)
class Asked:
    """One request, in the order in which their heads arrived. `sha256` of its body, if all of that came."""

    api: str
    about: str
    key: str | None
    treatment: str
    sha256: str | None = None


@dataclass
class Ledger:
    """All requests; how often each was made; the SHA-256 of the bytes that are stored, by what they are about."""

    seed: int
    chances: Mapping[Treatment, int]
    asked: list[Asked] = field(default_factory=list)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)
    stored: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, api: str, about: str, key: str | None) -> Asked:
        with self.lock:
            self.times[api, about] += 1
            asked = Asked(api, about, key, self._chance(api, about, self.times[api, about]))
            self.asked.append(asked)
            return asked

    def store(self, about: str, sha256: str) -> bool:
        """Whether that was new."""
        with self.lock:
            return self.stored.setdefault(about, sha256) is sha256

    def _chance(self, api: str, about: str, time: int) -> str:
        number = random.Random(f"{self.seed} {api} {about} {time}").randrange(1000)  # noqa: S311  # no secret
        for treatment, chance in self.chances.items():
            number -= chance
            if number < 0:
                # A record that is not JSON is no answer to a question about metadata.
                return WELL if treatment is Treatment.JUNK and api == "metadata" else treatment
        return WELL


class UnreliableServer:
    """Listens while it is entered, with TLS if a context is given. `chances` in a thousand requests."""

    def __init__(
        self, seed: int, tls: ssl.SSLContext | None = None, chances: Mapping[Treatment, int] = CHANCES
    ) -> None:
        self.ledger = Ledger(seed, chances)
        self._server = FaultServer(self._serve, tls=tls)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.__exit__(*exception)

    @property
    def connections(self) -> int:
        return self._server.connections

    def url(self, api: str) -> str:
        return self._server.url.removesuffix("/instances") + f"/{api}"

    def _serve(self, peer: Peer) -> None:
        while (seen := peer.head()) is not None:
            api = seen.line.split()[1].strip("/")
            if not self._exchange(peer, seen, api):
                return
            seen.body.clear()

    def _exchange(self, peer: Peer, seen: Seen, api: str) -> bool:
        """One request and what befalls it; whether the connection goes on."""
        length = seen.headers["content-length"]
        about = seen.headers["x-sample"] + (f" {length}" if api == "instances" else "")
        asked = self.ledger.enter(api, about, seen.headers.get("idempotency-key"))
        if asked.treatment in _BEFORE_THE_BODY:
            _BEFORE_THE_BODY[asked.treatment](peer, seen)
            return False
        peer.body(seen)
        if len(seen.body) < int(length):
            return False
        asked.sha256 = hashlib.sha256(seen.body).hexdigest()
        answer = b"" if asked.treatment in NOT_CARRIED_OUT else self._carried_out(asked)
        return _AFTER_THE_BODY[asked.treatment](peer, answer)

    def _carried_out(self, asked: Asked) -> bytes:
        if asked.api == "metadata":
            said: dict[str, str] = {
                "patient-name": f"Animal {asked.about}",
                "request_species": "Dog",
                "test_type": "blood-smear",
                "clinic-name": "Harbour Street",
            }
        elif asked.api == "analytics":
            said = {"status": "queued"}
        else:
            assert asked.sha256 is not None
            said = {"Status": "Success" if self.ledger.store(asked.about, asked.sha256) else "AlreadyStored"}
        return reply(200, json.dumps(said).encode(), {"Content-Type": "application/json"})


def _reset(peer: Peer, _seen: Seen) -> None:
    peer.reset()


def _reset_in_body(peer: Peer, seen: Seen) -> None:
    peer.body(seen, int(seen.headers["content-length"]) // 2)
    peer.reset()


def _stall(peer: Peer, _seen: Seen) -> None:
    peer.server.ended.wait(STALL)


def _early(peer: Peer, _seen: Seen) -> None:
    peer.send(reply(503, b"no room", {"Retry-After": "0", "Connection": "close"}))


def _send(answer: bytes, *, again: bool = True) -> Callable[[Peer, bytes], bool]:
    def send(peer: Peer, _answer: bytes) -> bool:
        peer.send(answer)
        return again

    return send


def _busy(peer: Peer, _answer: bytes) -> bool:
    peer.send(reply(503, b"", {"Retry-After": formatdate(time() + 1, usegmt=True)}))
    return True


def _silent(peer: Peer, _answer: bytes) -> bool:
    peer.server.ended.wait(STALL)
    return False


def _lost(_peer: Peer, _answer: bytes) -> bool:
    return False


def _cut(peer: Peer, answer: bytes) -> bool:
    peer.send(answer[:-3])
    return False


def _trickle(peer: Peer, answer: bytes) -> bool:
    peer.send(answer[:-9])
    peer.trickle(answer[-9:], every=STALL / 9)
    return False


def _twice(peer: Peer, answer: bytes) -> bool:
    peer.send(answer + answer)
    return True


def _informed(peer: Peer, answer: bytes) -> bool:
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    peer.send(answer)
    return True


def _well(peer: Peer, answer: bytes) -> bool:
    peer.send(answer)
    return True


_BEFORE_THE_BODY: dict[str, Callable[[Peer, Seen], None]] = {
    Treatment.RESET: _reset,
    Treatment.RESET_IN_BODY: _reset_in_body,
    Treatment.STALL: _stall,
    Treatment.EARLY: _early,
}

_AFTER_THE_BODY: dict[str, Callable[[Peer, bytes], bool]] = {
    Treatment.TOO_MANY: _send(reply(429, b"", {"Retry-After": "1"})),
    Treatment.BUSY: _busy,
    Treatment.BROKEN: _send(reply(500, b"<h1>Oops</h1>")),
    Treatment.GATEWAY: _send(reply(502, b"<h1>Bad Gateway</h1>")),
    Treatment.SILENT: _silent,
    Treatment.LOST: _lost,
    Treatment.CUT: _cut,
    Treatment.TRICKLE: _trickle,
    Treatment.GARBAGE: _send(b"\x00\x01 nothing that anybody could read\r\n\r\n", again=False),
    Treatment.CREDENTIALS: _send(reply(401)),
    Treatment.TWICE: _twice,
    Treatment.INFORMED: _informed,
    Treatment.JUNK: _send(reply(200, b"<p>thanks \xff</p>", {"Content-Type": "application/json"})),
    WELL: _well,
}
