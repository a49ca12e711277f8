"""What the one-shot says: to a person on standard error, and to its log.

Owns exit codes, sentences and remedies of its endings. What a server wrote, and values of images, are for the person
and never for the log. It must not do anything else. No error leaves it.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping

from moichord.config.loading import ENVIRONMENT
from moichord.errors import (
    ApiFailure,
    ApiOutage,
    ApiTransient,
    ConfigurationInvalid,
    Hold,
    MoichordError,
    SampleFailure,
    SampleUnknown,
    Stopped,
    UsageRefused,
)
from moichord.oneshot.retrying import TriesEnded
from moichord.sample import printable

log = logging.getLogger(__name__)

FAILED = 1
USAGE = 2
TEMPORARY = 75
INTERRUPTED = 130
AGAIN = "Run the same command again: what is stored is recognised, and is not stored twice."


class Voice:
    """Speaks to standard error and to the log; just once where the log goes to standard error too (`log_is_seen`)."""

    def __init__(self, *, log_is_seen: bool, about: Mapping[str, object]) -> None:
        self._log_is_seen = log_is_seen
        self._about = dict(about)

    def say(self, text: str) -> None:
        """How it goes."""
        self._speak(text, logging.INFO)

    def warn(self, text: str) -> None:
        """What went wrong, or is left out, without ending the run."""
        self._speak(text, logging.WARNING)

    def end(self, error: MoichordError | OSError) -> int:
        """Say how the run ended and what to do; the exit code."""
        brief, full = _problem(error)
        remedy = _remedy(error)
        log.error("%s", f"{brief} {remedy}", extra=self._about)
        if not self._log_is_seen or full.split() != brief.split():
            self._show(f"{full}\n{remedy}")
        return exit_code(error)

    def _speak(self, text: str, level: int) -> None:
        text = in_variables(text)
        log.log(level, "%s", text, extra=self._about)
        if not self._log_is_seen:
            self._show(text)

    def _show(self, text: str) -> None:
        first, *more = text.splitlines()
        lines = [f"moichord: {first}", *(f"  {line}" for line in more)]
        sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stderr.flush()


def exit_code(error: MoichordError | OSError) -> int:
    """The exit code of a run that ended with `error`."""
    match error:
        case Stopped():
            return INTERRUPTED
        case Hold() | ApiTransient() | ApiOutage():
            return TEMPORARY
        case UsageRefused():
            return USAGE
        case MoichordError():
            return error.exit_code
        case _:
            return FAILED


def in_variables(text: str) -> str:
    """`text` with the variables of the environment where it names keys of a configuration file."""
    for name, (block, key) in ENVIRONMENT.items():
        also = rf"(?: and {block}\.key_header|_header)?" if key == "key" else ""  # no variable names the header
        text = re.sub(rf"\b{block}\.{key}{also}\b", name, text)
    return text


def _problem(error: MoichordError | OSError) -> tuple[str, str]:
    """What is wrong, for the log and in full."""
    match error:
        case OSError():
            place = f" ({printable(os.fsdecode(error.filename))})" if error.filename else ""
            text = f"The disk does not do what it should: {error.strerror or error}{place}."
            return text, text
        case Stopped():
            text = "Interrupted. Every image file is whole, as it was or with its new tags."
            return text, text
        case ConfigurationInvalid():
            return in_variables("; ".join(error.problems) + "."), in_variables(error.problem)
        case SampleFailure():
            return in_variables(error.brief), in_variables(error.problem)
        case _:
            cause = error.failure if isinstance(error, TriesEnded) else error
            detail = f"\nThe server wrote: {cause.detail}" if isinstance(cause, ApiFailure) and cause.detail else ""
            text = in_variables(error.problem)
            return text, text + detail


def _remedy(error: MoichordError | OSError) -> str:
    match error:
        case OSError():
            return f"Check the disk and the permissions of the folder. {AGAIN}"
        case TriesEnded(failure=ApiOutage(remedy=str(remedy))):
            return f"{in_variables(remedy)} {AGAIN}"
        case TriesEnded() | Hold() | Stopped():
            return AGAIN
        case SampleUnknown():
            return "Check --sample_id, and that the sample is registered; then run the command again."
        case ConfigurationInvalid() | MoichordError():
            return in_variables(error.remedy or "Run the command again once that is mended.")
