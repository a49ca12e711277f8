"""The pages: everything at a glance, one sample, the days.

Owns which questions are asked for each page, and how much of a long list is shown. It must not know HTML. Errors:
StateUnwritable if the state cannot be read; Starlette's HTTPException for what is not there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from moichord.queue.listings import Listing
from moichord.receipt import receipt_text
from moichord.sample import FINISHED, State, Submission, printable
from moichord.status.phrases import LIES_NOWHERE, count, duration, moment, size
from moichord.status.sentences import sentences
from moichord.status.standing import Standing
from moichord.status.web import days, story
from moichord.status.web.days import Day
from moichord.status.web.desk import Desk
from moichord.status.web.kept import Kept
from moichord.status.web.rows import Row, Rows, moment_of

ROWS = 50
FINISHED_ROWS = 25
IMAGES = 60
LONGEST_SEARCH = 100
SUMMED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where one is in a long list: its pages are numbered from 1."""

    page: int
    pages: int
    total: int

    @classmethod
    def of(cls, page: int, total: int, size: int) -> "Leaf":
        return cls(page, max(1, -(-total // size)), total)


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows below a heading; `more` are not shown."""

    key: str
    heading: str
    rows: Sequence[Row]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Summed:
    """The days before `today`, as they were summed at that time."""

    today: date
    at: float
    days: list[Day]


@dataclass(frozen=True, slots=True)
class Today:
    """The present day, as long as `known` says that nothing has ended since."""

    known: object
    day: Day


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the list is asked for: what fits `text`, or what ended on `day`, or everything."""

    text: str
    day: date | None
    page: int

    @classmethod
    def by(cls, request: Request) -> "Wanted":
        text = request.query_params.get("q", "").strip()[:LONGEST_SEARCH]
        return cls(text, days.parse_day(request.query_params.get("day", "")), page_of(request))


class Pages:
    """The endpoints that give HTML."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._summed: Summed | None = None
        self._today: Today | None = None
        self._kept = Kept()

    def overview(self, request: Request) -> Response:
        """Everything at a glance; or what is searched for, or one day."""
        desk, wanted = self._desk, Wanted.by(request)
        standing = desk.present.standing()
        as_it_is = (standing, desk.settings(), sorted(desk.listings.asked().items()))
        content = self._kept.answer(as_it_is, wanted, lambda: self._overview(wanted, standing))
        return desk.page(request, "overview.html", content)

    def _overview(self, wanted: Wanted, standing: Standing) -> dict[str, Any]:
        desk, text, day = self._desk, wanted.text, wanted.day
        first = (wanted.page - 1) * FINISHED_ROWS
        parts: list[Part] = []
        if text:
            heading, listing = f"Found for “{printable(text)}”", desk.listings.matching(text, first, FINISHED_ROWS)
            parts = [_arriving_like(text, standing, desk.rows())]
        elif day is not None:
            begin, end = days.midnight(day), days.midnight(day + timedelta(days=1))
            heading = f"Ended on {day:%A}, {day.day} {day:%B %Y}"
            listing = desk.listings.ended(first, FINISHED_ROWS, since=begin, before=end)
        else:
            heading, listing = "Finished", desk.listings.ended(first, FINISHED_ROWS)
            parts = list(_unfinished(standing, desk.rows()))
        below = _once(listing, standing, anyway=bool(text or day))
        rows = desk.rows(below)
        return {
            "said": sentences(standing),
            "narrowed": bool(text) or day is not None,
            "parts_shown": [part for part in parts if part.rows],
            "finished": Part("finished", heading, [rows.of(one) for one in below]),
            "leaf": Leaf.of(wanted.page, listing.total, FINISHED_ROWS),
            "number_finished": listing.total - (0 if text or day else len(standing.attention[:ROWS])),
            "figures": [] if text or day else self._figures(standing),
            "day": None if day is None else day.isoformat(),
            "number": desk.present.number,
        }

    def _figures(self, standing: Standing) -> list[tuple[str, str]]:
        """What was sent today, in a few numbers."""
        today = days.day_of(standing.at)
        day = self._day(today, standing)
        typical = [("From drop to done, today", day.median_text)] if day.median_text else []
        on_the_way = f"{standing.overview.number_unfinished}"
        return [("Sent today", f"{day.sent}"), ("Bytes, today", day.size_text), *typical, ("On the way", on_the_way)]

    def sample(self, request: Request) -> Response:
        """One submission; the address may also name a sample ID, whose newest is then shown."""
        desk, wanted = self._desk, request.path_params["uuid"]
        submission = found(desk, wanted)
        if submission.uuid != wanted:
            return RedirectResponse(f"/samples/{submission.uuid}", 303)
        standing, web = desk.present.standing(), desk.settings()
        detail = desk.views.detail(submission.uuid)
        others = [one for one in desk.views.submissions_of(submission.sample_id) if one.uuid != submission.uuid]
        page, now = page_of(request), standing.at
        some = detail.images[(page - 1) * IMAGES : page * IMAGES]
        rows = desk.rows([detail.submission])
        content = {
            "row": rows.of(detail.submission),
            "facts": _facts(detail.submission, now, str(desk.place(detail.submission))),
            "others": [rows.of(one) for one in others],
            "steps": story.steps_told(detail, now, patient_data=web.show_patient_data),
            "images": story.images_told(some, patient_data=web.show_patient_data),
            "leaf": Leaf.of(page, len(detail.images), IMAGES),
            "events": story.events_told(detail.events, now, patient_data=web.show_patient_data),
            "has_ended": detail.submission.state in FINISHED,
            "patient_data": web.show_patient_data,
            "number": desk.present.number,
        }
        return desk.page(request, "sample.html", content)

    def receipt(self, request: Request) -> Response:
        """The receipt of a finished submission, to keep."""
        submission = found(self._desk, request.path_params["uuid"])
        if submission.state not in FINISHED:
            raise HTTPException(404, "There is a receipt once the sample has ended.")
        shown = self._desk.settings().show_patient_data
        detail = self._desk.views.detail(submission.uuid)
        text = receipt_text(story.receipt_told(detail, patient_data=shown))
        name = f"{printable(submission.sample_id)}.attempt-{submission.attempt_number:03d}.receipt.json"
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        return Response(
            text, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{plain}"'}
        )

    def days(self, request: Request) -> Response:
        """The last days in figures."""
        now = self._desk.clock.now()
        today = days.day_of(now)
        first = today - timedelta(days=days.SHOWN - 1)
        shown = [*self._days_before(today, first, now), self._day(today, self._desk.present.standing())]
        content = {
            "charts": days.charts(shown),
            "days": [day for day in reversed(shown) if day.sent or day.failed],
            "width": days.WIDTH,
            "height": days.HEIGHT,
            "first": shown[0],
            "last": shown[-1],
            "number": self._desk.present.number,
        }
        return self._desk.page(request, "days.html", content)

    def _day(self, today: date, standing: Standing) -> Day:
        """Today, read again only when another sample has ended: all pages that are open ask for it."""
        overview = standing.overview
        last = overview.recent[0] if overview.recent else None
        ended = [overview.counts.get(state, 0) for state in sorted(FINISHED)]
        now = (today, ended, last and (last.uuid, last.finished_at))
        known = self._today
        if known is None or known.known != now:
            (day,) = days.days_until(today, self._desk.listings.ended_since(days.midnight(today)), 1)
            known = self._today = Today(now, day)
        return known.day

    def _days_before(self, today: date, first: date, now: float) -> list[Day]:
        """Days that are over change seldom: they are summed once in a while."""
        known = self._summed
        if known is None or known.today != today or not 0 <= now - known.at < SUMMED_SECONDS:
            ended = self._desk.listings.ended_since(days.midnight(first), days.midnight(today))
            known = Summed(today, now, days.days_until(today - timedelta(days=1), ended, days.SHOWN - 1))
            self._summed = known
        return known.days


def found(desk: Desk, wanted: str) -> Submission:
    """The submission with that UUID, or the newest of that sample ID. Raises HTTPException."""
    submission = desk.views.newest(wanted)
    if submission is None:
        raise HTTPException(404, "No such sample is known here.")
    return submission


def page_of(request: Request) -> int:
    """The page of a list that is asked for; 1 for whatever is no number."""
    text = request.query_params.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _unfinished(standing: Standing, rows: Rows) -> Iterable[Part]:
    """What needs somebody, first; then what is on the way, and what arrives."""
    needing = [rows.arriving(one) for one in standing.misnamed[:ROWS]]
    needing = [*map(rows.of, standing.attention[:ROWS]), *needing]
    yield Part("attention", "Needs attention", needing, len(standing.attention) + len(standing.misnamed) - len(needing))
    # What is just being taken is known as an arrival too.
    taken = [one for one in standing.overview.unfinished if one.state is not State.RECEIVING][:ROWS]
    number = sum(some.number for some in standing.overview.groups if some.state is not State.RECEIVING)
    yield Part("way", "On the way", [*map(rows.of, taken)], number - len(taken))
    arriving = standing.arriving
    yield Part("arriving", "Arriving", [*map(rows.arriving, arriving[:ROWS])], len(arriving[ROWS:]))


def _arriving_like(text: str, standing: Standing, rows: Rows) -> Part:
    alike = [one for one in standing.overview.receiving if text.lower() in printable(one.folder_name).lower()]
    return Part("arriving", "In the inbox", [*map(rows.arriving, alike[:ROWS])], len(alike[ROWS:]))


def _once(listing: Listing, standing: Standing, *, anyway: bool) -> list[Submission]:
    """Without what stands above already: it needs attention, or has ended since the state was looked at."""
    if anyway:
        return listing.submissions
    above = {one.uuid for one in (*standing.attention[:ROWS], *standing.overview.unfinished)}
    before = [one for one in listing.submissions if (one.finished_at or 0.0) <= standing.at]
    return [one for one in before if one.uuid not in above]


def _facts(submission: Submission, now: float, place: str) -> list[tuple[str, str]]:
    facts = [
        ("Folder", LIES_NOWHERE if submission.is_lost else printable(place)),
        ("Taken", _when(submission.taken_at, now)),
    ]
    if submission.finished_at is not None:
        facts.append(("Ended", _when(submission.finished_at, now)))
        facts.append(("It took", duration(submission.finished_at - submission.taken_at)))
    files = f"{count(submission.file_count, 'file')}, {size(submission.size)}"
    facts.append(("Files", f"{files}; {count(submission.image_count, 'image')}"))
    if submission.deleted_at is not None:
        facts.append(("Deleted", f"{_when(submission.deleted_at, now)}, as archive.retention says"))
    return [*facts, ("Submission", submission.uuid)]


def _when(at: float, now: float) -> str:
    told = moment_of(at, now)
    return told.exact if told.text == moment(at, now) else f"{told.exact} ({told.text})"
