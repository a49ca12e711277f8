"""Working hours: on which days, from when to when.

Owns how they are written, and how much of a span of time lies in them. It must not know what they are for. Errors:
ValueError. Pure, but for the local time zone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from moichord.config.wording import shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60
LONGEST_SPAN = 400
"""Days that are looked at: a longer silence is long enough."""
_PART = re.compile(r"(?P<days>[A-Za-z,-]+) (?P<from>\d{1,2}:\d\d)-(?P<to>\d{1,2}:\d\d)")


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """`spans` are (weekday from 0, minute of the day from, to); `text` is how they were written."""

    text: str
    spans: tuple[tuple[int, int, int], ...]

    def seconds(self, since: float, until: float) -> float:
        """How much of the time from `since` to `until` (epoch seconds) lies within, by this machine's clock."""
        if until <= since:
            return 0.0
        last = datetime.fromtimestamp(until).date()
        first = max(datetime.fromtimestamp(since).date(), last - timedelta(days=LONGEST_SPAN))
        days = (first + timedelta(days=number) for number in range((last - first).days + 1))
        return sum(max(0.0, min(until, end) - max(since, begin)) for day in days for begin, end in self._on(day))

    def _on(self, day: date) -> Iterator[tuple[float, float]]:
        midnight = datetime.combine(day, time())
        for weekday, begin, end in self.spans:
            if weekday == day.weekday():
                yield tuple((midnight + timedelta(minutes=minute)).timestamp() for minute in (begin, end))  # type: ignore[misc]


def working_hours(value: object) -> WorkingHours:
    """`Mon-Fri 07:00-19:00`; parts are separated by `;`, days also by commas: `Mon,Wed 8:00-12:00; Sat 9:00-24:00`."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text such as Mon-Fri 07:00-19:00, not {shown(value)}")
    spans = [span for part in value.split(";") for span in _spans(part.strip(), value)]
    return WorkingHours(value, tuple(spans))


def _spans(part: str, value: str) -> Iterator[tuple[int, int, int]]:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"must be days and hours such as Mon-Fri 07:00-19:00, not {shown(value)}")
    begin, end = _minute(match["from"], value), _minute(match["to"], value)
    if begin >= end:
        raise ValueError(f"must end later than they begin, on the same day: {shown(part)}")
    for days in match["days"].split(","):
        for weekday in _weekdays(days, value):
            yield weekday, begin, end


def _minute(text: str, value: str) -> int:
    hours, minutes = (int(number) for number in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > MIDNIGHT:
        raise ValueError(f"{text} in {shown(value)} is no time of the day")
    return hours * 60 + minutes


def _weekdays(text: str, value: str) -> Iterator[int]:
    first, _, last = text.lower().partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(f"{text} in {shown(value)} is no day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    yield from (number % 7 for number in range(begin, (end if end >= begin else end + 7) + 1))
