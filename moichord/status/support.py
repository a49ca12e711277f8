"""What helps whoever is asked for help: versions, configuration, states, the newest of the log.

Owns what such a file holds and what it must not hold. Reasons and names of folders are left out, since they may quote
images and servers; all else goes through a filter that knows the secrets and the values of patients, in case they
stand where they should not. It must not know where the parts come from. Errors: OSError and UsageRefused where the
file cannot be written.
"""

import json
import os
import platform
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from moichord import __version__
from moichord.errors import MoichordError, UsageRefused
from moichord.logs import Redaction
from moichord.queue.views import Detail
from moichord.receipt import iso
from moichord.sample import Arrival, Event, Submission, printable
from moichord.status.standing import Standing

SHORTEST = 4
"""Values of patients that are shorter are not looked for: they are words of every other line."""

README = """\
Made by `moichord support`, to be given to whoever helps with moichord. It holds no keys, and no values of tags,
records or replies. Sample IDs and paths are in it: look through it before you give it away.

versions.json        moichord, Python, libraries, this machine
configuration.json   the configuration, without secrets, addresses shortened
problems.txt         what could not be gathered, and why
states.json          samples, servers, disks as they are now
history.json         the newest changes, without their texts
log.txt              the newest lines of the log
metrics.txt          what /metrics serves
"""


class NotGathered(MoichordError):
    """A part cannot be had; its text names no sample, and may stand in the file."""


def versions() -> Mapping[str, Any]:
    """Of moichord, of Python, of what it needs, and of this machine."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {
        "moichord": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "libraries": dict(sorted(found.items())),
    }


def states(standing: Standing) -> Mapping[str, Any]:
    """How it stands, without the words of images and servers."""
    overview = standing.overview
    return {
        "at": iso(standing.at),
        "daemon": standing.daemon,
        "paused_since": iso(overview.paused_at),
        "counts": {str(state): number for state, number in sorted(overview.counts.items())},
        "circuits": [
            {
                "api": str(one.api),
                "open_since": iso(one.open_since),
                "failures": one.failures,
                "probes": one.probes,
                "successes": one.successes,
                "next_probe_at": iso(one.next_probe_at),
            }
            for one in overview.circuits
        ],
        "notices": len(overview.notices),
        "disks": [{"folders": one.folders, "free": one.free, "size": one.size} for one in standing.disks],
        "receiving": [_arrival(one) for one in overview.receiving],
        "unfinished": [_submission(one) for one in overview.unfinished],
        "attention": [_submission(one) for one in standing.attention],
        "recent": [_submission(one) for one in overview.recent],
    }


def changes(events: Iterable[Event]) -> Sequence[Mapping[str, Any]]:
    """Rows of history without their texts."""
    return [
        {
            "at": iso(event.at),
            "sample_id": printable(event.sample_id) or None,
            "submission": event.submission,
            "state": event.state and str(event.state),
            "step": event.step and str(event.step),
            "occasion": event.detail.get("occasion"),
        }
        for event in events
    ]


def values_of_patients(details: Iterable[Detail]) -> set[str]:
    """What records and tags say of the patients of these submissions, and the names of their files."""
    found: set[str] = set()
    for detail in details:
        for record in detail.steps.values():
            found.update(_texts(record.result))
        for image in detail.images:
            found.add(printable(image.relative_path))
            found.update(text for change in image.changes for text in (change.before, change.after) if text)
        found.discard(detail.submission.sample_id)
    return {text for text in found if len(text) >= SHORTEST}


def write(file: Path, parts: Mapping[str, str], hide: Iterable[str]) -> None:
    """Write a zip of these texts, readable for its owner only, without any of what is to be hidden."""
    masked = Redaction(hide)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError as error:
        raise UsageRefused(f"{file} exists already.", remedy="Name another file, or remove that one.") from error
    with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"README.txt": README, **parts}.items():
            archive.writestr(name, masked(text).encode("utf-8", "backslashreplace"))


def as_json(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def gathered(parts: Mapping[str, Callable[[], str]], failures: tuple[type[Exception], ...]) -> dict[str, str]:
    """The texts of these parts; what cannot be had keeps none of the others from being written."""
    found, problems = {}, []
    for name, part in parts.items():
        try:
            found[name] = part()
        except failures as error:
            why = error.problem if isinstance(error, NotGathered) else type(error).__name__
            problems.append(f"{name}: {why}")
    return {**found, "problems.txt": "\n".join(problems) + "\n"}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _arrival(arrival: Arrival) -> Mapping[str, Any]:
    return {
        "sample_id": arrival.sample_id,
        "files": arrival.file_count,
        "images": arrival.image_count,
        "size": arrival.size,
        "first_seen_at": iso(arrival.first_seen_at),
        "last_change_at": iso(arrival.last_change_at),
    }


def _submission(submission: Submission) -> Mapping[str, Any]:
    return {
        "sample_id": printable(submission.sample_id),
        "attempt_number": submission.attempt_number,
        "submission": submission.uuid,
        "state": str(submission.state),
        "step": str(submission.step),
        "intent": submission.intent,
        "held_by": submission.held_by,
        "next_try_at": iso(submission.next_try_at),
        "taken_at": iso(submission.taken_at),
        "finished_at": iso(submission.finished_at),
        "files": submission.file_count,
        "images": submission.image_count,
        "size": submission.size,
        "crashes": submission.crashes,
    }
