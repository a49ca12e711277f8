"""How one record looks: for people on a console, for machines as JSON, for the journal.

Owns the words of a line and the order of its fields. It must not know where the line goes. No error leaves it.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

from moichord.logs.tracebacks import traceback_text
from moichord.sample import printable

FIRST_FIELDS = ("sample", "submission", "step", "try")
OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
NO_COLOUR = "\x1b[0m"
INFORMATIONAL = 6
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class PlainFormatter(logging.Formatter):
    """`the message sample=A123 step=upload`, a traceback below it: without the time, which the journal has itself."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join([self._line(record), *self._traceback(record)])

    def _line(self, record: logging.LogRecord) -> str:
        words = [printable(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in fields(record).items()]
        return " ".join(words)

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        error = record.exc_info and record.exc_info[1]
        if error:
            text = traceback_text(error)
            yield from (f"    {printable(line)}" for line in text.splitlines())


class ConsoleFormatter(PlainFormatter):
    """`2026-01-31 14:05:09 WARNING the message sample=A123 step=upload`, a traceback below it."""

    default_msec_format = ""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def _line(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname:<7} {super()._line(record)}"
        if self._colour and record.levelno in COLOURS:
            line = f"{COLOURS[record.levelno]}{line}{NO_COLOUR}"
        return line


class PrefixedFormatter(PlainFormatter):
    """As the journal reads standard error: every line begins with its priority, `<4>` for a warning (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{priority(record.levelno)}>"
        return "\n".join(f"{prefix}{line}" for line in super().format(record).splitlines())


def json_formatter() -> logging.Formatter:
    """One JSON object a line, time in UTC."""
    from pythonjsonlogger.json import JsonFormatter

    class Formatter(JsonFormatter):
        def formatException(self, ei: ExcInfo) -> str:  # logging's own name
            return "" if ei[1] is None else traceback_text(ei[1])

    formatter = Formatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    formatter.converter = time.gmtime
    return formatter


def fields(record: logging.LogRecord) -> Mapping[str, object]:
    """What was given as `extra`: the sample first; what is None is left out."""
    given = {name: value for name, value in record.__dict__.items() if name not in OF_EVERY_RECORD}
    first = [name for name in FIRST_FIELDS if name in given]
    return {name: given[name] for name in dict.fromkeys([*first, *given]) if given[name] is not None}


def priority(level: int) -> int:
    """A level of logging as a priority of syslog (RFC 5424, 6.2.1)."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, INFORMATIONAL))
    return next((number for least, number in steps if level >= least), 7)


def _quoted(value: object) -> str:
    text = printable(str(value))
    return text if text and not set(text) & set(' ="') else json.dumps(text, ensure_ascii=False)
