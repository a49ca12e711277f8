"""How log lines look, and what never appears in them.

Owns the formats (`console` for people, `json` for machines) and the redaction of secrets, in tracebacks too. It must
not know what is logged; callers pass no patient data. Errors: OSError if the file cannot be opened.

Fields of a line are given as `extra`: `log.info("uploaded", extra={"sample": ..., "submission": ..., "step": ...,
"try": ...})`. On the console they follow the message as `sample=A123 step=upload`.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from moichord.sample import printable

MASK = "***"
FIRST_FIELDS = ("sample", "submission", "step", "try")
OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
# pydicom's warnings quote values of patients; most others' debug lines hold whole addresses and headers.
QUIET_LIBRARIES = {
    "pydicom": logging.CRITICAL,
    "py.warnings": logging.CRITICAL,
    "urllib3": logging.WARNING,
    "requests": logging.WARNING,
    "PIL": logging.WARNING,
    # Calls every stop that meets an event an error; whether it still watches is the doorbell's business.
    "watchdog": logging.CRITICAL,
}
NO_COLOUR = "\x1b[0m"


def setup(
    *,
    level: str = "info",
    format: str = "auto",
    file: Path | None = None,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    colour: bool = True,
) -> None:
    """Log to `file`, to `stream`, or to both, from now on; what an earlier call set up is ended.

    `format` is `console`, `json` or `auto`, which is `console`; with colours where `stream` is a terminal and
    `colour` is true. Every text in `secrets` is replaced by `***`. Raises OSError if `file` cannot be opened.
    """
    redaction = Redaction(secrets)
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_file_handler(file))
        handlers[-1].setFormatter(Redacted(_formatter(format, colour=False), redaction))
    if stream is not None:
        handlers.append(logging.StreamHandler(stream))
        handlers[-1].setFormatter(Redacted(_formatter(format, colour=colour and stream.isatty()), redaction))
    # A failing handler would print the record, secrets and all, to standard error.
    logging.raiseExceptions = False
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, Redacted)]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    for library, least in QUIET_LIBRARIES.items():
        logging.getLogger(library).setLevel(least)
    logging.captureWarnings(True)


class Redaction:
    """Replaces secrets by `***`, however a text may have come to spell them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text


class Redacted(logging.Formatter):
    """Formats as `inner` does, and redacts the whole result."""

    def __init__(self, inner: logging.Formatter, redaction: Redaction) -> None:
        super().__init__()
        self._inner = inner
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        return self._redaction(self._inner.format(record))


class ConsoleFormatter(logging.Formatter):
    """`2026-01-31 14:05:09 WARNING the message sample=A123 step=upload`, a traceback below it."""

    default_msec_format = ""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        words = [self.formatTime(record), f"{record.levelname:<7}", printable(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record)]
        line = " ".join(words)
        if self._colour and record.levelno in COLOURS:
            line = f"{COLOURS[record.levelno]}{line}{NO_COLOUR}"
        return "\n".join([line, *self._traceback(record)])

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        if record.exc_info:
            text = self.formatException(record.exc_info)
            yield from (f"    {printable(line)}" for line in text.splitlines())


def _formatter(name: str, *, colour: bool) -> logging.Formatter:
    if name != "json":
        return ConsoleFormatter(colour=colour)
    from pythonjsonlogger.json import JsonFormatter

    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    formatter.converter = time.gmtime
    return formatter


def _file_handler(file: Path) -> logging.Handler:
    # Windows cannot rename an open file, so there nothing rotates it away.
    kind = WatchedFileHandler if os.name == "posix" else logging.FileHandler
    return kind(file, encoding="utf-8", errors="backslashreplace")


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    given = {name: value for name, value in record.__dict__.items() if name not in OF_EVERY_RECORD}
    first = [name for name in FIRST_FIELDS if name in given]
    for name in dict.fromkeys([*first, *given]):
        if given[name] is not None:
            yield name, given[name]


def _quoted(value: object) -> str:
    text = printable(str(value))
    return text if text and not set(text) & set(' ="') else json.dumps(text, ensure_ascii=False)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(repr(secret)[1:-1])[1:-1]
    yield quote(secret, safe="")
    yield quote(secret)
