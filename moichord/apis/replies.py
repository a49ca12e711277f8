"""What of a server's reply is read, kept and quoted.

Owns the limits of each. It must not know HTTP or what a reply is for. `NotJson` leaves it. Pure.
"""

import json
from typing import Any, NoReturn

from moichord.sample import printable

KEPT_JSON = 64 * 1024
KEPT_TEXT = 2000
QUOTED = 200


class NotJson(ValueError):
    """The reply is not JSON (RFC 8259)."""


def parse(content: bytes) -> Any:
    """The JSON value that `content` holds; raises NotJson."""
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotJson("the reply is not JSON") from error


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


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, but no other reader of our receipt would.
    raise ValueError(f"{name} is not JSON")
