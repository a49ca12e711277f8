"""What must never be in a log: secrets, however a text may have come to spell them.

Owns the masking. It must not know where a secret comes from, nor where a line goes. No error leaves it.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from urllib.parse import quote

MASK = "***"


class Redaction:
    """Replaces secrets by `***`."""

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


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(repr(secret)[1:-1])[1:-1]
    yield quote(secret, safe="", errors="replace")  # half of a surrogate pair has no bytes
    yield quote(secret, errors="replace")
