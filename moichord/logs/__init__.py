"""Logging: how lines look, where they go, and what never appears in them.

    formats     one record as words: console, JSON, for the journal
    redaction   secrets are masked, in tracebacks too
    tracebacks  where it broke, without what the error quotes
    journal     the journal of systemd, with fields
    file        a file that is rotated
    recent      the newest lines of each sample, in memory

Owns the set-up. It must not know what is logged; callers pass no patient data. Errors: OSError if the file cannot be
opened; afterwards none: what cannot be logged disturbs nobody.

Fields of a line are given as `extra`: `log.info("uploaded", extra={"sample": ..., "submission": ..., "step": ...,
"try": ...})`. On the console they follow the message as `sample=A123 step=upload`; in the journal each is a field.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from moichord.logs.file import LogFile, Rotation
from moichord.logs.formats import ConsoleFormatter, json_formatter
from moichord.logs.journal import SOCKET, JournalHandler, is_journal
from moichord.logs.recent import RecentLines
from moichord.logs.redaction import MASK, Redacted, Redaction

__all__ = ["MASK", "QUIET_LIBRARIES", "RecentLines", "Redaction", "Rotation", "setup"]

# pydicom's warnings quote values of patients; most others' debug lines hold whole addresses and headers.
QUIET_LIBRARIES = {
    "pydicom": logging.CRITICAL,
    "py.warnings": logging.CRITICAL,
    "urllib3": logging.WARNING,
    "requests": logging.WARNING,
    "PIL": logging.WARNING,
    # Its lines hold addresses, which hold keys.
    "apprise": logging.CRITICAL,
    # Calls every stop that meets an event an error; whether it still watches is the doorbell's business.
    "watchdog": logging.CRITICAL,
}


def setup(
    *,
    level: str = "info",
    format: str = "auto",
    file: Path | None = None,
    rotation: Rotation = Rotation(),  # noqa: B008  # frozen
    stream: TextIO | None = None,
    journal_stream: str | None = None,
    journal: Path = SOCKET,
    secrets: Iterable[str] = (),
    colour: bool = True,
) -> None:
    """Log to `file`, to `stream`, or to both, from now on; what an earlier call set up is ended.

    `format` is `console`, `json`, `journald` or `auto`: the journal where `stream` leads there (`journal_stream` is
    what systemd gives as the variable JOURNAL_STREAM), else `console`, with colours where `stream` is a terminal and
    `colour` is true. `journald` takes the place of `stream`, which then gets what the journal does not take. Every
    text in `secrets` is replaced by `***`. Raises OSError if `file` cannot be opened.
    """
    redaction = Redaction(secrets)
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_redacted(LogFile(file, rotation), _formatter(format, colour=False), redaction))
    to_journal = format == "auto" and stream is not None and is_journal(stream, journal_stream)
    if to_journal or format == "journald":
        handlers.append(JournalHandler(redaction, stream, journal))
    elif stream is not None:
        formatter = _formatter(format, colour=colour and stream.isatty())
        handlers.append(_redacted(logging.StreamHandler(stream), formatter, redaction))
    _take_the_place_of_others(handlers)
    logging.getLogger().setLevel(level.upper())
    for library, least in QUIET_LIBRARIES.items():
        logging.getLogger(library).setLevel(least)
    logging.captureWarnings(True)
    # A failing handler would print the record, secrets and all, to standard error.
    logging.raiseExceptions = False


def _redacted(handler: logging.Handler, formatter: logging.Formatter, redaction: Redaction) -> logging.Handler:
    handler.setFormatter(Redacted(formatter, redaction))
    return handler


def _take_the_place_of_others(handlers: Sequence[logging.Handler]) -> None:
    """Of those that an earlier set-up made: who else listens is none of our business."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, Redacted)]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)


def _formatter(name: str, *, colour: bool) -> logging.Formatter:
    return json_formatter() if name == "json" else ConsoleFormatter(colour=colour)
