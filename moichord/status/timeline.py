"""One sample drawn on a terminal: what it is, its steps, its images, and everything that happened to it.

Owns that layout, and the layout of history. It must not know where the state is. No error of its own leaves it.
No values of patients are drawn: neither tags nor replies.
"""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from moichord.queue.views import Detail
from moichord.sample import FINISHED, STEPS, Arrival, Event, Image, State, Step, StepRecord, Submission, printable
from moichord.status.phrases import LIES_NOWHERE, MOICHORD, ago, called, count, duration, moment, size
from moichord.status.sentences import goes_on, holding_api, share_sent, told
from moichord.status.standing import Standing
from moichord.status.terminal import HEADING, OF_STATE, QUIET, grid, indented, of_state

MOST_IMAGES = 12
SIGNS = {"done": "✓", "failed": "✗", "now": "•", "later": "·"}
PLAIN_SIGNS = {"done": "+", "failed": "x", "now": "*", "later": "-"}


def signs(console: Console) -> dict[str, str]:
    """Marks that this console can show."""
    return SIGNS if console.encoding.startswith("utf") else PLAIN_SIGNS


def draw_sample(
    detail: Detail,
    others: Iterable[Submission],
    standing: Standing,
    folder: Path,
    console: Console,
    *,
    most_events: int | None = None,
) -> RenderableType:
    """One submission with its whole story; `folder` is where the sample lies now.

    With `most_events`, of its timeline only the newest so many.
    """
    submission = detail.submission
    earlier = [one for one in others if one.uuid != submission.uuid]
    parts = [
        _title(submission, standing),
        indented(_facts(detail, standing, folder, earlier)),
        Text("\nSteps", style=HEADING),
        indented(_steps(detail, standing.at, console)),
    ]
    notable = [image for image in detail.images if image.refused or image.warnings]
    if notable:
        parts += [Text("\nImages to look at", style=HEADING), indented(_notable(notable))]
    events = detail.events if most_events is None else detail.events[-most_events:]
    parts += [Text("\nTimeline", style=HEADING), indented(draw_history(events, standing.at, names=False))]
    return Group(*parts)


def draw_arrival(arrival: Arrival, now: float) -> RenderableType:
    """A sample that is not taken yet."""
    title = Text(printable(arrival.sample_id or arrival.folder_name), style=HEADING)
    title.append("  ").append("Receiving", style=OF_STATE[State.RECEIVING])
    facts = grid()
    _fact(facts, "Why not yet", arrival.reason)
    images = count(arrival.image_count, "image")
    _fact(facts, "So far", f"{count(arrival.file_count, 'file')}, {images}, {size(arrival.size)}")
    _fact(facts, "First seen", _moment_and_age(arrival.first_seen_at, now))
    _fact(facts, "Last change", _moment_and_age(arrival.last_change_at, now))
    return Group(title, indented(facts))


def draw_history(events: Iterable[Event], now: float, *, names: bool = True) -> Table:
    """Rows of history, oldest first."""
    table = grid()
    table.add_column(no_wrap=True, style=QUIET)
    if names:
        table.add_column(overflow="fold", max_width=40)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for event in events:
        state = "" if event.state is None else str(event.state)
        colour = "" if event.state is None else OF_STATE[event.state]
        name = [Text(printable(event.sample_id) or MOICHORD, style="" if event.sample_id else QUIET)] if names else []
        text = "" if event.text == state else printable(told(event))
        table.add_row(moment(event.at, now, seconds=True), *name, Text(state, style=colour), Text(text))
    return table


def draw_attempts(events: Iterable[Event], now: float) -> RenderableType:
    """The rows of history of one sample, oldest first, below a heading for each of its attempts."""
    parts: list[RenderableType] = []
    for _, rows in groupby(events, lambda event: event.submission):
        of_one = list(rows)
        number = next((event.detail["attempt_number"] for event in of_one if "attempt_number" in event.detail), None)
        if number is not None:
            parts.append(Text(f"{chr(10) if parts else ''}Attempt {number}", style=HEADING))
        parts.append(indented(draw_history(of_one, now, names=False)))
    return Group(*parts)


def _title(submission: Submission, standing: Standing) -> RenderableType:
    progress = standing.overview.progress.get(submission.uuid)
    share = share_sent(progress, standing.sending.get(submission.uuid, 0))
    title = Text(f"{printable(submission.sample_id)}, attempt {submission.attempt_number}", style=HEADING)
    title.append("  ").append_text(of_state(submission, share, daemon=standing.daemon))
    said = (submission.reason, submission.remedy)
    lines = [Text(called(line, standing.command)) for line in said if line]
    api = holding_api(submission)
    circuit = None if api is None else standing.circuit(api)
    when = goes_on(submission, circuit, standing.at, paused=standing.paused)
    if when:
        lines.append(Text(called(when[:1].upper() + when[1:], standing.command)))
    return Group(title, *(indented(line) for line in lines), Text())


def _facts(detail: Detail, standing: Standing, folder: Path, earlier: list[Submission]) -> Table:
    submission, now = detail.submission, standing.at
    facts = grid()
    _fact(facts, "Folder", LIES_NOWHERE if submission.is_lost else printable(str(folder)))
    _fact(facts, "Submission", submission.uuid)
    _fact(facts, "Taken", _moment_and_age(submission.taken_at, now))
    if submission.finished_at is not None:
        took = duration(submission.finished_at - submission.taken_at)
        _fact(facts, "Ended", f"{_moment_and_age(submission.finished_at, now)}; it took {took}")
    _fact(facts, "Files", f"{count(submission.file_count, 'file')}, {size(submission.size)}")
    _fact(facts, "Images", _images(submission, detail.images))
    for one in earlier:
        _fact(facts, f"Attempt {one.attempt_number}", f"{one.state}, taken {moment(one.taken_at, now)}")
    return facts


def _fact(facts: Table, name: str, value: str) -> None:
    facts.add_row(Text(name, style=QUIET), Text(value, overflow="fold"))


def _images(submission: Submission, images: list[Image]) -> str:
    sent = [image for image in images if image.to_send]
    if not sent:
        return f"{submission.image_count}, none sent{'' if submission.state in FINISHED else ' yet'}"
    stored = [image for image in sent if image.acknowledged_at is not None]
    refused = sum(image.refused is not None for image in sent)
    parts = [f"{len(stored)} of {len(sent)} stored on the image server"]
    if refused:
        parts.append(f"{refused} refused")
    already = sum(image.already_stored for image in stored)
    if already:
        parts.append(f"{already} stored there before")
    kept = len(images) - len(sent)
    if kept:
        parts.append(f"{kept} not to be sent")
    total = sum(image.sent_length for image in sent)
    return f"{', '.join(parts)} ({size(sum(image.sent_length for image in stored))} of {size(total)})"


def _steps(detail: Detail, now: float, console: Console) -> Table:
    table = grid()
    marks = signs(console)
    for step in STEPS:
        record = detail.steps.get(step)
        kind = _kind(step, record, detail.submission)
        colour = {"done": "green", "failed": "red", "now": "cyan", "later": QUIET}[kind]
        table.add_row(
            Text(marks[kind], style=colour),
            Text(str(step)),
            Text(_course(record, now), style=QUIET),
        )
    return table


def _kind(step: Step, record: StepRecord | None, submission: Submission) -> str:
    if record is not None and record.finished_at is not None:
        return "done"
    here = submission.step is step and record is not None
    if here and submission.state in FINISHED:
        return "failed"
    return "now" if here else "later"


def _course(record: StepRecord | None, now: float) -> str:
    if record is None or record.started_at is None:
        return ""
    parts = [] if record.finished_at is None else [duration(record.finished_at - record.started_at)]
    if record.tries:
        parts.append(f"{record.tries} failed {'try' if record.tries == 1 else 'tries'}")
    if record.last_problem:
        parts.append(record.last_problem)
    return "  ".join((moment(record.started_at, now, seconds=True), "; ".join(parts)))


def _notable(images: list[Image]) -> Table:
    table = grid()
    for image in images[:MOST_IMAGES]:
        said = [f"refused: {image.refused}"] if image.refused else []
        said += image.warnings
        table.add_row(Text(printable(image.relative_path), overflow="fold"), Text(printable("; ".join(said))))
    if len(images) > MOST_IMAGES:
        table.add_row(Text(f"and {len(images) - MOST_IMAGES} more", style=QUIET), Text())
    return table


def _moment_and_age(at: float, now: float) -> str:
    return f"{moment(at, now, seconds=True)} ({ago(at, now)})"
