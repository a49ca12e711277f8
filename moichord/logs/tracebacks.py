"""A traceback as it may be logged: where it broke and by what kind of error, without what the error quotes.

The text of an error that nobody foresaw may quote whatever it broke at: a value of a tag, a reply, a statement with its
parameters. It is told only of kinds whose text comes from Python itself and names nothing but code, and of moichord's
own errors, which are written for logs. What a library derives from those kinds may quote anything again.

Owns that choice and the layout. It must not know secrets (`redaction`). No error leaves it.
"""

import traceback
from collections.abc import Iterator

from moichord.errors import MoichordError

TELL_NOTHING_BUT_CODE = (
    AttributeError,
    ImportError,
    IndexError,
    MemoryError,
    NameError,
    RecursionError,
    ZeroDivisionError,
)
PYTHON = "builtins"
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"


def traceback_text(error: BaseException) -> str:
    """The frames and the kind of each error of the chain, as Python lays them out."""
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield from ("", CAUSE if error.__cause__ is not None else CONTEXT, "")
    yield "Traceback (most recent call last):"
    for frame in traceback.format_tb(error.__traceback__):
        yield from frame.rstrip("\n").split("\n")
    yield _told(error)


def _told(error: BaseException) -> str:
    kind = type(error)
    if isinstance(error, MoichordError):
        return f"{kind.__qualname__}: {getattr(error, 'brief', error)}"
    name = kind.__qualname__ if kind.__module__ == PYTHON else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, TELL_NOTHING_BUT_CODE) and kind.__module__ == PYTHON:
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: [Errno {error.errno}] {error.strerror}"
    return f"{name} (its text is not logged: it may quote a patient)"
