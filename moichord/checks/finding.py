"""The words for what a check found.

Owns them as plain data. It must not know what is checked. No error leaves it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing; `remedy` says how to mend it, unless it is ok.

    `exit_code` is what the check ends with if this has failed: that with which the daemon would.
    """

    name: str
    result: Result
    text: str
    remedy: str | None = None
    exit_code: int = 1


def ok(name: str, text: str) -> Finding:
    return Finding(name, Result.OK, text)


def warning(name: str, text: str, remedy: str) -> Finding:
    return Finding(name, Result.WARNING, text, remedy)


def failed(name: str, text: str, remedy: str, exit_code: int = 1) -> Finding:
    return Finding(name, Result.FAILED, text, remedy, exit_code)
