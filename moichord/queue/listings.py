"""Read models of the page that leaf through the state instead of giving all of it: finished samples, days, images.

Owns those questions. It changes nothing, and must not know how answers are drawn. Errors: StateUnwritable if the state
cannot be read.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from moichord.queue.database import Database
from moichord.queue.rows import submission_of
from moichord.queue.schema import history, images, requests, submissions
from moichord.sample import State, Submission

s = submissions.c
_BEING_FILED = s.intent == "conclude"
_FILED = or_(s.intent.is_(None), s.intent != "conclude")


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of `total` submissions."""

    submissions: list[Submission]
    total: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How one submission ended, in figures. `first_seen_at` is when its folder was first seen, if that is known."""

    state: State
    size: int
    image_count: int
    first_seen_at: float | None
    taken_at: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image that was planned, and where it lies in its sample's folder."""

    number: int
    relative_path: str
    size: int


class Listings:
    """Questions whose answers have pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ended(self, first: int, most: int, *, since: float | None = None, before: float | None = None) -> Listing:
        """Finished submissions, newest first, from the `first`th on; only those that ended within those times."""
        limits = [s.finished_at > 0]
        limits += [] if since is None else [s.finished_at >= since]
        limits += [] if before is None else [s.finished_at < before]
        within = and_(*limits)
        with self._database.read() as connection:
            # By an index alone, without reading rows; the few that are just being filed are found by another one.
            total = _number(connection, within) - _number(connection, and_(within, _BEING_FILED))
            return Listing(_leaf(connection, and_(within, _FILED), s.finished_at.desc(), first, most), total)

    def matching(self, text: str, first: int, most: int) -> Listing:
        """Submissions in any state whose sample ID contains `text`, in upper or lower case; newest first."""
        found = or_(s.sample_id.icontains(text, autoescape=True), s.uuid == text.lower())
        with self._database.read() as connection:
            return Listing(_leaf(connection, found, s.taken_at.desc(), first, most), _number(connection, found))

    def ended_since(self, moment: float, before: float | None = None) -> list[Ended]:
        """Every submission that ended since then (and before another time), in figures."""
        h, early = history.c, history.alias("early").c
        seen = h.detail["first_seen_at"].as_float()
        taking = select(func.min(early.number)).where(early.submission == s.uuid, early.state == str(State.READY))
        wanted = (
            select(s.state, s.size, s.image_count, seen, s.taken_at, s.finished_at)
            .select_from(submissions.outerjoin(history, h.number == taking.scalar_subquery()))
            .where(s.finished_at > 0, _FILED, s.finished_at >= moment)
        )
        if before is not None:
            wanted = wanted.where(s.finished_at < before)
        with self._database.read() as connection:
            return [Ended(State(row[0]), *row[1:]) for row in connection.execute(wanted)]

    def smallest_images(self, uuid: str, most: int) -> list[KnownImage]:
        """The images of a submission that are sent, the smallest first: the lowest level of a slide is among them."""
        i = images.c
        wanted = select(i.number, i.relative_path, i.size).where(i.submission == uuid, i.carried.is_(False))
        with self._database.read() as connection:
            return [KnownImage(*row) for row in connection.execute(wanted.order_by(i.size, i.number).limit(most))]

    def image(self, uuid: str, number: int) -> KnownImage | None:
        """That image, if it is one of this submission."""
        i = images.c
        wanted = select(i.number, i.relative_path, i.size).where(i.submission == uuid, i.number == number)
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
            return None if row is None else KnownImage(*row)

    def asked(self) -> dict[str, str]:
        """What people have asked for and is not carried out yet: retry or cancel, by submission."""
        wanted = select(requests.c.submission, requests.c.kind).where(requests.c.done_at.is_(None))
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted.order_by(requests.c.number))}


def _number(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(submissions).where(which)).scalar_one()


def _leaf(
    connection: Connection, which: ColumnElement[bool], order: ColumnElement[float], first: int, most: int
) -> list[Submission]:
    wanted = select(submissions).where(which).order_by(order).offset(first).limit(most)
    return [submission_of(row) for row in connection.execute(wanted)]
