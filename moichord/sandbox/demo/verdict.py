"""What became of each sample, as the daemon's state and the stand-in servers tell it, and whether it was so planned.

Owns the facts that the summary rests on: they come from both sides, so that it cannot praise what did not happen.
It must not know how they are told. Errors: `OSError` where a file of the demonstration cannot be read.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom import dcmread

from moichord.queue.views import Views
from moichord.sample import Api, Image, State, Step, Submission, native
from moichord.sandbox.demo.cast import BUSY_SECONDS, BUSY_TIMES, IMAGES, Part, Role
from moichord.sandbox.demo.stage import Stage
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis


@dataclass(frozen=True, slots=True)
class Trip:
    """One sample's trip.

    `submission` None: it was never taken. Of its images: `acknowledged` the state has an answer for, `stored` the
    server took in, `stored_again` came twice, `identical` have the scanner's pixel data byte for byte, `tagged` carry
    the patient's name on the server; `busy` uploads were answered 503, and the next one of that
    image came `pause` seconds later at the earliest. `analytics` calls went well, none of them before the last image
    was stored, if `in_order`.
    """

    role: Role
    submission: Submission | None
    acknowledged: int = 0
    stored: int = 0
    stored_again: int = 0
    identical: int = 0
    tagged: int = 0
    busy: int = 0
    pause: float = math.inf
    analytics: int = 0
    in_order: bool = True

    @property
    def state(self) -> State:
        return State.RECEIVING if self.submission is None else self.submission.state

    @property
    def went_well(self) -> bool:
        return next(surprises(self), None) is None


def trip_of(role: Role, views: Views, apis: StandInApis, stage: Stage) -> Trip:
    """Gather the facts about one sample."""
    submission = views.newest(role.sample_id)
    if submission is None:
        return Trip(role, None)
    detail = views.detail(submission.uuid)
    requests = [one for one in apis.requests.all() if one.is_about(role.sample_id)]
    uploads = Counter(one.stored or one.status for one in requests if one.api is Api.UPLOAD)
    sides = [_both_sides(image, role, apis, stage) for image in detail.images]
    return Trip(
        role,
        submission,
        acknowledged=sum(image.acknowledged_at is not None for image in detail.images),
        stored=uploads["Success"],
        stored_again=uploads["AlreadyStored"],
        identical=sum(identical for identical, _ in sides),
        tagged=sum(tagged for _, tagged in sides),
        busy=uploads[503],
        pause=_shortest_pause(requests),
        analytics=sum(one.api is Api.ANALYTICS and one.status == 200 for one in requests),
        in_order=_analytics_came_last(requests),
    )


def surprises(trip: Trip) -> Iterator[str]:
    """What is not as planned, in words; nothing if all is. Of a trip that ended otherwise, only that."""
    wanted = State.FAILED if trip.role.part is Part.UNKNOWN else State.DONE
    if trip.state is not wanted:
        why = trip.submission.reason if trip.submission else "it was never taken"
        yield f"it should be {wanted} and is {trip.state}" + (f": {why}" if why else "")
        return
    if trip.role.part is Part.UNKNOWN:
        if trip.submission and trip.submission.step is not Step.METADATA:
            yield f"it went as far as {trip.submission.step}"
        if trip.stored or trip.analytics:
            yield "a server was given an unknown sample"
        return
    for number, what in (
        (trip.acknowledged, "were acknowledged"),
        (trip.stored, "were stored"),
        (trip.tagged, "have the new tags on the server"),
        (trip.identical, "have the scanner's pixel data on the server"),
    ):
        if number != IMAGES:
            yield f"{number} of {IMAGES} images {what}"
    if trip.stored_again:
        yield f"{trip.stored_again} images came again after they were stored"
    if trip.analytics != 1:
        yield f"analytics was triggered {trip.analytics} times"
    if not trip.in_order:
        yield "analytics was triggered before all images were stored"
    if trip.role.part is Part.RETRIED:
        if trip.busy != BUSY_TIMES:
            yield f"the image server was busy {trip.busy} times instead of {BUSY_TIMES}"
        if trip.pause < BUSY_SECONDS:
            yield f"an image came again after {trip.pause:.1f} s, too early"


def _shortest_pause(requests: Iterable[Received]) -> float:
    """Seconds from an answer 503 to the next request with the same image; infinite if there was none."""
    uploads = [one for one in requests if one.api is Api.UPLOAD]
    pauses = [
        later.at - one.at
        for number, one in enumerate(uploads)
        if one.status == 503
        for later in uploads[number + 1 :]
        if later.sop_instance_uid == one.sop_instance_uid
    ]
    return min(pauses, default=math.inf)


def _analytics_came_last(requests: list[Received]) -> bool:
    good = [one.api for one in requests if one.status == 200]
    return Api.ANALYTICS not in good or Api.UPLOAD not in good[good.index(Api.ANALYTICS) :]


def _both_sides(image: Image, role: Role, apis: StandInApis, stage: Stage) -> tuple[bool, bool]:
    """Whether the server's copy has the scanner's pixel data, and whether it has the patient's name."""
    stored = [one.file for one in apis.instances if one.identity.sop_instance_uid == image.sop_instance_uid]
    if len(stored) != 1 or stored[0] is None:
        return False, False
    scanned = dcmread(native(stage.scanner / role.sample_id, image.relative_path))
    served = dcmread(stored[0])
    identical: bool = scanned.PixelData == served.PixelData
    return identical, str(served.PatientName) == role.animal.name
