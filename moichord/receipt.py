"""The receipt that lies in every finished folder, and the plain sentence for a failed one.

Owns the form of `moichord-receipt.json` (version 1) and of `moichord-FAILED.txt`. Pure: it gets what the state knows
and gives text (times for people in this machine's zone). It must not know where either is written. No error leaves it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moichord import __version__
from moichord.sample import STEPS, Image, State, Step, StepRecord, Submission, printable

VERSION = 1
DIGEST_NAME = "BLAKE3"


def receipt(submission: Submission, steps: Mapping[Step, StepRecord], images: Iterable[Image]) -> dict[str, Any]:
    """Everything that was done for `submission`, as JSON; whoever holds it can prove what was sent.

    Times are ISO 8601 in UTC, sizes and offsets in bytes, digests hexadecimal.
    """
    analytics = steps.get(Step.ANALYTICS)
    metadata = steps.get(Step.METADATA)
    return {
        "receipt": VERSION,
        "moichord": __version__,
        "submission": submission.uuid,
        "sample_id": submission.sample_id,
        "folder": printable(submission.folder_name),
        "attempt_number": submission.attempt_number,
        "outcome": submission.outcome and str(submission.outcome),
        "reason": submission.reason,
        "remedy": submission.remedy,
        "taken_at": iso(submission.taken_at),
        "finished_at": iso(submission.finished_at),
        "steps": [step_figures(steps[step]) for step in STEPS if step in steps],
        "metadata": metadata.result if metadata else None,
        "analytics": analytics.result if analytics else None,
        "images": [_image(image) for image in images],
    }


def receipt_text(content: Mapping[str, Any]) -> str:
    """The receipt as it is written: ASCII only, so that any program reads it."""
    return json.dumps(content, indent=2) + "\n"


def failed_text(submission: Submission, images: Sequence[Image], updated: Sequence[str] = ()) -> str:
    """One sentence of what is wrong, one of what to do, then details.

    `updated` are the paths of images that lie there with their new tags already.
    """
    cancelled = submission.outcome is State.CANCELLED
    lines = [
        submission.reason or ("The sample was cancelled." if cancelled else "The sample failed."),
        submission.remedy or "Ask the administrator of moichord to look at this sample's history.",
        "",
        f"Sample:     {submission.sample_id} (attempt {submission.attempt_number})",
        f"Submission: {submission.uuid}",
        f"Ended:      {_local(submission.finished_at)}, {submission.outcome}, at the step {submission.step}",
        *_counts([image for image in images if image.to_send]),
        "",
        *_contents(updated),
        "To send it after all, either let" if cancelled else "When the cause is mended, either let",
        f"    moichord retry {submission.sample_id}",
        "continue it, or move the folder back into the inbox: then it is sent as a new attempt.",
    ]
    return "\n".join(lines) + "\n"


def _counts(sent: Sequence[Image]) -> list[str]:
    if not sent:
        return ["Images:     nothing was sent to the image server"]
    stored = sum(image.acknowledged_at is not None for image in sent)
    refused = [image for image in sent if image.refused is not None]
    unanswered = sum(image.acknowledged_at is None and image.refused is None and image.maybe_stored for image in sent)
    left = len(sent) - stored - len(refused) - unanswered
    doubtful = f"{unanswered} may have been stored (no answer came), " if unanswered else ""
    return [
        f"Images:     {stored} stored on the image server, {len(refused)} refused, {doubtful}{left} not sent",
        *(f"Refused:    {printable(image.relative_path)}: {image.refused}" for image in refused),
    ]


def _contents(updated: Sequence[str]) -> list[str]:
    if not updated:
        return ["This folder holds the sample as it was received."]
    return [
        f"Its filing had begun: {len(updated)} of the images in this folder carry their new tags already:",
        *(f"    {printable(path)}" for path in updated),
        "All else is as it was received.",
    ]


def iso(moment: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def _local(moment: float | None) -> str | None:
    """For people: the time in this machine's zone, which is named."""
    if moment is None:
        return None
    then = datetime.fromtimestamp(moment, UTC).astimezone()
    offset = f"{then:%z}"
    return f"{then:%Y-%m-%d %H:%M:%S} (UTC{offset[:3]}:{offset[3:5]})"


def step_figures(record: StepRecord) -> dict[str, Any]:
    """How a step went, for the receipt and for `--json`. `tries` were made, `counted_tries` of them count for retry."""
    return {
        "step": str(record.step),
        "started_at": iso(record.started_at),
        "finished_at": iso(record.finished_at),
        "tries": record.tries_made,
        "counted_tries": record.tries,
        "last_problem": record.last_problem,
    }


def image_figures(image: Image) -> dict[str, Any]:
    """What became of an image, for the receipt and for `--json`: no values of patients."""
    return {
        "path": printable(image.relative_path),
        "sop_instance_uid": image.sop_instance_uid,
        "requests": image.requests,
        "acknowledged_at": iso(image.acknowledged_at),
        "status": image.status,
        "already_stored": image.already_stored,
        "refused": image.refused,
    }


def _image(image: Image) -> dict[str, Any]:
    return {
        **image_figures(image),
        "size_received": image.size,
        "size_sent": image.sent_length if image.to_send else None,
        "sent": image.to_send,
        "same_as": None if image.duplicate_of is None else printable(image.duplicate_of),
        "untouched": {
            "offset_received": image.tail_offset,
            "offset_sent": image.header_length,
            "length": image.tail_length,
            "digest": DIGEST_NAME,
            "value": image.tail_digest,
        },
        "sha256_sent": image.sha256,
        "changes": [
            {"keyword": change.keyword, "before": change.before, "after": change.after} for change in image.changes
        ],
        "warnings": list(image.warnings),
        "reply": image.reply,
    }
