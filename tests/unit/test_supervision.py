"""What systemd hears, on a real socket."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.pulse import GRACE, Pulse
from moichord.sd_notify import Notifier
from moichord.supervision import START_SECONDS, Supervision, describe
from tests.fakes import FakeClock

WATCHDOG = 60.0
Ticks = Callable[..., None]


class Systemd:
    """The other end of the socket."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self._messages: list[str] = []

    def listen(self) -> None:
        """Take what has come: few messages find room in the socket."""
        while True:
            try:
                self._messages += self._socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return

    def heard(self) -> list[str]:
        """Every message since the last call."""
        self.listen()
        messages, self._messages = self._messages, []
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path)
    yield systemd
    systemd.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pulse(clock: FakeClock) -> Pulse:
    return Pulse(clock)


@pytest.fixture
def supervision(systemd: Systemd, pulse: Pulse, clock: FakeClock) -> Supervision:
    return Supervision(Notifier(systemd.address), WATCHDOG, pulse, clock)


@pytest.fixture
def ticks(supervision: Supervision, systemd: Systemd, clock: FakeClock) -> Ticks:
    def pass_by(seconds: int, told: Supervision = supervision) -> None:
        for _ in range(seconds):
            clock.advance(1.0)
            told.tick()
            systemd.listen()

    return pass_by


def test_ready_is_told_once_and_with_a_status(supervision: Supervision, systemd: Systemd) -> None:
    supervision.show("nothing to do")
    supervision.ready()
    supervision.ready()

    assert systemd.heard() == ["READY=1", "STATUS=nothing to do"]


def test_a_start_that_takes_its_time_does_not_hold_up_the_machine(
    supervision: Supervision, systemd: Systemd, clock: FakeClock, ticks: Ticks
) -> None:
    ticks(int(START_SECONDS) - 1)
    assert "READY=1" not in systemd.heard()

    ticks(1)

    assert "READY=1" in systemd.heard()


def test_it_is_alive_at_least_twice_in_the_time_that_the_watchdog_gives(
    supervision: Supervision, systemd: Systemd, clock: FakeClock, ticks: Ticks
) -> None:
    ticks(600)

    assert systemd.heard().count("WATCHDOG=1") >= 2 * 600 / WATCHDOG


def test_without_a_watchdog_nothing_is_told_of_being_alive(
    systemd: Systemd, pulse: Pulse, clock: FakeClock, ticks: Ticks
) -> None:
    ticks(100, Supervision(Notifier(systemd.address), None, pulse, clock))

    assert "WATCHDOG=1" not in systemd.heard()


def test_when_a_thread_hangs_nothing_is_told_and_the_log_names_it_once(
    supervision: Supervision,
    systemd: Systemd,
    pulse: Pulse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    ticks: Ticks,
) -> None:
    with pulse.within(10.0, "writes the state"):
        clock.advance(10.0 + GRACE)
        systemd.heard()
        ticks(2 * int(WATCHDOG))
        heard = systemd.heard()
    assert "WATCHDOG=1" not in heard
    assert any("STATUS=" in one and "MainThread hangs since" in one for one in heard)
    (record,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert "the thread MainThread hangs" in record.getMessage()
    assert "(writes the state)" in record.getMessage()
    assert "test_supervision.py" in record.getMessage(), "where in the code it is"

    ticks(2)
    assert "WATCHDOG=1" in systemd.heard(), "and when it goes on, so does this"


def test_a_share_that_does_not_answer_is_told_of_and_makes_nobody_start_anew(
    supervision: Supervision, systemd: Systemd, pulse: Pulse, clock: FakeClock, ticks: Ticks
) -> None:
    supervision.show("nothing to do")
    with pulse.share("the inbox", 60.0):
        ticks(3600)
        heard = systemd.heard()
        assert supervision.notices()[0].startswith("no answer from the inbox since ")
    assert heard.count("WATCHDOG=1") >= 2 * 3600 / WATCHDOG
    assert [one for one in heard if one.startswith("STATUS=")][-1].startswith(
        "STATUS=nothing to do; no answer from the inbox since "
    )
    assert supervision.notices() == []


def test_an_upload_that_is_slow_but_moves_is_alive(
    supervision: Supervision, systemd: Systemd, pulse: Pulse, clock: FakeClock, ticks: Ticks
) -> None:
    with pulse.within(120.0, "waits for the upload server"):
        for _ in range(60):
            ticks(119)
            pulse.beat()
    assert systemd.heard().count("WATCHDOG=1") >= 2 * 60 * 119 / WATCHDOG


def test_a_status_is_told_when_it_changes_and_at_most_once_a_second(
    supervision: Supervision, systemd: Systemd, clock: FakeClock, ticks: Ticks
) -> None:
    for text in ("1 sending", "1 sending", "2 sending", "3 sending"):
        supervision.show(text)
    ticks(5)

    assert [one for one in systemd.heard() if one.startswith("STATUS=")] == ["STATUS=3 sending"]


def test_a_reload_begins_and_ends_even_if_it_breaks(
    supervision: Supervision, systemd: Systemd, clock: FakeClock
) -> None:
    with pytest.raises(ValueError, match="broken"), supervision.reloading():
        heard = systemd.heard()
        raise ValueError("broken")

    assert heard == ["RELOADING=1", f"MONOTONIC_USEC={round(clock.monotonic() * 1_000_000)}"]
    assert systemd.heard() == ["READY=1"]


def test_while_requests_in_flight_are_waited_for_more_time_is_asked_for_and_not_afterwards(
    supervision: Supervision, systemd: Systemd, clock: FakeClock, ticks: Ticks
) -> None:
    supervision.stopping(300.0)
    assert systemd.heard() == ["STOPPING=1", "STATUS=stopping: requests in flight may take 300 s more"]

    ticks(299)
    asked = [int(one.partition("=")[2]) for one in systemd.heard() if one.startswith("EXTEND_TIMEOUT_USEC=")]
    assert len(asked) == 299
    assert min(asked) > 30_000_000
    ticks(100)
    assert not [one for one in systemd.heard() if one.startswith("EXTEND_TIMEOUT_USEC=")]


def test_without_a_supervisor_no_thread_runs_and_nothing_breaks(pulse: Pulse, clock: FakeClock) -> None:
    nobody = Supervision(Notifier(None), None, pulse, clock)
    before = threading.active_count()
    nobody.start()
    assert threading.active_count() == before
    nobody.ready()
    nobody.tick()
    with nobody.reloading():
        nobody.stopping(1.0)
    nobody.end()


def test_the_status_line_is_asked_for_until_the_end(supervision: Supervision, systemd: Systemd) -> None:
    stopping, clock = threading.Event(), FakeClock()
    lines = iter(["1 sending", "2 sending"])

    def line() -> str:
        text = next(lines)
        if text.startswith("2"):
            stopping.set()
        return text

    describe(line, supervision, stopping, clock)
    supervision.tick()

    assert "STATUS=2 sending" in systemd.heard()
