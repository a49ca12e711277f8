"""What goes out of the house, by way of all the rooms that make it."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moichord.announcing import Announcing
from moichord.clock import SystemClock
from moichord.pulse import Pulse
from moichord.queue.conditions import Condition, Conditions
from moichord.reload import Configuration, Source
from moichord.sample import Api, State
from tests.house import Called, House, Says
from tests.receivers import ReceivingServer

OLD, NEW = "the-key-before-the-reload", "the-key-after-the-reload"
PATIENCE = 60


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    with ReceivingServer() as server:
        yield server


class Until(threading.Event):
    """Set once something is so; asked PATIENCE times, it gives up."""

    def __init__(self) -> None:
        super().__init__()
        self.begin(lambda: True)

    def begin(self, so: Callable[[], bool]) -> None:
        self._so = so
        self._asked = 0

    def is_set(self) -> bool:
        self._asked += 1
        return self._asked > 1 and (self._so() or self._asked > PATIENCE)


def refuse(called: Called) -> Says | None:
    return Says(422) if called.api is Api.METADATA else None


def test_a_key_of_before_a_reload_is_masked_in_messages_and_reports_too(
    tmp_path: Path, receiver: ReceivingServer
) -> None:
    key = tmp_path / "key"
    key.write_text(OLD)
    key.chmod(0o600)
    changes: dict[str, Any] = {
        "metadata": {"key": {"file": str(key)}},
        "notify": {
            "report_url": f"http://{receiver.address}/report",
            "urls": [f"json://{receiver.address}/message"],
            "window": "10ms",
        },
    }
    lab = House(tmp_path, settings=changes).start()
    source = Source(lambda: House(tmp_path, settings=changes).settings)
    clock = SystemClock()
    configuration = Configuration(lab.settings, source, clock, lambda _: {})
    announcing = Announcing(lab.rooms, lab.database, configuration, clock, Pulse(clock))
    bodies: dict[str, Callable[[], None]] = {}
    stopping = Until()
    announcing.begin(bodies.__setitem__, stopping)
    try:
        for thread in ("messages", "reports"):  # one look: what comes from now on is told
            stopping.begin(lambda: True)
            bodies[thread]()
        key.write_text(NEW)
        configuration.reload(lambda _settings, _clients: None)
        fail_and_quote(lab)
        for number, thread in enumerate(("messages", "reports"), start=1):
            stopping.begin(lambda number=number: len(receiver.told) >= number)
            bodies[thread]()
    finally:
        announcing.end()
        lab.close()
    told = {one.path: one.body for one in receiver.told}
    assert set(told) == {"/report", "/message"}
    for body in told.values():
        assert b"***" in body
        assert OLD.encode() not in body
        assert NEW.encode() not in body


def fail_and_quote(lab: House) -> None:
    """A sample fails, and both keys are quoted where the daemon's own words go."""
    lab.script = refuse
    lab.drop("A-1")
    words = f"the share {OLD} and {NEW} is gone"
    Conditions(lab.database, lab.clock).begins("a share", Condition("share", words, "it is back"))
    logging.getLogger("moichord").error("%s", words, extra={"submission": lab.newest("A-1").uuid})
    lab.run()
    assert lab.state("A-1") is State.FAILED
