"""The words of moichord as plain data: submissions, images, states, steps.

Owns the vocabulary that all rooms share. It must not know files, SQL, HTTP or DICOM encoding. No error leaves it.

Times are seconds since the epoch, UTC. Paths are relative to the sample's folder, with "/" between components;
bytes that are not UTF-8 are carried as surrogate escapes (PEP 383), as `os.fsdecode` gives them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

RECEIPT_NAME = "moichord-receipt.json"
FAILED_NAME = "moichord-FAILED.txt"
OWN_FILES = frozenset({RECEIPT_NAME, FAILED_NAME})


class State(StrEnum):
    """Where a sample is, in the order of a smooth trip."""

    RECEIVING = "receiving"
    READY = "ready"
    PROCESSING = "processing"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.DONE, State.FAILED, State.CANCELLED})


class Step(StrEnum):
    """What is done for a submission, in this order."""

    METADATA = "metadata"
    TAGS = "tags"
    UPLOAD = "upload"
    ANALYTICS = "analytics"
    ARCHIVE = "archive"


STEPS = tuple(Step)
SENT_WHOLE = (Step.ANALYTICS, Step.ARCHIVE)
"""At these every image is acknowledged: what is left of the trip never makes it fail for a fault of moichord's."""


LONG_REQUEST = 64 * 1024 * 1024
"""From so many bytes on sending may take minutes on a slow line."""

LONGEST_RETRY_AFTER = 24 * 3600.0
"""Seconds: what a server may ask for at most before it is asked again (Retry-After)."""


class Api(StrEnum):
    """The servers that moichord calls; each has one circuit."""

    METADATA = "metadata"
    UPLOAD = "upload"
    ANALYTICS = "analytics"


@dataclass(frozen=True, slots=True)
class Change:
    """One DICOM attribute before and after; None where it was absent (before) or removed (after)."""

    keyword: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Image:
    """One DICOM file of a submission, as planned by the tags step and as acknowledged by the server.

    `header_length` bytes of new header, then `tail_length` untouched bytes that begin at `tail_offset` of the
    received file, are what is sent. Digests are lower-case hexadecimal: `header_digest` and `tail_digest` BLAKE3,
    `sha256` of the whole file as sent. `requests` are those that the server may have carried out: counted before the
    first byte, and taken back when it is known that one has stored nothing.
    """

    relative_path: str
    size: int
    mtime_ns: int
    inode: int
    sop_instance_uid: str
    header_length: int
    header_digest: str
    tail_offset: int
    tail_length: int
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    number: int | None = None
    requests: int = 0
    carried: bool = False
    duplicate_of: str | None = None
    acknowledged_at: float | None = None
    status: int | None = None
    reply: Any = None
    already_stored: bool = False
    refused: str | None = None
    tail_digest: str | None = None
    sha256: str | None = None

    @property
    def sent_length(self) -> int:
        return self.header_length + self.tail_length

    @property
    def to_send(self) -> bool:
        """Whether this image goes to the server: not a second copy, not a non-image that is only carried."""
        return not self.carried and self.duplicate_of is None

    @property
    def maybe_stored(self) -> bool:
        """Whether the server may hold this image through a request of this submission; True when in doubt."""
        return self.requests > 0

    @property
    def upload_began(self) -> bool:
        """Whether a request of this submission has, or may have, told the server of this image and was dealt with."""
        return self.maybe_stored or self.refused is not None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The server has `image`. `tail_digest` is the BLAKE3 of the untouched part as it was sent, if it was sent."""

    image: Image
    status: int
    reply: Any
    already_stored: bool = False
    tail_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One trip of one sample.

    `reason` says why it waits or how it ended, `remedy` what a person can do. `intent` and `outcome` are set while
    the folder is to be moved; `doomed` is why it must fail, known when it was taken. `crashes` counts how often
    moichord broke off while it was processed, without progress; `repetition` how often analytics of the done sample
    were asked for again; `deleted_at` is when its folder was deleted.
    """

    uuid: str
    sample_id: str
    folder_name: str
    attempt_number: int
    state: State
    taken_at: float
    step: Step = Step.METADATA
    reason: str | None = None
    remedy: str | None = None
    next_try_at: float | None = None
    held_by: str | None = None
    finished_at: float | None = None
    place: str | None = None
    intent: str | None = None
    outcome: State | None = None
    size: int = 0
    file_count: int = 0
    image_count: int = 0
    manifest: str = ""
    doomed: str | None = None
    repetition: int = 0
    crashes: int = 0
    deleted_at: float | None = None

    @property
    def key(self) -> UUID:
        return UUID(self.uuid)

    @property
    def is_lost(self) -> bool:
        """Whether it has ended and lies nowhere: its folder was removed from work before it was filed."""
        return self.state in FINISHED and self.place is None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A folder of the inbox that is not taken yet, and the reason why."""

    folder_name: str
    sample_id: str | None
    reason: str
    manifest: str
    first_seen_at: float
    last_change_at: float
    file_count: int
    image_count: int
    size: int


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step of one submission.

    `tries` counts what retry counts, `failures` the turns that ended in waiting or giving up, counted or not.
    """

    step: Step
    tries: int = 0
    requests: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    result: Any = None
    last_problem: str | None = None
    failures: int = 0

    @property
    def tries_made(self) -> int:
        """Turns that failed, and the one that did not."""
        return self.failures + (self.finished_at is not None)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of history: a change of state, or what a person asked for."""

    at: float
    sample_id: str
    submission: str | None
    state: State | None
    step: Step | None
    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def about(submission: Submission, step: Step | None = None) -> dict[str, str]:
    """The fields of a log line about a submission, at `step`."""
    whose = {"sample": submission.sample_id, "submission": submission.uuid}
    return whose if step is None else {**whose, "step": str(step)}


def image_key(submission: UUID, image: Image) -> str:
    """The Idempotency-Key of an image: the same bytes for the same submission give the same key, always."""
    path = os.fsencode(image.relative_path).hex()
    return str(uuid5(submission, f"image:{path}:{image.header_digest}:{image.tail_length}"))


def images_key(submission: UUID, images: Sequence[Image]) -> str:
    """The Idempotency-Key of a request that brings these images: of one image its own, of several made of theirs."""
    if len(images) == 1:
        return image_key(submission, images[0])
    return str(uuid5(submission, "images:" + ":".join(image_key(submission, image) for image in images)))


def analytics_key(submission: UUID, repetition: int = 0) -> str:
    """The Idempotency-Key of the analytics call; a deliberate repetition of a done sample gets a new one."""
    return str(uuid5(submission, "analytics" if not repetition else f"analytics:{repetition}"))


def native(folder: Path, relative_path: str) -> Path:
    """The path on this machine of a file of a sample."""
    return folder.joinpath(*relative_path.split("/"))


def printable(text: str) -> str:
    """`text` as it may be shown anywhere: control characters and undecodable bytes become visible escapes."""
    if text.isprintable():
        return text
    shown = (c if c.isprintable() and not "\udc80" <= c <= "\udcff" else _escape(c) for c in text)
    return "".join(shown)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
