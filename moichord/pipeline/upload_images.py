"""Step 3: every image that is not acknowledged goes out, smallest first, through the daemon's one pool.

Owns the order of intent, request and acknowledgement for a parcel (one image, or all of the sample where the protocol
wants that), and what the failures of several mean together. Errors: SampleFailure, ApiFailure, Hold, Stopped.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from moichord.apis.upload import Instance, Parcel, Stored
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
from moichord.pipeline.equipment import Equipment
from moichord.pipeline.image_body import ImageBody, Sent
from moichord.pipeline.intents import Intents
from moichord.pipeline.journal import Journal
from moichord.pipeline.names import names_of
from moichord.pipeline.new_headers import NewHeaders
from moichord.pipeline.tag_images import STILL_WRITTEN
from moichord.pipeline.upload_pool import Bench, Job, LaneEnded
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import LONG_REQUEST, Acknowledgement, Api, Image, Step, images_key, native

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


def upload_images(
    journal: Journal, equipment: Equipment, folder: Path, tagging: Mapping[str, Any], headers: NewHeaders
) -> None:
    """Return when every image is acknowledged; otherwise raise the gravest of what went wrong."""
    wanted = Tagging.from_json(tagging)
    images = journal.images()
    _require_as_planned(journal, equipment, folder, images, wanted)
    waiting = sorted(
        (image for image in images if image.to_send and image.acknowledged_at is None),
        key=lambda image: (image.sent_length, image.relative_path),
    )
    parcels = [waiting] if waiting and equipment.uploader.takes_whole_samples else [[image] for image in waiting]
    short = sum(_length(parcel) < LONG_REQUEST for parcel in parcels)
    intents = Intents(journal, parcels, short)
    jobs: list[Job] = [_job(journal, equipment, folder, wanted, headers, intents, *one) for one in enumerate(parcels)]
    try:
        _send_all(journal, equipment, jobs, short)
    finally:
        intents.take_back()
    if not _same_files(equipment, folder, wanted):
        raise _came_too_late()


def _send_all(journal: Journal, equipment: Equipment, jobs: Sequence[Job], short: int) -> None:
    if journal.cautious(Api.UPLOAD):
        # One request goes out by itself, with the smallest image, before the others are tried.
        _raise_gravest(equipment.pool.run(jobs[:1], _ends_the_turn, short=min(1, short)))
        jobs, short = jobs[1:], max(0, short - 1)
    _raise_gravest(equipment.pool.run(jobs, _ends_the_turn, short=short))


def _length(parcel: Sequence[Image]) -> int:
    return sum(image.sent_length for image in parcel)


def _require_as_planned(
    journal: Journal, equipment: Equipment, folder: Path, images: Sequence[Image], tagging: Tagging
) -> None:
    """Before the first request a change is no failure yet: the sample settles again, and is planned anew."""
    same_files = _same_files(equipment, folder, tagging)
    if any(image.upload_began for image in images):
        if not same_files:
            raise _came_too_late()
        return
    if not same_files or not all(_is_as_planned(folder, image) for image in images):
        journal.replan()
        raise Hold(STILL_WRITTEN, held_by="settling", seconds=1.0)


def _same_files(equipment: Equipment, folder: Path, tagging: Tagging) -> bool:
    """Whether the folder lists as it was planned, by what was to be ignored then, whatever is now."""
    ignored = equipment.ignored if tagging.ignored is None else tagging.ignored
    return equipment.listing(folder, ignored) == tagging.listing


def _is_as_planned(folder: Path, image: Image) -> bool:
    found = native(folder, image.relative_path).lstat()
    return (found.st_size, found.st_mtime_ns) == (image.size, image.mtime_ns)


def _came_too_late() -> SampleFailure:
    return SampleFailure(
        "The folder was changed while being sent: files came, went or grew after the first image was on its way.",
        remedy="Drop the sample again, complete.",
    )


def _job(
    journal: Journal,
    equipment: Equipment,
    folder: Path,
    tagging: Tagging,
    headers: NewHeaders,
    intents: Intents,
    number: int,
    images: Sequence[Image],
) -> Job:
    def send(bench: Bench) -> None:
        with ExitStack() as opened:
            bodies = [
                opened.enter_context(
                    ImageBody(folder, image, tagging, bench.buffer, _told(journal, equipment, image), headers)
                )
                for image in images
            ]
            # Of several the others are opened one after the other, as they are sent.
            bodies[0].prepare()
            parcel = _parcel(journal, equipment, tagging, bodies)
            journal.admit(Api.UPLOAD)
            with _laid_meanwhile(equipment, folder, images, tagging):
                intents.require(number)
                _request(journal, equipment, bodies, parcel, bench)

    return send


def _laid_meanwhile(
    equipment: Equipment, folder: Path, images: Sequence[Image], tagging: Tagging
) -> AbstractContextManager[None]:
    if equipment.ahead is None or equipment.archive_images != "updated":
        return nullcontext()
    return equipment.ahead.meanwhile(folder, images, tagging)


def _told(journal: Journal, equipment: Equipment, image: Image) -> Sent:
    return lambda sent: equipment.on_sent(journal.submission.uuid, image.relative_path, sent)


def _parcel(journal: Journal, equipment: Equipment, tagging: Tagging, bodies: Sequence[ImageBody]) -> Parcel:
    submission = journal.submission
    call = equipment.upload_call.render(names_of(submission))
    patient_id = next((value.text for value in tagging.values if value.keyword == "PatientID"), None)
    return Parcel(
        [
            Instance(body, body.image.sop_instance_uid, maybe_stored=body.image.maybe_stored, patient_id=patient_id)
            for body in bodies
        ],
        images_key(submission.key, [body.image for body in bodies]),
        accept_already_stored=equipment.accept_already_stored,
        headers=call.headers,
        fields=call.fields,
    )


def _request(journal: Journal, equipment: Equipment, bodies: Sequence[ImageBody], parcel: Parcel, bench: Bench) -> None:
    images = [body.image for body in bodies]
    try:
        with bench.slot:
            journal.check_stop()  # it may have waited long for the slot
            stored = _send(journal, equipment, images, parcel)
    except ApiFailure as failure:
        if isinstance(failure, ApiRefusal):
            for image in images:
                journal.refused(image, failure.problem)
        journal.failed(Step.UPLOAD, failure, *images)
        raise
    except (LaneEnded, Hold):  # from before the first byte
        journal.not_sent(*images)
        raise
    except Stopped as stopped:
        if not stopped.maybe_done:
            journal.not_sent(*images)
        raise
    journal.acknowledged(
        *(
            Acknowledgement(body.image, one.status, one.reply, one.already_stored, body.tail_digest)
            for body, one in zip(bodies, stored, strict=True)
        ),
        written=bench.slot.hand_over(),
    )


def _send(journal: Journal, equipment: Equipment, images: Sequence[Image], parcel: Parcel) -> Sequence[Stored]:
    try:
        return equipment.uploader.send(parcel)
    finally:
        for image in images:
            equipment.on_sent(journal.submission.uuid, image.relative_path, None)


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
