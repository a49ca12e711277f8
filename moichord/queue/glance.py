"""The state at a glance: what status, page and metrics show of everything, read in one piece.

Owns that read model and its statements. However much waits, only some of it is read as rows (`most`); of the rest the
database counts and sums. It must not know how answers are drawn, nor import a library: a command that only looks is to
answer at once, and loading SQLAlchemy takes longer than all of this. So the statements are written out, in standard SQL
but for the `?` of their parameters, and whoever calls says how they are sent. Errors: those of the sender.

`VERSION` is that of the schema they were written for; a test compares it with the schema's.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from moichord.outage import Circuit
from moichord.sample import FINISHED, Api, Arrival, State, Step, Submission

VERSION = 1
MANY = 2**31 - 1
UPLOADS = 300
AT_ONCE = 500

Send = Callable[[str, tuple[Any, ...]], Iterable[Sequence[Any]]]
"""Sends one statement with its parameters; its rows."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the upload of one submission is. Images, and bytes as sent."""

    images: int
    images_acknowledged: int
    size: int
    size_acknowledged: int


@dataclass(frozen=True, slots=True)
class Group:
    """Submissions in work that are alike: `number` of them, the first taken at `oldest`, the last at `newest`."""

    state: State
    step: Step
    intent: str | None
    held_by: str | None
    number: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True)
class Upload:
    """When a submission was sent and how much of it, in bytes; one that still is has no `ended`."""

    began: float
    ended: float | None
    size: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at a glance. `unfinished` is oldest first, and not more of them than were asked for; `groups` count
    all that are in work. `processing` are those in hand, and `recent` finished ones, newest first. `progress` is that
    of all of these which are planned. `bytes_left` is what the image server does not have yet of all that is in work:
    as received, of what is not planned yet.
    """

    receiving: list[Arrival]
    unfinished: list[Submission]
    recent: list[Submission]
    counts: dict[State, int]
    progress: dict[str, Progress]
    circuits: list[Circuit]
    paused_at: float | None
    notices: list[str]
    groups: tuple[Group, ...]
    processing: tuple[Submission, ...]
    bytes_left: int

    @property
    def number_unfinished(self) -> int:
        """All that are in work, or just being taken."""
        return sum(group.number for group in self.groups)


@dataclass(frozen=True, slots=True)
class Glance:
    """All of one moment: `failed` are the failed submissions that are the newest of their sample, oldest first;
    `sending` the bytes of requests in flight, by submission; `uploads` the latest ones and those that take place.
    """

    overview: Overview
    failed: list[Submission]
    sending: dict[str, int]
    uploads: list[Upload]


# Named one by one, so that an index finds them among the many that have ended.
_STATES_IN_WORK = ", ".join(f"'{state}'" for state in State if state not in FINISHED)
_IN_WORK = f"s.state IN ({_STATES_IN_WORK})"
_COLUMNS = ", ".join(f"s.{field.name}" for field in fields(Submission))
_ARRIVAL = ", ".join(field.name for field in fields(Arrival))
_CIRCUIT = ", ".join(field.name for field in fields(Circuit))
_LENGTH = "i.header_length + i.tail_length"
_SENT = "NOT i.carried AND i.duplicate_of IS NULL"

VERSION_OF = "SELECT value FROM facts WHERE name = ?"
_FACTS = "SELECT name, value FROM facts WHERE name IN ('paused_at', 'notices', 'sending')"
_RECEIVING = f"SELECT {_ARRIVAL} FROM arrivals ORDER BY first_seen_at"
_CIRCUITS = f"SELECT {_CIRCUIT} FROM circuits"
_COUNTS = "SELECT s.state, count(*) FROM submissions s GROUP BY s.state"
_GROUPS = f"""
    SELECT s.state, s.step, s.intent, s.held_by, count(*), min(s.taken_at), max(s.taken_at)
    FROM submissions s WHERE {_IN_WORK} GROUP BY s.state, s.step, s.intent, s.held_by"""
_UNFINISHED = f"SELECT {_COLUMNS} FROM submissions s WHERE {_IN_WORK} ORDER BY s.taken_at LIMIT ?"
_PROCESSING = f"SELECT {_COLUMNS} FROM submissions s WHERE s.state = '{State.PROCESSING}' ORDER BY s.taken_at"
_RECENT = f"""
    SELECT {_COLUMNS} FROM submissions s
    WHERE s.finished_at > 0 AND (s.intent IS NULL OR s.intent <> 'conclude')
    ORDER BY s.finished_at DESC LIMIT ?"""
_FAILED = f"""
    SELECT {_COLUMNS} FROM submissions s WHERE s.state = '{State.FAILED}' AND NOT EXISTS (
        SELECT 1 FROM submissions newer
        WHERE newer.sample_id = s.sample_id AND newer.attempt_number > s.attempt_number)
    ORDER BY s.taken_at"""
_PROGRESS = f"""
    SELECT i.submission, count(*), count(i.acknowledged_at), sum({_LENGTH}),
        sum(CASE WHEN i.acknowledged_at IS NULL THEN 0 ELSE {_LENGTH} END)
    FROM images i WHERE i.submission IN (%s) AND {_SENT} GROUP BY i.submission"""
_BYTES_LEFT = f"""
    SELECT sum(coalesce((
        SELECT sum(CASE WHEN i.acknowledged_at IS NULL THEN {_LENGTH} ELSE 0 END)
        FROM images i WHERE i.submission = s.uuid AND {_SENT}), s.size))
    FROM submissions s WHERE {_IN_WORK}"""
_SENT_LATELY = f"""
    SELECT t.started_at, t.finished_at, s.size
    FROM submissions s JOIN steps t ON t.submission = s.uuid AND t.step = '{Step.UPLOAD}'
    WHERE s.finished_at >= ? AND s.outcome = '{State.DONE}' ORDER BY s.finished_at DESC LIMIT ?"""
_SENDING_NOW = f"""
    SELECT t.started_at, s.uuid
    FROM submissions s JOIN steps t ON t.submission = s.uuid AND t.step = '{Step.UPLOAD}'
    WHERE s.state = '{State.PROCESSING}' AND s.step = '{Step.UPLOAD}'"""


def version(send: Send) -> object:
    """The version of the schema that is there."""
    return next((_value(stored) for (stored,) in send(VERSION_OF, ("schema_version",))), None)


def glance(send: Send, *, since: float, recent: int, most: int | None) -> Glance:
    """Everything, in the snapshot that the statements see: `recent` finished ones, at most `most` that are not.

    `uploads` are those that ended after `since` (epoch seconds), UPLOADS at most.
    """
    overview = read_overview(send, recent=recent, most=most)
    failed = [_submission(row) for row in send(_FAILED, ())]
    in_flight = _facts(send).get("sending")
    uploads = _uploads(send, since, overview.progress) if overview.groups else []
    return Glance(overview, failed, in_flight if isinstance(in_flight, dict) else {}, uploads)


def read_overview(send: Send, *, recent: int, most: int | None) -> Overview:
    """What arrives, what is in work, and the `recent` submissions that finished last."""
    known = _facts(send)
    paused, notices = known.get("paused_at"), known.get("notices")
    unfinished = [_submission(row) for row in send(_UNFINISHED, (MANY if most is None else most,))]
    processing = [_submission(row) for row in send(_PROCESSING, ())]
    return Overview(
        receiving=read_receiving(send),
        unfinished=unfinished,
        recent=[_submission(row) for row in send(_RECENT, (recent,))],
        counts={State(state): number for state, number in send(_COUNTS, ())},
        progress=read_progress(send, {one.uuid: None for one in (*unfinished, *processing)}),
        circuits=[Circuit(Api(api), *rest) for api, *rest in send(_CIRCUITS, ())],
        paused_at=float(paused) if isinstance(paused, float | int) else None,
        notices=list(notices) if isinstance(notices, list) else [],
        groups=tuple(Group(State(state), Step(step), *rest) for state, step, *rest in send(_GROUPS, ())),
        processing=tuple(processing),
        bytes_left=next(int(left or 0) for (left,) in send(_BYTES_LEFT, ())),
    )


def read_receiving(send: Send) -> list[Arrival]:
    """The folders that are not taken yet, in the order in which they were seen."""
    return [Arrival(os.fsdecode(name), *rest) for name, *rest in send(_RECEIVING, ())]


def read_progress(send: Send, whose: Iterable[str]) -> dict[str, Progress]:
    """How far these submissions are, by UUID; nothing of what is not planned yet."""
    uuids, found = list(whose), {}
    for begin in range(0, len(uuids), AT_ONCE):
        some = uuids[begin : begin + AT_ONCE]
        for uuid, *figures in send(_PROGRESS % ", ".join("?" * len(some)), tuple(some)):
            found[uuid] = Progress(*map(int, figures))
    return found


def _facts(send: Send) -> dict[str, object]:
    return {name: _value(stored) for name, stored in send(_FACTS, ())}


def _value(stored: Any) -> object:
    """What a column of JSON holds; SQLite keeps numbers in it as numbers."""
    return json.loads(stored) if isinstance(stored, str) else stored


def _submission(row: Sequence[Any]) -> Submission:
    known = dict(zip(_FIELDS, row, strict=True))
    for name, kind in _KINDS.items():
        if known[name] is not None:
            known[name] = kind(known[name])
    return Submission(**known)


_FIELDS = tuple(field.name for field in fields(Submission))
_KINDS: dict[str, Callable[[Any], object]] = {
    "folder_name": os.fsdecode,
    "place": os.fsdecode,
    "state": State,
    "step": Step,
    "outcome": State,
}


def _uploads(send: Send, since: float, progress: dict[str, Progress]) -> list[Upload]:
    past = [Upload(*row) for row in send(_SENT_LATELY, (since, UPLOADS))]
    now = [(began, progress[uuid]) for began, uuid in send(_SENDING_NOW, ()) if uuid in progress]
    return past + [Upload(began, None, known.size_acknowledged) for began, known in now]
