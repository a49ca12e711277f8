"""Times, durations and sizes as people say them.

Owns these phrases. It must not know what they are about. No error leaves it. Pure, but for the local time zone.
"""

import re
from datetime import datetime

MOICHORD = "moichord"
LIES_NOWHERE = "removed from work: it lies nowhere"
_COMMANDS = ("init", "check", "run", "daemon", "process", "status", "history", "retry", "cancel", "pause", "resume")
_HINT = re.compile(rf"\b{MOICHORD} (?=(?:{'|'.join((*_COMMANDS, 'reconcile', 'support'))})\b)")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Bytes as `512 B`, `1.4 MiB`, `23 GiB`: two digits at least, three at most before a larger unit."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    digits = 1 if unit and count < 9.95 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Seconds as `under 1 s`, `42 s`, `5 min`, `3 h 10 min`, `2 d`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days = hours // 24
    return f"{days} d"


def moment(at: float, now: float, *, seconds: bool = False) -> str:
    """A time in this machine's zone: `14:05` today, `21 Nov 14:05` this year, else `2024-11-21 14:05`."""
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    clock = f"{then:%H:%M:%S}" if seconds else f"{then:%H:%M}"
    if then.date() == today.date():
        return clock
    day = f"{then.day} {then:%b}" if then.year == today.year else f"{then:%Y-%m-%d}"
    return f"{day} {clock}"


def ago(at: float, now: float) -> str:
    """`just now`, or `5 min ago`."""
    return "just now" if now - at < 2 else f"{duration(now - at)} ago"


def called(text: str, command: str) -> str:
    """`text` with its hints of commands as whoever reads them has to type them: `moichord -c FILE retry A123`."""
    return text if command == MOICHORD else _HINT.sub(lambda _: f"{command} ", text)


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 sample`, `3 samples`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
