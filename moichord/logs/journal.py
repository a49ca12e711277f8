"""The journal of systemd, spoken to in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), so that fields are
fields there: `journalctl -u moichord SAMPLE=A123`.

Owns the datagrams, and what becomes of a line that the journal does not take: it goes to standard error with its
priority in front, or is counted as lost where the journal stands still. It must not know what is logged. No error
leaves it: a log never disturbs the work.
"""

import logging
import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from moichord.logs.formats import PlainFormatter, PrefixedFormatter, fields, priority
from moichord.logs.redaction import Redacted, Redaction
from moichord.sample import printable

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "moichord"
# Every datagram stays below the usual send buffer (208 KiB), so that no line needs a file of its own to travel in.
LONGEST_MESSAGE = 60 * 1024
LONGEST_FIELD = 2 * 1024
MOST_FIELDS = 32
PATIENCE_SECONDS = 1.0
OWN_FIELDS = frozenset({"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC"})


def is_journal(stream: TextIO, journal_stream: str | None) -> bool:
    """Whether what is written to `stream` goes to the journal: the variable JOURNAL_STREAM names its file.

    systemd.exec(5): device and inode, in decimal, separated by a colon.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal_stream == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.Handler):
    """One datagram for each record."""

    def __init__(self, redaction: Redaction, stream: TextIO | None, address: Path = SOCKET) -> None:
        super().__init__()
        self.setFormatter(Redacted(PlainFormatter(), redaction))
        self._prefixed = Redacted(PrefixedFormatter(), redaction)
        self._redaction = redaction
        self._stream = stream
        self._address = os.fspath(address)
        self._socket: socket.socket | None = None
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(self._entry(record))
        except (TimeoutError, BlockingIOError):
            # It stands still. Standard error may lead to the same journal, and would wait for it as well.
            self._lost += 1
        except OSError:
            self._close_socket()
            self._fall_back(record)

    def close(self) -> None:
        self._close_socket()
        super().close()

    def _entry(self, record: logging.LogRecord) -> bytes:
        message = self.format(record)
        if self._lost:
            message += f" (before this, {self._lost} lines were lost: the journal stood still)"
        own = {
            "MESSAGE": _cut(message, LONGEST_MESSAGE),
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        given = list(fields(record).items())[:MOST_FIELDS]
        more = {_name(name): _cut(printable(self._redaction(str(value))), LONGEST_FIELD) for name, value in given}
        return datagram({**own, **more})

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Only the first line is waited for: a journal that stands still must not hold up every one.
        self._socket.settimeout(0.0 if self._lost else PATIENCE_SECONDS)
        self._socket.sendto(data, self._address)
        self._lost = 0

    def _fall_back(self, record: logging.LogRecord) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{self._prefixed.format(record)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def datagram(entry: Mapping[str, str]) -> bytes:
    """The fields of one entry: `NAME=value` in a line of its own, or with its length where the value has several."""
    return b"".join(_field(name, value.encode("utf-8", "backslashreplace")) for name, value in entry.items())


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(value)), value)
    return b"%s=%s\n" % (name.encode(), value)


def _name(name: str) -> str:
    """A field's name as the journal takes it: capitals, digits and underscores, at most 64, and none of our own."""
    allowed = re.sub("[^A-Z0-9]", "_", name.upper()).strip("_")[:58]
    usable = allowed and not allowed[0].isdigit() and allowed not in OWN_FIELDS
    return allowed if usable else f"FIELD_{allowed}"


def _cut(text: str, most: int) -> str:
    """`text`, or as much of it as `most` bytes hold, and how much is missing."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return text
    return f"{data[:most].decode('utf-8', 'ignore')} ... ({len(data) - most} bytes more)"
