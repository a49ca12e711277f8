"""Which rows of history are news, and the message that tells several of them at once.

Owns these words. A failed sample is named by its ID, and only by one that the contract's own rule allows; why it failed
may quote its images or a server's reply, and stays in its folder and on the page. It must not know who is told, or
when. Pure, but for the local time zone; no error leaves it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from moichord.config.notify import EventName
from moichord.queue.announcements import Row
from moichord.sample import State, Step, printable
from moichord.status.phrases import count, moment
from moichord.status.sentences import told

MOST_NAMED = 20
MOST_LINES = 40
LONGEST_LINE = 400
SAMPLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,58}")
"""The contract's rule. `watch.sample_id` may allow more, which may be a name, or mean something to a chat."""

_EVENTS: dict[str, EventName] = {
    "outage_began": "outage",
    "outage_ended": "recovered",
    "share_began": "outage",
    "share_ended": "recovered",
    "disk_low_began": "disk_low",
    "disk_low_ended": "recovered",
    "filling_began": "disk_low",
    "silence_began": "silence",
    "silence_ended": "recovered",
}
_AT_STEP = {
    Step.METADATA: "when its record was asked for",
    Step.TAGS: "when its images were checked",
    Step.UPLOAD: "when it was sent",
    Step.ANALYTICS: "when its analysis was started",
    Step.ARCHIVE: "when it was filed",
}
_LOOK = (
    "Why, and what to do: moichord-FAILED.txt in its folder in failed, the page, or `moichord status SAMPLE`. "
    "Nothing is lost."
)
_HOLD = "Samples wait meanwhile; nothing is lost, and all goes on by itself."


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell; `headline` is short, `text` a whole sentence."""

    event: EventName
    at: float
    headline: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """Plain text."""

    title: str
    body: str


def shown_id(sample_id: str) -> str:
    """A sample ID as it may leave the house."""
    return sample_id if SAMPLE_ID.fullmatch(sample_id) else "(an ID that is not shown)"


def news_of(row: Row) -> News | None:
    """What this row of history is news of; None if nobody needs to hear of it."""
    event = row.event
    if event.state is State.FAILED:
        name = f"{shown_id(event.sample_id)} (attempt {row.attempt_number})"
        where = _AT_STEP.get(Step(row.at_step), "") if row.at_step else ""
        return News("failed", event.at, f"{shown_id(event.sample_id)} failed", f"{name} {where}".rstrip())
    kind = _EVENTS.get(str(event.detail.get("occasion")))
    if kind is None:
        return None
    text = _sentence(told(event))
    headline = {
        "outage": text.partition(": ")[0].rstrip("."),
        "recovered": text.partition(";")[0].rstrip("."),
        "disk_low": "A disk is low",
        "silence": "No sample comes",
    }
    return News(kind, event.at, headline[kind], text)


def message(news: Sequence[News], now: float, place: str, masked: Callable[[str], str]) -> Message:
    """All of these in one message from `place`; `masked` takes out what nobody may read."""
    failed = [one for one in news if one.event == "failed"]
    others = [one for one in news if one.event != "failed"]
    lines = [*_failures(failed, now), *([""] if failed and others else []), *_others(others, now)]
    body = "\n".join(printable(masked(line))[:LONGEST_LINE] for line in lines)
    return Message(printable(masked(f"moichord on {place}: {_title(failed, others)}"))[:LONGEST_LINE], body)


def _title(failed: Sequence[News], others: Sequence[News]) -> str:
    heads = [count(len(failed), "sample") + " failed" if len(failed) > 1 else failed[0].headline] if failed else []
    heads += dict.fromkeys(one.headline for one in reversed(others))  # how it stands now comes first
    more = len(heads) - 2
    return "; ".join(heads[:2]) + (f"; and {more} more" if more > 0 else "")


def _failures(failed: Sequence[News], now: float) -> Iterator[str]:
    if not failed:
        return
    yield f"{count(len(failed), 'sample')} failed:"
    for one in failed[:MOST_NAMED]:
        yield f"- {one.text}, at {moment(one.at, now)}"
    if len(failed) > MOST_NAMED:
        yield f"- and {len(failed) - MOST_NAMED} more: `moichord status` names them"
    yield _LOOK


def _others(others: Sequence[News], now: float) -> Iterator[str]:
    if len(others) > MOST_LINES:
        yield f"{len(others) - MOST_LINES} changes before these: `moichord history` has them"
    for one in others[-MOST_LINES:]:
        yield f"{moment(one.at, now)}  {one.text}"
    if others and others[-1].event in ("outage", "disk_low"):
        yield _HOLD


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
