"""What the stand-in APIs received: one record for each request, in memory and, on request, in a file.

Owns the log that tests read, its JSON lines, and waiting for something to be received. It must not know sockets,
faults or DICOM. `TimeoutError` leaves `wait_for`, `OSError` a record file that cannot be written.

A record is in the log, and in the file, before its answer is sent: whatever a client was told, the log knows.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from moichord.sample import Api

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """One request and what was made of it.

    `at` seconds since the epoch, UTC, when the body had arrived; `headers` with lower-case names and without the
    keys; `json` the parsed body of metadata and analytics; `length` and `sha256` (lower-case hexadecimal) of the
    body that arrived; `complete` whether that was all that Content-Length promised; `status` the answer, or None
    where the connection ended without one; `stored` Orthanc's "Success" or "AlreadyStored", None if nothing is.
    """

    api: Api
    at: float
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    sop_instance_uid: str | None = None
    patient_id: str | None = None
    idempotency_key: str | None = None
    length: int = 0
    sha256: str = ""
    complete: bool = True
    authorized: bool = True
    status: int | None = None
    stored: str | None = None

    @property
    def sample_id(self) -> str | None:
        """The sample that a JSON body names."""
        value = self.json.get("sample_id") if isinstance(self.json, dict) else None
        return value if isinstance(value, str) else None

    def is_about(self, sample_id: str) -> bool:
        """Whether the request concerns this sample; images by their PatientID, with or without attempt number."""
        if self.patient_id is None:
            return self.sample_id == sample_id
        return names_sample(self.patient_id, sample_id)

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        values = json.loads(line)
        return cls(**{**values, "api": Api(values["api"])})


def names_sample(patient_id: str, sample_id: str) -> bool:
    """Whether a PatientID stands for this sample, with or without an attempt number of three digits."""
    stem, _, attempt = patient_id.rpartition("-")
    return patient_id == sample_id or (stem == sample_id and attempt.isdecimal() and len(attempt) == 3)


def read_record(file: Path) -> list[Received]:
    """The requests that a record file holds; a last line that is still being written is left out."""
    lines = file.read_bytes().splitlines(keepends=True)
    return [Received.from_line(line) for line in lines if line.endswith(b"\n")]


class RequestLog:
    """All requests in the order of their answers, to be read and waited for from any thread."""

    def __init__(self, file: Path | None = None, on_record: Callable[[Received], None] | None = None) -> None:
        self._file = file.open("ab", buffering=0) if file else None
        self._on_record = on_record
        self._entries: list[Received] = []
        self._in_flight: Counter[Api] = Counter()
        self._most: Counter[Api] = Counter()
        self._whole: Counter[Api] = Counter()
        self._changed = threading.Condition(threading.RLock())

    def close(self) -> None:
        if self._file:
            self._file.close()

    def begin(self, api: Api) -> None:
        """A request has arrived; it is in flight until it is recorded."""
        with self._changed:
            self._in_flight[api] += 1
            self._most[api] = max(self._most[api], self._in_flight[api])
            self._changed.notify_all()

    def came_whole(self, api: Api) -> None:
        """The body of a request has been read to its end; it is not answered yet."""
        with self._changed:
            self._whole[api] += 1
            self._changed.notify_all()

    def record(self, received: Received) -> None:
        """Write down a request whose answer is decided but not yet sent.

        It is no longer in flight: whoever sees its answer may send the next one.
        """
        with self._changed:
            self._in_flight[received.api] -= 1
            if self._file:
                self._file.write(received.to_line())
            self._entries.append(received)
            if self._on_record:
                self._on_record(received)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Received]:
        return iter(self.all())

    def __len__(self) -> int:
        with self._changed:
            return len(self._entries)

    def all(self) -> tuple[Received, ...]:
        with self._changed:
            return tuple(self._entries)

    def calls(self, api: Api, *, answered: int | None = None) -> tuple[Received, ...]:
        """The requests to one API that ask for work, OPTIONS probes left out; of one status if `answered` is given."""
        return tuple(
            r
            for r in self.all()
            if r.api is api and r.method != "OPTIONS" and (answered is None or r.status == answered)
        )

    def in_flight(self, api: Api) -> int:
        """Requests that have arrived at `api` and whose answer is not decided yet."""
        with self._changed:
            return self._in_flight[api]

    def whole(self, api: Api) -> int:
        """Requests to `api` that have come to the end of their bodies so far, answered or not."""
        with self._changed:
            return self._whole[api]

    def most_at_once(self, api: Api) -> int:
        """The highest number of requests that were in flight at `api` together."""
        with self._changed:
            return self._most[api]

    def wait_for(self, predicate: Callable[["RequestLog"], T], timeout: float = 10.0) -> T:
        """What `predicate` says of this log as soon as that is true.

        Raises:
            TimeoutError: it was not true within `timeout` seconds; the message lists what was received.
        """
        with self._changed:
            result = self._changed.wait_for(lambda: predicate(self), timeout)
            if not result:
                seen = ", ".join(f"{r.api} {r.method} {r.status}" for r in self._entries) or "nothing"
                raise TimeoutError(f"not received within {timeout:g} s; received: {seen}")
            return result
