"""One sample's whole story: its steps, its images, what was changed in them, what servers answered, what happened when.

Owns what is told of it and what is kept back: without leave, no value of a tag, no reply of a server. It must not know
HTML. Pure; no error leaves it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moichord.queue.views import Detail
from moichord.receipt import receipt
from moichord.sample import FINISHED, STEPS, Event, Image, Step, StepRecord, Submission, printable
from moichord.status.phrases import count, duration, moment, size
from moichord.status.veil import veiled
from moichord.status.web.rows import TONES, Moment, moment_of

KEPT_BACK = "hidden (web.show_patient_data)"
LONGEST_REPLY = 2000
_STEP = {
    Step.METADATA: "Fetch its record",
    Step.TAGS: "Check the images, plan their tags",
    Step.UPLOAD: "Send the images",
    Step.ANALYTICS: "Start the analysis",
    Step.ARCHIVE: "File it in done",
}
_SIGNS = {"done": "Done", "failed": "Failed", "now": "Under way", "waits": "Waits", "later": "To come"}


@dataclass(frozen=True, slots=True)
class StepTold:
    """One step. `kind` is done, failed, now, waits or later."""

    name: str
    what: str
    kind: str
    sign: str
    began: Moment | None
    took: str | None
    tries: str | None
    problem: str | None
    reply: str | None


@dataclass(frozen=True, slots=True)
class ChangeTold:
    keyword: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ImageTold:
    """One image. `number` is that of its thumbnail."""

    number: int | None
    path: str
    uid: str
    size: str
    state: str
    tone: str
    notes: tuple[str, ...]
    changes: tuple[ChangeTold, ...]
    reply: str | None


@dataclass(frozen=True, slots=True)
class EventTold:
    when: Moment
    state: str
    tone: str
    text: str


def steps_told(detail: Detail, now: float, *, patient_data: bool) -> list[StepTold]:
    """All five steps, also those that are still to come."""
    return [_step(step, detail.steps.get(step), detail.submission, now, patient_data) for step in STEPS]


def _step(step: Step, record: StepRecord | None, submission: Submission, now: float, patient_data: bool) -> StepTold:
    kind = _kind(step, record, submission)
    began = took = tries = problem = reply = None
    if record is not None:
        began = None if record.started_at is None else moment_of(record.started_at, now)
        if record.started_at is not None and record.finished_at is not None:
            took = duration(record.finished_at - record.started_at)
        tries = _tries(record)
        problem = None if record.last_problem is None else printable(shown_text(record.last_problem, patient_data))
        reply = _reply(record.result, patient_data=patient_data) if step in {Step.METADATA, Step.ANALYTICS} else None
    return StepTold(str(step), _STEP[step], kind, _SIGNS[kind], began, took, tries, problem, reply)


def _kind(step: Step, record: StepRecord | None, submission: Submission) -> str:
    if record is not None and record.finished_at is not None:
        return "done"
    if submission.step is not step:
        return "later"
    if submission.state in FINISHED:
        return "failed"
    return "waits" if submission.next_try_at is not None or submission.held_by else "now"


def _tries(record: StepRecord) -> str | None:
    if record.tries_made < 2 and not record.failures:
        return None
    counted = f", {record.tries} of them counted" if record.tries not in {0, record.failures} else ""
    return f"{count(record.tries_made, 'try', 'tries')} ended{counted}"


def images_told(images: Iterable[Image], *, patient_data: bool) -> list[ImageTold]:
    """The images with what became of them."""
    return [_image(image, patient_data=patient_data) for image in images]


def _image(image: Image, *, patient_data: bool) -> ImageTold:
    state, tone = _fate(image)
    notes = [printable(warning) for warning in image.warnings]
    notes += [f"Refused: {printable(image.refused)}"] if image.refused else []
    notes += ["It was stored there before."] if image.already_stored else []
    return ImageTold(
        number=image.number,
        path=printable(image.relative_path),
        uid=image.sop_instance_uid,
        size=size(image.size),
        state=state,
        tone=tone,
        notes=tuple(notes),
        changes=tuple(_change(one.keyword, one.before, one.after, patient_data) for one in image.changes),
        reply=_reply(image.reply, status=image.status, patient_data=patient_data),
    )


def _fate(image: Image) -> tuple[str, str]:
    if image.duplicate_of is not None:
        return f"The same as {printable(image.duplicate_of)}: not sent", "quiet"
    if image.carried:
        return "Not an image: not sent", "quiet"
    if image.refused is not None:
        return "Refused", "problem"
    if image.acknowledged_at is not None:
        return "Stored", "good"
    return ("Asked, not answered yet", "news") if image.requests else ("Not sent yet", "quiet")


def _change(keyword: str, before: str | None, after: str | None, patient_data: bool) -> ChangeTold:
    if patient_data:
        return ChangeTold(keyword, _value(before, "absent"), _value(after, "removed"))
    kind = "added" if before is None else "removed" if after is None else "changed"
    return ChangeTold(keyword, "absent" if before is None else KEPT_BACK, kind)


def _value(text: str | None, if_none: str) -> str:
    return if_none if text is None else printable(text) or "empty"


def _reply(content: Any, *, status: int | None = None, patient_data: bool) -> str | None:
    """What a server answered, as text."""
    if content is None and status is None:
        return None
    head = "" if status is None else f"{status} "
    if not patient_data:
        return f"{head}{KEPT_BACK}" if content is not None else head.strip()
    text = printable(json.dumps(content, ensure_ascii=False)) if content is not None else ""
    cut = f"{text[:LONGEST_REPLY]} … (cut)" if len(text) > LONGEST_REPLY else text
    return f"{head}{cut}".strip()


def events_told(events: Iterable[Event], now: float, *, patient_data: bool) -> list[EventTold]:
    """What happened, newest first."""
    return [_event(event, now, patient_data) for event in reversed(list(events))]


def shown_text(text: str, patient_data: bool) -> str:
    """A reason or the like; without leave, without what it quotes."""
    return text if patient_data else veiled(text)


def _event(event: Event, now: float, patient_data: bool) -> EventTold:
    when = moment_of(event.at, now)
    exact = Moment(moment(event.at, now, seconds=True), when.exact, event.at)
    state = "" if event.state is None else str(event.state)
    tone = "quiet" if event.state is None else TONES[event.state]
    until = event.detail.get("until")
    then = f" Next try at {moment(until, event.at, seconds=True)}." if isinstance(until, float | int) else ""
    said = printable(shown_text(event.text, patient_data))
    text = said.removeprefix(state).removeprefix(", ") if state else said
    return EventTold(exact, state, tone, f"{text}{then}")


def receipt_told(detail: Detail, *, patient_data: bool) -> dict[str, Any]:
    """The receipt; without leave, the values of patients and the replies of servers are hidden in it."""
    whole = receipt(detail.submission, detail.steps, detail.images)
    return whole if patient_data else _without_patient_data(whole)


def _without_patient_data(whole: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {name: KEPT_BACK for name in ("metadata", "analytics") if whole[name] is not None}
    images = [
        {
            **image,
            "changes": [
                {**change, "before": _veiled(change["before"]), "after": _veiled(change["after"])}
                for change in image["changes"]
            ],
            "reply": _veiled(image["reply"]),
        }
        for image in whole["images"]
    ]
    steps = [{**step, "last_problem": _quoting_nothing(step["last_problem"])} for step in whole["steps"]]
    reason = _quoting_nothing(whole["reason"])
    return {**whole, **hidden, "reason": reason, "steps": steps, "images": images}


def _quoting_nothing(text: str | None) -> str | None:
    return None if text is None else veiled(text)


def _veiled(value: Any) -> str | None:
    return None if value is None else KEPT_BACK
