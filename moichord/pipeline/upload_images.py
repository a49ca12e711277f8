"""Step 3: every image that is not acknowledged goes out, smallest first, through the daemon's one pool.

Owns the order of intent, request and acknowledgement for an image, and what the failures of several images mean
together. Errors: SampleFailure, ApiFailure, Hold, Stopped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moichord.apis.upload import Stored
from moichord.dicom import Changed, ImageStream, TaggedImage
from moichord.errors import (
    ApiFailure,
    ApiOutage,
    ApiRefusal,
    ApiTransient,
    Hold,
    MoichordError,
    SampleFailure,
    StateUnwritable,
    Stopped,
)
from moichord.pipeline.equipment import Equipment, names_of
from moichord.pipeline.image_files import changed_while_sent, dressed, has_stamp_of, opened
from moichord.pipeline.journal import Journal
from moichord.pipeline.tag_images import STILL_WRITTEN
from moichord.pipeline.upload_pool import Bench, Job, LaneEnded
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import Api, Image, Step, image_key, native

# What several failures of one turn mean together is what the first of these kinds among them means.
GRAVEST_FIRST: tuple[type[BaseException], ...] = (
    SampleFailure,
    ApiRefusal,
    StateUnwritable,
    ApiOutage,
    Hold,
    ApiTransient,
    Stopped,
)


class ImageBody:
    """A tagged image as an HTTP body: re-opened for every try, streamed through the bench's own buffer."""

    def __init__(self, image: TaggedImage, buffer: bytearray) -> None:
        self._image = image
        self._buffer = buffer
        self._stream: ImageStream | None = None

    @property
    def length(self) -> int:
        return self._image.length

    def open(self) -> ImageStream:
        self._stream = self._image.stream(self._buffer)
        return self._stream

    @property
    def tail_digest(self) -> str | None:
        """BLAKE3 of the untouched part as it was sent; None before all of it was."""
        return None if self._stream is None else self._stream.tail_digest


def upload_images(journal: Journal, equipment: Equipment, folder: Path, tagging: Mapping[str, Any]) -> None:
    """Return when every image is acknowledged; otherwise raise the gravest of what went wrong."""
    wanted = Tagging.from_json(tagging)
    images = journal.images()
    _require_as_planned(journal, equipment, folder, images, wanted)
    waiting = sorted(
        (image for image in images if image.to_send and image.acknowledged_at is None),
        key=lambda image: (image.sent_length, image.relative_path),
    )
    jobs: list[Job] = [_job(journal, equipment, folder, wanted, image) for image in waiting]
    if journal.cautious(Api.UPLOAD):
        # One request goes out by itself, with the smallest image, before the others are tried.
        _raise_gravest(equipment.pool.run(jobs[:1], _ends_the_turn))
        jobs = jobs[1:]
    _raise_gravest(equipment.pool.run(jobs, _ends_the_turn))
    if equipment.listing(folder) != wanted.listing:
        raise _came_too_late()


def _require_as_planned(
    journal: Journal, equipment: Equipment, folder: Path, images: Sequence[Image], tagging: Tagging
) -> None:
    """Before the first request a change is no failure yet: the sample settles again, and is planned anew."""
    same_files = equipment.listing(folder) == tagging.listing
    if any(image.upload_began for image in images):
        if not same_files:
            raise _came_too_late()
        return
    if not same_files or not all(_is_as_planned(folder, image) for image in images):
        journal.replan()
        raise Hold(STILL_WRITTEN, held_by="settling", seconds=1.0)


def _is_as_planned(folder: Path, image: Image) -> bool:
    found = native(folder, image.relative_path).lstat()
    return (found.st_size, found.st_mtime_ns) == (image.size, image.mtime_ns)


def _came_too_late() -> SampleFailure:
    return SampleFailure(
        "The folder was changed while being sent: files came, went or grew after the first image was on its way.",
        remedy="Drop the sample again, complete.",
    )


def _job(journal: Journal, equipment: Equipment, folder: Path, tagging: Tagging, image: Image) -> Job:
    def send(bench: Bench) -> None:
        with opened(folder, image.relative_path) as file:
            if not has_stamp_of(file, image):
                raise changed_while_sent(image.relative_path)
            try:
                tagged = dressed(file, tagging).image
                if tagged.header_digest != image.header_digest:
                    raise changed_while_sent(image.relative_path)
                _request(journal, equipment, image, ImageBody(tagged, bench.buffer), bench)
            except Changed as error:
                raise changed_while_sent(image.relative_path) from error

    return send


def _request(journal: Journal, equipment: Equipment, image: Image, body: ImageBody, bench: Bench) -> None:
    journal.admit(Api.UPLOAD)
    journal.sending(image)
    try:
        with bench.slot:
            stored = _send(journal, equipment, image, body)
    except ApiFailure as failure:
        if isinstance(failure, ApiRefusal):
            journal.refused(image, failure.problem)
        journal.failed(Step.UPLOAD, failure, image)
        raise
    except LaneEnded:
        journal.not_sent(image)
        raise
    except Stopped as stopped:
        if not stopped.maybe_done:
            journal.not_sent(image)
        raise
    journal.acknowledged(
        image,
        stored.status,
        stored.reply,
        already_stored=stored.already_stored,
        tail_digest=body.tail_digest,
    )


def _send(journal: Journal, equipment: Equipment, image: Image, body: ImageBody) -> Stored:
    submission = journal.submission

    def progress(sent: int) -> None:
        equipment.on_sent(submission.uuid, image.relative_path, sent)

    call = equipment.upload_call.render(names_of(submission))
    try:
        return equipment.uploader.send(
            body,
            image_key(submission.key, image),
            maybe_stored=image.maybe_stored,
            accept_already_stored=equipment.accept_already_stored,
            file_name=image.sop_instance_uid + ".dcm",
            progress=progress,
            headers=call.headers,
        )
    finally:
        equipment.on_sent(submission.uuid, image.relative_path, None)


def _ends_the_turn(error: BaseException) -> bool:
    """After a transient failure the other images still go out; after anything else nothing new starts."""
    return not isinstance(error, ApiTransient)


def _raise_gravest(failures: list[BaseException]) -> None:
    if not failures:
        return
    unforeseen = [error for error in failures if not isinstance(error, MoichordError)]
    for kind in GRAVEST_FIRST:
        alike = [error for error in failures if isinstance(error, kind)]
        if alike:
            raise max(alike, key=_asked_to_wait)
    raise unforeseen[0] if unforeseen else failures[0]


def _asked_to_wait(error: BaseException) -> float:
    """The seconds that a server asked for; the longest of them is honoured."""
    return (error.retry_after or 0.0) if isinstance(error, ApiFailure) else 0.0
