"""What is told of a failed sample to a program elsewhere: its receipt without values of patients, and its lines.

Owns that form, version 1. What is in it is named here one by one, so that nothing gets in that is not: values of tags,
records, replies, names of files, and reasons, which may quote any of them, stay in the receipt in failed. Pure; no
error leaves it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from moichord import __version__
from moichord.queue.views import Detail
from moichord.receipt import DIGEST_NAME, iso, step_figures
from moichord.sample import STEPS, Event, Image, Step, StepRecord, printable
from moichord.status.notify.news import shown_id
from moichord.status.support import values_of_patients

VERSION = 1
MOST_IMAGES = 1000
MOST_LINES = 200
MOST_ROWS = 200
HIDDEN = "***"


def failure_report(detail: Detail, lines: Sequence[str], place: str) -> bytes:
    """The report as JSON, ASCII only. `lines` are those of the log, without what is `hidden_in` the detail.

    Times are ISO 8601 in UTC, sizes in bytes. Of a sample with very many images the first MOST_IMAGES are listed.
    """
    submission = detail.submission
    report = {
        "report": VERSION,
        "moichord": __version__,
        "host": place,
        "receipt": {
            "submission": submission.uuid,
            "sample_id": shown_id(submission.sample_id),
            "attempt_number": submission.attempt_number,
            "outcome": submission.outcome and str(submission.outcome),
            "step": str(submission.step),
            "taken_at": iso(submission.taken_at),
            "finished_at": iso(submission.finished_at),
            "files": submission.file_count,
            "size": submission.size,
            "steps": [_step(detail.steps[step]) for step in STEPS if step in detail.steps],
            "image_count": len(detail.images),
            "images": [_image(image) for image in detail.images[:MOST_IMAGES]],
        },
        "history": [_row(event) for event in detail.events[-MOST_ROWS:]],
        "log": list(lines[-MOST_LINES:]),
    }
    return (json.dumps(report) + "\n").encode("ascii")


def hidden_in(detail: Detail) -> set[str]:
    """What must not be seen in lines of the log: values of patients, names of files, IDs that are not shown.

    The log has none of them by itself, but for names of files; this is the second lock. What the other steps have
    noted is left out of it: their words are those of every other line.
    """
    submission = detail.submission
    of_servers: dict[Step, StepRecord] = {
        step: detail.steps[step] for step in (Step.METADATA, Step.ANALYTICS) if step in detail.steps
    }
    hide = values_of_patients([replace(detail, steps=of_servers)])
    names = {submission.folder_name, submission.place or "", submission.sample_id}
    keep = {submission.sample_id} if shown_id(submission.sample_id) == submission.sample_id else set()
    return hide | {printable(name) for name in names - keep if name}


def _step(record: StepRecord) -> Mapping[str, Any]:
    return {name: value for name, value in step_figures(record).items() if name != "last_problem"}


def _image(image: Image) -> Mapping[str, Any]:
    return {
        "sop_instance_uid": image.sop_instance_uid,
        "requests": image.requests,
        "acknowledged_at": iso(image.acknowledged_at),
        "status": image.status,
        "already_stored": image.already_stored,
        "refused": image.refused is not None,
        "size_received": image.size,
        "size_sent": image.sent_length if image.to_send else None,
        "digest": None if image.tail_digest is None else {"name": DIGEST_NAME, "value": image.tail_digest},
        "changes": [{"keyword": change.keyword, "before": HIDDEN, "after": HIDDEN} for change in image.changes],
    }


def _row(event: Event) -> Mapping[str, Any]:
    return {
        "at": iso(event.at),
        "state": event.state and str(event.state),
        "step": event.step and str(event.step),
    }
