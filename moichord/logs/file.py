"""The log in a file: rotated by itself when it is large, and following a tool of the system that rotates it.

Owns the file and its elder ones (`moichord.log.1` is the newest of them). It must not know what is logged. `OSError`
leaves the constructor if the file cannot be opened; afterwards nothing: a log never disturbs the work.
"""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a log file is rotated: at `size` bytes (0: never); `keep` elder ones stay."""

    size: int = 0
    keep: int = 1


class LogFile(RotatingFileHandler):
    """Appends to a file. Opens it anew where it was renamed, removed or replaced; one that was cut short goes on."""

    def __init__(self, file: Path, rotation: Rotation) -> None:
        super().__init__(
            file, maxBytes=rotation.size, backupCount=rotation.keep, encoding="utf-8", errors="backslashreplace"
        )
        self._lost = 0
        self._not_before = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
            self._tell_what_was_lost()
        except (OSError, ValueError):
            self.handleError(record)
            return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """A full disk, most often: what is half written is let go, and the next record begins anew."""
        self._lost += 1
        self._let_go()

    def doRollover(self) -> None:
        """Rotate; where the folder does not allow that, go on with the same file."""
        size = self._size()
        try:
            super().doRollover()
        except OSError as error:
            self._let_go()
            self._not_before = size + self.maxBytes
            self.stream = self._open()
            self._write_own(self.stream, f"this file cannot be rotated, and grows: {error.strerror}")

    def shouldRollover(self, record: logging.LogRecord) -> int:
        if self._not_before and self._size() < self._not_before:
            return 0
        return int(super().shouldRollover(record))

    def _follow(self) -> None:
        """Let go of a file that lies there no more: logrotate(8) has moved it away."""
        # Windows cannot rename an open file, so there nothing rotates it away.
        if os.name != "posix" or self.stream is None:
            return
        ours = os.fstat(self.stream.fileno())
        try:
            there = os.stat(self.baseFilename)
        except FileNotFoundError:
            self._let_go()
            return
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            self._let_go()

    def _tell_what_was_lost(self) -> None:
        if self.stream is None:
            self.stream = self._open()
        if self._lost:
            self._write_own(self.stream, f"before this, {self._lost} lines were lost: this file could not be written")
            self._lost = 0

    def _size(self) -> int:
        return Path(self.baseFilename).stat().st_size

    def _write_own(self, stream: TextIO, text: str) -> None:
        record = logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"})
        record.msg = text
        stream.write(self.format(record) + self.terminator)
        stream.flush()

    def _let_go(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):  # what it still holds does not fit
                stream.close()
