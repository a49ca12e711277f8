"""What goes to the socket that systemd names."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.sd_notify import LONGEST_STATUS, Notifier, microseconds, status, watchdog_seconds


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(10.0)
        yield listening


def test_messages_go_out_as_one_datagram(listener: socket.socket, tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "notify"))

    Notifier(str(tmp_path / "notify")).tell("READY=1", "STATUS=2 sending")

    assert listener.recv(4096) == b"READY=1\nSTATUS=2 sending"


def test_a_name_in_the_abstract_namespace_is_found(listener: socket.socket, tmp_path: Path) -> None:
    name = f"moichord-test-{os.getpid()}-{tmp_path.name}"
    listener.bind(b"\0" + name.encode())

    Notifier(f"@{name}").tell("WATCHDOG=1")

    assert listener.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative"])
def test_without_a_socket_that_it_knows_nothing_is_told(address: str | None) -> None:
    notifier = Notifier(address)
    assert not notifier.listened_to
    notifier.tell("READY=1")


def test_a_socket_that_is_gone_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    assert notifier.listened_to
    notifier.tell("READY=1")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often_systemd_must_hear_of_this_process(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ) == seconds


def test_a_status_is_one_line_and_not_too_long() -> None:
    assert status("2 sending\nREADY=1") == "STATUS=2 sending READY=1"
    assert len(status("x" * 5000)) == len("STATUS=") + LONGEST_STATUS
    assert microseconds("MONOTONIC_USEC", 12.3456789) == "MONOTONIC_USEC=12345679"
