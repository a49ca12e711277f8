"""A turn that no longer moves is told of, wherever it stands; one that waits for a server or moves on is not."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moichord.pipeline import pipeline
from moichord.pipeline.upload_pool import Bench, UploadPool
from moichord.pulse import Pulse
from moichord.sample import State
from moichord.spool import Spool
from tests.fakes import FakeClock
from tests.house import House, house

DAYS = 7 * 86400.0
PATIENCE = 20.0


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


class Stuck:
    """Stands in front of a function: whoever calls it stays there until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self._real: Callable[..., Any] = getattr(owner, name)
        self.reached, self._gate = threading.Event(), threading.Event()

        def wait(*given: Any, **named: Any) -> Any:
            self.reached.set()
            assert self._gate.wait(PATIENCE)
            return self._real(*given, **named)

        monkeypatch.setattr(owner, name, wait)

    def go(self) -> None:
        self._gate.set()


@pytest.mark.parametrize(
    ("owner", "name"),
    [(pipeline, "tag_images"), (pipeline, "archive_sample"), (Spool, "move_out")],
    ids=["tags", "archive", "move"],
)
def test_a_worker_that_stays_with_a_samples_files_for_days_is_told_of(
    lab: House, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    stuck = Stuck(monkeypatch, owner, name)
    pulse: Pulse = lab.rooms.turns._pulse
    lab.drop("S1")
    turn = threading.Thread(target=lab.turn)
    turn.start()
    assert stuck.reached.wait(PATIENCE)
    assert pulse.waiting() == []
    lab.clock.advance(DAYS)
    assert [one.what for one in pulse.waiting()] == ["the files of S1"]
    assert pulse.hanging() == [], "a new start would wait for the same share"
    stuck.go()
    turn.join()
    assert lab.state("S1") is State.DONE
    lab.clock.advance(DAYS)
    assert pulse.waiting() == []


def test_image_by_image_a_turn_may_take_as_long_as_it_needs(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse: Pulse = lab.rooms.turns._pulse
    told: list[str] = []
    real = pipeline.archive_sample.__globals__["lay"]

    def slowly(*given: Any, **named: Any) -> Any:
        lab.clock.advance(500)
        told.extend(one.what for one in pulse.waiting())
        return real(*given, **named)

    monkeypatch.setitem(pipeline.archive_sample.__globals__, "lay", slowly)
    lab.drop("S1", images=5)
    lab.turn()
    assert lab.state("S1") is State.DONE
    assert told == []


def test_whoever_waits_for_the_pool_or_for_a_slot_in_it_waits_for_others() -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    pool, gate, both = UploadPool(1, pulse=pulse), threading.Event(), threading.Barrier(3)

    def send(bench: Bench) -> None:
        both.wait(PATIENCE)
        with bench.slot, pulse.untimed():
            assert gate.wait(PATIENCE)

    def read(_bench: Bench) -> None:
        both.wait(PATIENCE)
        assert gate.wait(PATIENCE)

    for jobs, told in (([send, send], []), ([read, send], ["the images of a sample"])):
        caller = threading.Thread(target=pool.run, args=(jobs, lambda _: True))
        gate.clear()
        caller.start()
        deadline = time.monotonic() + PATIENCE
        both.wait(PATIENCE)
        while len(doing := list(pulse._doings.values())) < 3 or sum(one.due is not None for one in doing) != len(told):
            assert time.monotonic() < deadline
        clock.advance(DAYS)
        assert [one.what for one in pulse.waiting()] == told
        gate.set()
        caller.join()
    pool.close()
