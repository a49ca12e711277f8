"""What is written of a submission's images: planned, about to be sent, acknowledged, refused, archived.

Owns the statements on `images` that the journal carries out. Those that are given rows are units' acts: the rows of
several submissions may come together. Errors: IllegalTransition, when an image was not as a statement names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from moichord.queue.circuits import Circuits
from moichord.queue.rows import exactly, exactly_one, image_of, image_row
from moichord.queue.schema import images
from moichord.sample import Acknowledgement, Api, Image

_IMAGES_OF = select(images).where(images.c.submission == bindparam("of")).order_by(images.c.number)
_MISSING = (
    select(func.count())
    .select_from(images)
    .where(images.c.submission == bindparam("of"), images.c.acknowledged_at.is_(None))
    .where(images.c.carried.is_(False), images.c.duplicate_of.is_(None))
)
_FORGET_IMAGES = delete(images).where(images.c.submission == bindparam("of"))
_PLAN = images.insert()
_SENDING = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None))
    .values(requests=images.c.requests + 1)
)
_NOT_DONE = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None), images.c.requests > 0)
    .values(requests=images.c.requests - 1)
)
_ACKNOWLEDGED = (
    update(images)
    .where(images.c.number == bindparam("which"), images.c.acknowledged_at.is_(None))
    .values(
        acknowledged_at=bindparam("now"),
        status=bindparam("answer"),
        reply=bindparam("replied"),
        already_stored=bindparam("was_there"),
        tail_digest=bindparam("digest"),
        refused=None,
    )
)
_REFUSED = update(images).where(images.c.number == bindparam("which")).values(refused=bindparam("why"))
_ARCHIVED = update(images).where(images.c.number == bindparam("which")).values(sha256=bindparam("digest"))


def images_of(connection: Connection, submission: str) -> list[Image]:
    """The images of a submission as planned, with what became of them."""
    return [image_of(row) for row in connection.execute(_IMAGES_OF, {"of": submission})]


def missing(connection: Connection, submission: str) -> int:
    """How many images of a submission are to be sent and not acknowledged."""
    return int(connection.execute(_MISSING, {"of": submission}).scalar_one())


def plan(connection: Connection, submission: str, planned: Sequence[Image]) -> None:
    """These are its images; what was planned before is forgotten."""
    connection.execute(_FORGET_IMAGES, {"of": submission})
    if planned:
        connection.execute(_PLAN, [image_row(submission, image) for image in planned])


def refuse(connection: Connection, image: Image, why: str) -> None:
    """The server refuses this image for good."""
    changed = connection.execute(_REFUSED, {"which": image.number, "why": why}).rowcount
    exactly_one(changed, _names([{"which": image.number}]), "record a refused image")


def intend_to_send(connection: Connection, rows: list[Any]) -> None:
    """The first byte of these images, by `numbers`, is about to go out."""
    exactly(len(rows), connection.execute(_SENDING, rows).rowcount, _names(rows), "send an image")


def take_back(connection: Connection, rows: list[Any]) -> None:
    """The intended requests of these images, by `numbers`, have not gone out."""
    connection.execute(_NOT_DONE, rows)


def numbers(images: Sequence[Image]) -> list[dict[str, Any]]:
    """A row for each image."""
    return [{"which": image.number} for image in images]


@dataclass(frozen=True, slots=True)
class Answered:
    """An upload request that was answered well: the rows of its images."""

    circuits: Circuits
    rows: list[dict[str, Any]]


def answered(circuits: Circuits, acknowledgements: Sequence[Acknowledgement], now: float) -> Answered:
    """What is to be written of one request's acknowledgements."""
    rows = [
        {
            "which": one.image.number,
            "now": now,
            "answer": one.status,
            "replied": one.reply,
            "was_there": one.already_stored,
            "digest": one.tail_digest,
        }
        for one in acknowledgements
    ]
    return Answered(circuits, rows)


def acknowledge(connection: Connection, requests: list[Answered]) -> None:
    """The server has the images of these requests."""
    rows = [row for request in requests for row in request.rows]
    exactly(len(rows), connection.execute(_ACKNOWLEDGED, rows).rowcount, _names(rows), "acknowledge an image")
    requests[0].circuits.succeeded_often(connection, [Api.UPLOAD] * len(requests))


def digest(image: Image, sha256: str) -> dict[str, Any]:
    """The row of an image that lies as it is to be kept."""
    return {"which": image.number, "digest": sha256}


def note_archived(connection: Connection, rows: list[Any]) -> None:
    """These images, by `digest`, lie as they are to be kept."""
    exactly(len(rows), connection.execute(_ARCHIVED, rows).rowcount, _names(rows), "archive an image")


def _names(rows: list[Any]) -> str:
    return f"of image {', '.join(str(row['which']) for row in rows)}"
