"""The whole order on one screen: metadata -> tags -> upload -> analytics -> archive.

Owns which step comes next and what it gets from those before. A step that the journal knows as finished is not done
again; each step can be repeated safely. Errors: what the steps raise (SampleFailure, ApiFailure, Hold, Stopped,
OSError), with the journal telling at which step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from moichord.pipeline.archive_sample import archive_sample
from moichord.pipeline.equipment import Equipment
from moichord.pipeline.fetch_metadata import fetch_metadata
from moichord.pipeline.journal import Journal
from moichord.pipeline.new_headers import NewHeaders
from moichord.pipeline.tag_images import tag_images
from moichord.pipeline.trigger_analytics import trigger_analytics
from moichord.pipeline.upload_images import upload_images
from moichord.sample import STEPS, Image, Step


@dataclass(slots=True)
class Trip:
    """One turn of one submission: where its files are, and the results of the steps as they come.

    `terms` is what a step that has begun goes by to its end, however often it is broken off and whatever is configured.

    `headers` are those of the images that the plan of this turn has made; of an earlier turn there are none.

    `renewed` gives the equipment for the step that begins, which a reload may have changed since the one before.
    """

    journal: Journal
    equipment: Equipment
    folder: Path
    results: dict[Step, Any] = field(default_factory=dict)
    terms: dict[Step, Any] = field(default_factory=dict)
    step: Step = Step.METADATA
    renewed: Callable[[], Equipment] | None = None
    headers: NewHeaders = field(default_factory=NewHeaders)


def run(trip: Trip, steps: Sequence[Step] = STEPS) -> None:
    """Do those of `steps` that are not done yet, in order; `trip.step` is always the one at hand."""
    known = trip.journal.steps()
    trip.results = {step: record.result for step, record in known.items() if record.finished_at is not None}
    trip.terms = {step: record.result for step, record in known.items() if record.finished_at is None}
    left = [step for step in steps if step not in trip.results]
    if left and left[0] not in known:
        trip.journal.begin(left[0])
    try:
        _do_all(trip, left)
    finally:
        if trip.equipment.ahead is not None:
            trip.equipment.ahead.drop(trip.folder)


def _do_all(trip: Trip, left: Sequence[Step]) -> None:
    following = dict(pairwise(left))
    for step in left:
        trip.step = step
        trip.journal.check_stop()
        if trip.renewed is not None:
            trip.equipment = trip.renewed()
        result, planned = _DO[step](trip)
        begins = following.get(step)
        trip.terms |= _terms_of(begins, trip)
        trip.journal.advance(step, result, begins, planned, trip.terms.get(begins) if begins else None)
        trip.results[step] = result


def _terms_of(step: Step | None, trip: Trip) -> dict[Step, Any]:
    """Images are laid one by one: all of a sample as they were to be when that began."""
    if step is not Step.ARCHIVE:
        return {}
    return {step: (trip.equipment if trip.renewed is None else trip.renewed()).archive_images}


def _fetch_metadata(trip: Trip) -> tuple[Any, None]:
    return fetch_metadata(trip.journal, trip.equipment), None


def _tag_images(trip: Trip) -> tuple[Any, Sequence[Image]]:
    plan = tag_images(trip.journal, trip.equipment, trip.folder, trip.results[Step.METADATA])
    trip.headers = plan.headers
    return plan.tagging.as_json(), plan.images


def _upload_images(trip: Trip) -> tuple[Any, None]:
    upload_images(trip.journal, trip.equipment, trip.folder, trip.results[Step.TAGS], trip.headers)
    return None, None


def _trigger_analytics(trip: Trip) -> tuple[Any, None]:
    return trigger_analytics(trip.journal, trip.equipment, trip.results[Step.METADATA]), None


def _archive_sample(trip: Trip) -> tuple[Any, None]:
    images = trip.terms.get(Step.ARCHIVE) or trip.equipment.archive_images
    archive_sample(trip.journal, trip.folder, trip.results[Step.TAGS], images, trip.equipment.ahead)
    return images, None


_DO: dict[Step, Callable[[Trip], tuple[Any, Sequence[Image] | None]]] = {
    Step.METADATA: _fetch_metadata,
    Step.TAGS: _tag_images,
    Step.UPLOAD: _upload_images,
    Step.ANALYTICS: _trigger_analytics,
    Step.ARCHIVE: _archive_sample,
}
