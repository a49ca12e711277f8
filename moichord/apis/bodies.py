"""What a request carries, and its way out.

Owns what a body is (of known length, opened afresh for every try), its counting, and the check that it keeps its
length. It must not know what the bytes mean, nor where they go. Errors that leave it: `BodyLengthWrong`, and what the
body itself raises (an OSError inside `BodyFailed`).
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from moichord.apis.bandwidth import Bandwidth
from moichord.apis.exchange import Exchange
from moichord.errors import SampleFailure

Progress = Callable[[int], None]
"""Told how many bytes of the body have been handed to the network so far. What it raises ends the request."""


class Readable(Protocol):
    """An opened body. `read` gives at most `size` bytes, none at the end; the buffer may be used again afterwards."""

    def read(self, size: int, /) -> Any: ...

    def close(self) -> None: ...


class Body(Protocol):
    """What a request carries. It may be opened again for every try, and gives the same `length` bytes each time."""

    @property
    def length(self) -> int: ...

    def open(self) -> Readable: ...


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A small body that is in memory anyway."""

    content: bytes

    @property
    def length(self) -> int:
        return len(self.content)

    def open(self) -> Readable:
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True)
class ChainedBody:
    """Several bodies one behind the other; each is open only while it is being read."""

    parts: Sequence[Body]

    @property
    def length(self) -> int:
        return sum(part.length for part in self.parts)

    def open(self) -> "Chain":
        return Chain(self.parts)


class Chain:
    """The opened parts of a `ChainedBody`, one after the other."""

    def __init__(self, parts: Sequence[Body]) -> None:
        self._waiting = iter(parts)
        self._current: Readable | None = None

    def read(self, size: int, /) -> Any:
        while True:
            if self._current is None:
                part = next(self._waiting, None)
                if part is None:
                    return b""
                self._current = part.open()
            block = self._current.read(size)
            if block:
                return block
            self.close()

    def close(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


def as_json(content: Mapping[str, Any] | None) -> tuple[bytes, dict[str, str]]:
    """A JSON object as a body, with the header that says what it is; nothing at all for None."""
    if content is None:
        return b"", {}
    return json.dumps(dict(content)).encode("ascii"), {"Content-Type": "application/json"}


class BodyLengthWrong(SampleFailure):
    """A body gave fewer or more bytes than it had said: the file changed while it was being sent."""


class BodyFailed(Exception):
    """Carries what a body raised through the HTTP libraries, which would take an OSError for the network's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Outgoing:
    """A body while it is being sent: opened for this try, counted, held to its length and to the bandwidth."""

    def __init__(
        self, body: Body, exchange: Exchange, progress: Progress | None, bandwidth: Bandwidth | None = None
    ) -> None:
        self.exchange = exchange
        self._length = body.length
        self._stream = body.open()
        self._progress = progress
        self._bandwidth = bandwidth
        self._given = 0
        exchange.body_complete = body.length == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def read(self, size: int = -1, /) -> Any:
        """The next block; called again only when the one before has been sent."""
        if self._given:
            if self._progress is not None:
                self._progress(self._given)
            if self._given < self._length and self.exchange.refused_early():
                return b""
        if self._bandwidth is not None:
            size = self._bandwidth.largest(size if size >= 0 else self._length)
        try:
            with self.exchange.pulse.share("the body of a request"):
                block = self._stream.read(size)
        except OSError as error:
            raise BodyFailed(error) from error
        self._given += len(block)
        if self._given > self._length or (not block and self._given < self._length):
            raise BodyLengthWrong(
                f"A file changed while it was being sent: {self._given} bytes came instead of {self._length}.",
                remedy="Drop the sample again once nothing writes to it any more.",
            )
        if self._bandwidth is not None and block:
            self.exchange.pause(self._bandwidth.book(len(block), self.exchange.clock.monotonic()))
        self.exchange.body_complete = not block
        return block
