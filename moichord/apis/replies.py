"""What of a server's reply is read, kept and quoted.

Owns the limits of each. It must not know HTTP or what a reply is for. `NotJson` leaves it. Pure.
"""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from moichord.sample import printable

KEPT_JSON = 64 * 1024
KEPT_TEXT = 2000
QUOTED = 200
DEEPEST = 100
"""Levels of arrays and objects; a reader may set such a limit (RFC 8259 section 9). What Python reads to the end of its
stack, it cannot write again from a place that is further down."""

_TOO_DEEP = f"is JSON of more than {DEEPEST} levels"


class NotJson(ValueError):
    """The reply is not JSON (RFC 8259) that can be used. `str` says how, behind "the reply"."""


def parse(content: bytes) -> Any:
    """The JSON value that `content` holds; raises NotJson."""
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise NotJson(_TOO_DEEP) from error
    except ValueError as error:
        raise NotJson("is not JSON") from error
    if content.count(b"[") + content.count(b"{") > DEEPEST and _is_deep(value):
        raise NotJson(_TOO_DEEP)
    return value


def kept(content: bytes) -> Any:
    """A reply as it is kept in the state and the receipt: its JSON value, else its text cut short, else None.

    JSON of more than 64 KiB is kept as text, cut short: a reply is kept for every image.
    """
    if not content.strip():
        return None
    if len(content) <= KEPT_JSON:
        try:
            return parse(content)
        except NotJson:
            pass
    return printable(content[: 4 * KEPT_TEXT].decode("utf-8", "replace")[:KEPT_TEXT])


def quote(content: bytes) -> str | None:
    """The beginning of a reply for a technician: on one line, printable, at most 200 characters; None if empty."""
    text = printable(" ".join(content[: 16 * QUOTED].decode("utf-8", "replace").split()))
    if not text:
        return None
    return text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
    return any(isinstance(one, dict | list) for one in level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, but no other reader of our receipt would.
    raise ValueError(f"{name} is not JSON")
