"""One daemon's rooms in this process: real folders, real state, scripted servers, and a clock that the test moves.

Owns the life of such a house. Its workers and its housekeeping do nothing by themselves: the test gives them turns.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from moichord.apis.bodies import Body
from moichord.apis.http import Answer, Endpoint
from moichord.clock import Bell
from moichord.composition import Rooms, Signals, furnish
from moichord.config import Settings, read
from moichord.errors import ApiFailure
from moichord.queue.arrivals import Taking
from moichord.queue.database import Database
from moichord.queue.views import Views
from moichord.recovery import recover, take_over_attempts
from moichord.sample import Api, State, Submission
from moichord.status.sentences import Sentence, sentences
from moichord.status.standing import look
from moichord.storage import free_space
from moichord.wiring import endpoints
from tests.builders import write_image
from tests.fakes import FakeClock

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only looked for
RECORD = {"patient-name": "Biscuit", "request_species": "Dog", "test_type": "blood-smear", "clinic-name": "Harbour"}
LONGEST_STEP = 3600.0


@dataclass(frozen=True)
class Called:
    """One request as a scripted server saw it."""

    api: Api
    sample_id: str
    at: float
    key: str | None


@dataclass(frozen=True)
class Says:
    """An answer; `headers` as the server would send them, `reply` what it writes, if not something good."""

    status: int
    headers: Mapping[str, str] | None = None
    reply: bytes | None = None


Script = Callable[[Called], Says | ApiFailure | None]
"""What a server does with a request: a Says, a failure without an answer, or None for a good answer."""


class ScriptedClient:
    """Stands where `apis.http.Client` would: reads the whole body, and answers as the script says."""

    def __init__(self, endpoint: Endpoint, house: "House") -> None:
        self.endpoint = endpoint
        self.clock = house.clock
        self._house = house

    def send(self, body: Body | bytes, headers: Mapping[str, str] | None = None, **_: Any) -> Answer:
        headers = headers or {}
        content = body if isinstance(body, bytes) else _whole(body)
        sample_id = headers.get("X-Sample") or json.loads(content)["sample_id"]
        called = Called(self.endpoint.api, sample_id, self.clock.now(), headers.get("Idempotency-Key"))
        self._house.calls.append(called)
        said = self._house.script(called)
        if isinstance(said, ApiFailure):
            raise said
        said = said or Says(200)
        good = RECORD if self.endpoint.api is Api.METADATA else {"Status": "Success"}
        reply = json.dumps(good).encode() if said.reply is None else said.reply
        return Answer(said.status, said.headers or {}, reply, cut=False, elapsed=0.0)

    def stop_now(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is open."""


def _whole(body: Body) -> bytes:
    stream = body.open()
    pieces = []
    while piece := bytes(stream.read(1 << 20)):
        pieces.append(piece)
    stream.close()
    return b"".join(pieces)


class House:
    """One state and its folders below `root`, and the rooms of the daemon that runs with it."""

    def __init__(self, root: Path, clock: FakeClock | None = None, settings: Mapping[str, Any] | None = None) -> None:
        self.root = root
        self.clock = clock or FakeClock()
        self.script: Script = lambda _: None
        self.calls: list[Called] = []
        self.free: Callable[[Path], int] = free_space
        for name in ("inbox", "done", "failed"):
            (root / name).mkdir(exist_ok=True)
        self.settings = _settings(root, settings or {})
        self.rooms: Rooms

    def open(self) -> "House":
        """Wire the rooms and do what a start does."""
        self.database = Database(self.settings.state)
        clients = {api: ScriptedClient(endpoint, self) for api, endpoint in endpoints(self.settings).items()}
        self.signals = Signals(threading.Event(), threading.Event(), Bell())
        self.rooms = furnish(
            self.settings,
            self.clock,
            self.database,
            self.database.open(),
            clients,  # type: ignore[arg-type]
            self.signals,
            self._free_now,
        )
        self.views = Views(self.database)
        return self

    def start(self, *, adopt_work: bool = False) -> "House":
        """`open`, and finish what an earlier run had begun."""
        self.open()
        rooms = self.rooms
        rooms.spool.prepare(adopt=adopt_work)
        take_over_attempts(rooms.arrivals, rooms.endings, rooms.spool)
        recover(rooms.arrivals, rooms.transitions, rooms.interruptions, rooms.endings, rooms.spool, rooms.way_back)
        rooms.storage.look()
        return self

    def _free_now(self, path: Path) -> int:
        return self.free(path)

    def close(self) -> None:
        self.signals.stop()
        self.rooms.pool.close()
        self.database.close()

    # What people and scanners do

    def drop(self, *sample_ids: str, images: int = 1) -> list[Submission]:
        """Samples with that many images each, taken."""
        takings = []
        for sample_id in sample_ids:
            folder = self.settings.folders.inbox / sample_id
            folder.mkdir()
            for number in range(images):
                write_image(folder / f"{number}.dcm")
            manifest = self.rooms.manifest_of(folder)
            takings.append(Taking(sample_id, sample_id, manifest, images, images, 1000 * images, 1000))
        submissions = self.rooms.arrivals.intend(takings)
        refusals = self.rooms.spool.take([(one.folder_name, one.uuid) for one in submissions])
        assert set(refusals.values()) == {None}
        self.rooms.arrivals.taken(submissions)
        return submissions

    # What the threads would do

    def turn(self) -> float | None:
        """Give one submission its turn, as a worker does; or, if none is due, in how many seconds one would look."""
        found = self.rooms.turns.claim()
        if not isinstance(found, Submission):
            return found
        self.rooms.turns.process(found)
        return None

    def run(self, seconds: float = LONGEST_STEP) -> None:
        """Give turns as long as any is due within `seconds`, moving the clock from one to the next."""
        end = self.clock.now() + seconds
        while True:
            if self.turn() is None:
                continue
            hindered = self.rooms.storage.hindrance() is not None
            due = None if hindered else self.rooms.transitions.next_due()
            if due is None or due > end:
                self.clock.advance(max(0.0, end - self.clock.now()))
                return
            self.clock.advance(max(0.01, due - self.clock.now()))

    # What can be seen

    def newest(self, sample_id: str) -> Submission:
        found = self.views.newest(sample_id)
        assert found is not None
        return found

    def state(self, sample_id: str) -> State:
        return self.newest(sample_id).state

    def sentences(self) -> list[Sentence]:
        self.rooms.attendant.look()
        self.rooms.bulletin.publish([*self.rooms.storage.notices, *self.rooms.intake.notices], {})
        return sentences(look(self.views, self.settings.folders.failed, lambda: True, self.clock))

    def calls_to(self, api: Api, sample_id: str | None = None) -> list[Called]:
        return [one for one in self.calls if one.api is api and sample_id in (None, one.sample_id)]


@contextmanager
def house(settings: Mapping[str, Any] | None = None) -> Iterator[House]:
    """A house in memory, where the machine has a place for that; started, and closed at the end."""
    place = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="moichord-test-") as name:
        made = House(Path(name), settings=settings).start()
        try:
            yield made
        finally:
            made.close()


def _settings(root: Path, changes: Mapping[str, Any]) -> Settings:
    blocks: dict[str, Any] = {
        "version": 1,
        "folders": {name: str(root / name) for name in ("inbox", "done", "failed")},
        "state": str(root / "state.db"),
        "watch": {"settle_time": "1s", "min_free_space": "1MiB"},
        "metadata": {"url": "http://lab.test/metadata", "key": None},
        "upload": {"url": "http://images.test/upload", "key": None, "headers": {"X-Sample": "{sample_id}"}},
        "analytics": {"url": "http://analytics.test/start", "key": None},
    }
    for name, change in changes.items():
        blocks[name] = {**blocks.get(name, {}), **change} if isinstance(change, Mapping) else change
    return read(yaml.safe_dump(blocks), "moichord.yaml", {})
