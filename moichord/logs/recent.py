"""The newest lines of the log about samples, in memory, so that the report of a failed one can hold its own.

Owns those lines: KEPT of them, of all samples together. It must not know who reads them. No error leaves it. Secrets
are masked when lines are asked for, and a line is cut afterwards: half a secret is masked by nobody.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from moichord.logs.formats import PlainFormatter

KEPT = 5000
LONGEST = 2000
HELD = 8000
"""Characters of a line in memory: so many more than LONGEST that what is cut off here is cut off there as well."""


class RecentLines(logging.Handler):
    """Keeps what the log says of samples, as far as the log's level lets it through."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PlainFormatter())
        self._lines: deque[tuple[str, str]] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        submission = record.__dict__.get("submission")
        if not isinstance(submission, str):
            return
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError, AttributeError):  # the log itself says that this line has a fault
            return
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        self._lines.append((submission, f"{at} {record.levelname} {text[:HELD]}"))

    def of(self, submission: str, masked: Callable[[str], str]) -> list[str]:
        """The lines about this submission, oldest first; each begins with its time, in UTC."""
        return [masked(line)[:LONGEST] for one, line in tuple(self._lines) if one == submission]
