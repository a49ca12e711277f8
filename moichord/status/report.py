"""The state as JSON, version 1: what `--json` prints and programs may rely on.

Owns that schema: keys are added, never renamed or removed within a version. It holds no tags and no replies, but
what a reason quotes of them. It must not know who reads it. No error leaves it. Pure.

Times are ISO 8601 in UTC, sizes in bytes; what is not known is null.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from moichord import __version__
from moichord.outage import Circuit
from moichord.queue.glance import Progress
from moichord.receipt import image_figures, iso, step_figures
from moichord.sample import STEPS, Arrival, Event, Image, Submission, printable
from moichord.status.sentences import Sentence, plain_state, sentences, share_sent
from moichord.status.standing import Standing

if TYPE_CHECKING:
    from moichord.queue.views import Detail

VERSION = 1


def overview_report(standing: Standing) -> dict[str, Any]:
    """What `status --json` prints."""
    overview = standing.overview
    said = sentences(standing)
    return {
        **_head(standing.at),
        "banner": said[0].text,
        "sentences": [_sentence(one) for one in said],
        "daemon": {"running": standing.daemon},
        "paused_since": iso(overview.paused_at),
        "throughput": standing.rate,
        "size_left": standing.bytes_left,
        "seconds_left": standing.seconds_left,
        "disks": [{"folders": list(one.folders), "free": one.free, "size": one.size} for one in standing.disks],
        "counts": {str(state): number for state, number in sorted(overview.counts.items())},
        "circuits": [_circuit(one) for one in overview.circuits],
        "receiving": [arrival_report(one) for one in overview.receiving],
        "unfinished": [_with_progress(one, standing) for one in overview.unfinished],
        "attention": [_submission(one) for one in standing.attention],
        "recent": [_submission(one) for one in overview.recent],
        "notices": list(overview.notices),
    }


def sample_report(detail: "Detail", others: Iterable[Submission], standing: Standing) -> dict[str, Any]:
    """What `status SAMPLE --json` prints: one submission, and in short the sample's others."""
    return {
        **_head(standing.at),
        "daemon": {"running": standing.daemon},
        **_with_progress(detail.submission, standing),
        "steps": [step_figures(detail.steps[step]) for step in STEPS if step in detail.steps],
        "image_list": [_image(image) for image in detail.images],
        "events": [_event(event) for event in detail.events],
        "other_submissions": [_submission(one) for one in others if one.uuid != detail.submission.uuid],
    }


def receiving_report(arrival: Arrival, standing: Standing) -> dict[str, Any]:
    """What `status SAMPLE --json` prints of a sample that is only arriving yet."""
    running = {"daemon": {"running": standing.daemon}}
    return {**_head(standing.at), **running, "state": "receiving", **arrival_report(arrival)}


def history_report(events: Iterable[Event], at: float) -> dict[str, Any]:
    """What `history --json` prints."""
    return {**_head(at), "events": [_event(event) for event in events]}


def arrival_report(arrival: Arrival) -> dict[str, Any]:
    return {
        "sample_id": arrival.sample_id,
        "folder": printable(arrival.folder_name),
        "reason": arrival.reason,
        "needs_attention": arrival.sample_id is None,
        "files": arrival.file_count,
        "images": arrival.image_count,
        "size": arrival.size,
        "first_seen_at": iso(arrival.first_seen_at),
        "last_change_at": iso(arrival.last_change_at),
    }


def _head(at: float) -> dict[str, Any]:
    return {"version": VERSION, "moichord": __version__, "at": iso(at)}


def _sentence(sentence: Sentence) -> dict[str, Any]:
    return {
        "level": str(sentence.level),
        "text": sentence.text,
        "reason": sentence.reason,
        "remedy": sentence.remedy,
    }


def _circuit(circuit: Circuit) -> dict[str, Any]:
    return {
        "api": str(circuit.api),
        "open": circuit.is_open,
        "open_since": iso(circuit.open_since),
        "reason": circuit.reason,
        "remedy": circuit.remedy,
        "next_probe_at": iso(circuit.next_probe_at),
    }


def _with_progress(submission: Submission, standing: Standing) -> dict[str, Any]:
    progress = standing.overview.progress.get(submission.uuid)
    in_flight = standing.sending.get(submission.uuid, 0)
    return {
        **_submission(submission, share_sent(progress, in_flight), daemon=standing.daemon),
        "upload": None if progress is None else _progress(progress, in_flight),
    }


def _progress(progress: Progress, in_flight: int) -> Mapping[str, int]:
    return {
        "images": progress.images,
        "images_acknowledged": progress.images_acknowledged,
        "size": progress.size,
        "size_acknowledged": progress.size_acknowledged,
        "size_in_flight": in_flight,
    }


def _submission(submission: Submission, share: float | None = None, *, daemon: bool = True) -> dict[str, Any]:
    return {
        "sample_id": submission.sample_id,
        "attempt_number": submission.attempt_number,
        "submission": submission.uuid,
        "state": str(submission.state),
        "shown_as": plain_state(submission, share, daemon=daemon),
        "step": str(submission.step),
        "reason": submission.reason,
        "remedy": submission.remedy,
        "held_by": submission.held_by,
        "next_try_at": iso(submission.next_try_at),
        "taken_at": iso(submission.taken_at),
        "finished_at": iso(submission.finished_at),
        "folder": printable(submission.place or submission.folder_name),
        "files": submission.file_count,
        "images": submission.image_count,
        "size": submission.size,
    }


def _image(image: Image) -> dict[str, Any]:
    return {**image_figures(image), "size": image.size, "to_send": image.to_send}


def _event(event: Event) -> dict[str, Any]:
    return {
        "at": iso(event.at),
        "sample_id": event.sample_id or None,
        "submission": event.submission,
        "occasion": event.detail.get("occasion"),
        "state": event.state and str(event.state),
        "step": event.step and str(event.step),
        "text": event.text,
    }
