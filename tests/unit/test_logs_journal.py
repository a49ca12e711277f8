"""The native protocol of the journal, heard by a real datagram socket."""

import io
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord import logs
from moichord.logs.journal import LONGEST_MESSAGE, is_journal

log = logging.getLogger("moichord.test")


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def journal(address: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(os.fspath(address))
        heard.setblocking(False)
        yield heard


def entry(journal: socket.socket) -> dict[str, str]:
    """The next entry, read as the journal reads it."""
    data, found = journal.recv(1 << 20), {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[9 + length :]
        found[name.decode()] = value.decode()
    return found


def to(address: Path, format: str = "journald", secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    logs.setup(format=format, stream=stream, journal=address, secrets=secrets, level="debug")
    return stream


def test_the_fields_of_a_line_are_fields_of_the_journal(address: Path, journal: socket.socket) -> None:
    stream = to(address)
    log.warning("sent %d", 3, extra={"try": 2, "sample": "A1", "step": "upload", "submission": "0e4e", "api": None})
    heard = entry(journal)
    assert heard.pop("MESSAGE") == "sent 3 sample=A1 submission=0e4e step=upload try=2"
    assert Path(heard.pop("CODE_FILE")) == Path(__file__)
    assert heard.pop("CODE_LINE").isdigit()
    assert heard == {
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "moichord",
        "LOGGER": "moichord.test",
        "CODE_FUNC": "test_the_fields_of_a_line_are_fields_of_the_journal",
        "SAMPLE": "A1",
        "SUBMISSION": "0e4e",
        "STEP": "upload",
        "TRY": "2",
    }
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("say", "priority"),
    [(log.debug, "7"), (log.info, "6"), (log.warning, "4"), (log.error, "3"), (log.critical, "2")],
)
def test_levels_become_the_priorities_of_syslog(
    say: Callable[[str], None], priority: str, address: Path, journal: socket.socket
) -> None:
    to(address)
    say("x")
    assert entry(journal)["PRIORITY"] == priority


def test_a_traceback_is_one_entry_of_several_lines(address: Path, journal: socket.socket) -> None:
    to(address)
    try:
        raise AttributeError("torn\x1b")
    except AttributeError:
        log.exception("crashed", extra={"sample": "A1"})
    heard = entry(journal)
    lines = heard["MESSAGE"].splitlines()
    assert lines[0] == "crashed sample=A1"
    assert lines[-1] == "    AttributeError: torn\\x1b"
    assert heard["SAMPLE"] == "A1"


def test_a_value_forges_no_field_and_no_line(address: Path, journal: socket.socket) -> None:
    to(address)
    log.info("x\nPRIORITY=0", extra={"sample": "A\nMESSAGE=forged\udcff", "priority": 0, "2nd": 1, "a-b": 2})
    heard = entry(journal)
    assert heard["PRIORITY"] == "6"
    assert heard["MESSAGE"].startswith("x\\nPRIORITY=0 ")
    assert heard["SAMPLE"] == "A\\nMESSAGE=forged\\xff"
    assert (heard["FIELD_PRIORITY"], heard["FIELD_2ND"], heard["A_B"]) == ("0", "1", "2")


def test_secrets_are_masked_in_messages_and_in_fields(address: Path, journal: socket.socket) -> None:
    to(address, secrets=("s3cret",))
    log.info("key s3cret", extra={"header": {"Authorization": "s3cret"}})
    assert not [value for value in entry(journal).values() if "s3cret" in value]


def test_what_is_too_long_is_cut_and_says_so(address: Path, journal: socket.socket) -> None:
    to(address)
    log.info("%s", "ü" * LONGEST_MESSAGE, extra={"detail": "y" * 100_000})
    heard = entry(journal)
    assert len(heard["MESSAGE"].encode()) < LONGEST_MESSAGE + 100
    assert heard["MESSAGE"].endswith(" bytes more)")
    assert heard["DETAIL"].endswith(" bytes more)")


def test_without_a_journal_lines_go_to_standard_error_with_their_priority(address: Path) -> None:
    stream = to(address)
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("crashed", extra={"sample": "A1"})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "<3>crashed sample=A1"
    assert all(line.startswith("<3>") for line in lines)


def test_a_journal_that_is_restarted_is_found_again(address: Path, journal: socket.socket) -> None:
    stream = to(address)
    log.info("one")
    journal.close()
    address.unlink()
    log.info("two")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(os.fspath(address))
        log.info("three")
        assert entry(again)["MESSAGE"] == "three"
    assert stream.getvalue() == "<6>two\n"


def test_a_journal_that_stands_still_holds_nobody_up_and_hears_later_what_is_lost(
    address: Path, journal: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moichord.logs.journal.PATIENCE_SECONDS", 0.01)
    stream = to(address)
    for number in range(2000):  # more than any queue of datagrams holds
        log.info("%d", number)
    heard = 0
    while entry_or_none(journal) is not None:
        heard += 1
    log.info("again")
    assert entry(journal)["MESSAGE"] == f"again (before this, {2000 - heard} lines were lost: the journal stood still)"
    assert 0 < heard < 2000
    assert stream.getvalue() == ""


def entry_or_none(journal: socket.socket) -> dict[str, str] | None:
    try:
        return entry(journal)
    except BlockingIOError:
        return None


def test_auto_is_the_journal_where_standard_error_leads_there_and_nowhere_else(
    tmp_path: Path, address: Path, journal: socket.socket
) -> None:
    with (tmp_path / "stderr").open("w+") as stream:
        status = os.fstat(stream.fileno())
        own = f"{status.st_dev}:{status.st_ino}"
        logs.setup(stream=stream, journal_stream=own, journal=address)
        log.info("to the journal")
        assert entry(journal)["MESSAGE"] == "to the journal"
        for other in (None, "", "1:2", f"{own}0"):
            assert not is_journal(stream, other)
        logs.setup(stream=stream, journal_stream="1:2", journal=address)
        log.info("to the stream")
        assert entry_or_none(journal) is None
        assert (tmp_path / "stderr").read_text().endswith("INFO    to the stream\n")
    assert not is_journal(io.StringIO(), own)
