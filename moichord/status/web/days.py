"""Days in figures: how many samples, how many bytes, how long from drop to done; and the lines of their chart.

Owns the sums and the chart's geometry. It must not know HTML, nor where the figures come from. Pure, but for the local
time zone, in which a day begins; no error leaves it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median

from moichord.queue.listings import Ended
from moichord.sample import State
from moichord.status.phrases import duration, size

SHOWN = 30
WIDTH, HEIGHT = 720.0, 120.0
GAP = 0.25


@dataclass(frozen=True, slots=True)
class Day:
    """What ended on one day. `median_seconds` and `slowest_seconds` are of what was sent, from drop to done."""

    date: date
    sent: int
    failed: int
    size: int
    median_seconds: float | None
    slowest_seconds: float | None

    @property
    def label(self) -> str:
        return f"{self.date:%a} {self.date.day} {self.date:%b}"

    @property
    def size_text(self) -> str:
        return size(self.size)

    @property
    def median_text(self) -> str:
        return "" if self.median_seconds is None else duration(self.median_seconds)

    @property
    def slowest_text(self) -> str:
        return "" if self.slowest_seconds is None else duration(self.slowest_seconds)


@dataclass(frozen=True, slots=True)
class Column:
    """One bar of a chart, in its own units; `text` says what it shows."""

    x: float
    y: float
    width: float
    height: float
    text: str
    second: float = 0.0
    """The height of what failed, on top of what was sent."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, one a day; `top` is what the highest one stands for."""

    title: str
    top: str
    columns: tuple[Column, ...]


def midnight(day: date) -> float:
    """When that day begins here, as seconds since the epoch."""
    return datetime(day.year, day.month, day.day).timestamp()


def day_of(at: float) -> date:
    return datetime.fromtimestamp(at).date()


def parse_day(text: str) -> date | None:
    """`2026-11-17`; None for anything else, and for days that no clock knows."""
    try:
        day = date.fromisoformat(text)
        midnight(day + timedelta(days=1))
    except (ValueError, OverflowError, OSError):
        return None
    return day


def days_until(last: date, ended: Iterable[Ended], number: int = SHOWN) -> list[Day]:
    """The `number` days up to `last`, oldest first, also those on which nothing happened."""
    of_day: dict[date, list[Ended]] = defaultdict(list)
    for one in ended:
        of_day[day_of(one.finished_at)].append(one)
    dates = [last - timedelta(days=back) for back in range(number - 1, -1, -1)]
    return [_day(day, of_day[day]) for day in dates]


def _day(day: date, ended: list[Ended]) -> Day:
    sent = [one for one in ended if one.state is State.DONE]
    seconds = [max(0.0, one.finished_at - (one.first_seen_at or one.taken_at)) for one in sent]
    return Day(
        day,
        sent=len(sent),
        failed=sum(one.state is State.FAILED for one in ended),
        size=sum(one.size for one in sent),
        median_seconds=median(seconds) if seconds else None,
        slowest_seconds=max(seconds, default=None),
    )


def charts(days: list[Day]) -> list[Chart]:
    """Samples, bytes, and the time from drop to done."""
    return [
        _chart(
            "Samples sent, and those that failed",
            [(float(day.sent), float(day.failed)) for day in days],
            [f"{day.label}: {day.sent} sent, {day.failed} failed" for day in days],
            lambda top: f"{top:.0f}",
        ),
        _chart(
            "Images sent, in bytes",
            [(float(day.size), 0.0) for day in days],
            [f"{day.label}: {day.size_text}" for day in days],
            size,
        ),
        _chart(
            "Time from drop to done, the middle one of each day",
            [(day.median_seconds or 0.0, 0.0) for day in days],
            [f"{day.label}: {day.median_text or 'none sent'}" for day in days],
            duration,
        ),
    ]


def _chart(title: str, heights: list[tuple[float, float]], texts: list[str], say: Callable[[float], str]) -> Chart:
    top = max((sent + failed for sent, failed in heights), default=0.0)
    step = WIDTH / max(1, len(heights))
    scale = HEIGHT / top if top else 0.0
    columns = [
        Column(
            x=round(index * step + step * GAP / 2, 1),
            y=round(HEIGHT - sent * scale, 1),
            width=round(step * (1 - GAP), 1),
            height=round(sent * scale, 1),
            second=round(failed * scale, 1),
            text=text,
        )
        for index, ((sent, failed), text) in enumerate(zip(heights, texts, strict=True))
    ]
    return Chart(title, say(top) if top else "none", tuple(columns))
