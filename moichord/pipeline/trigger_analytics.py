"""Step 4: all images are acknowledged; tell analytics, once.

Owns the last check that nothing is missing, and the call. Errors: ApiFailure, Hold, Stopped, SampleFailure.
"""

from collections.abc import Mapping
from typing import Any

from moichord.errors import ApiFailure, SampleFailure
from moichord.pipeline.equipment import Equipment
from moichord.pipeline.journal import Journal
from moichord.pipeline.names import names_of
from moichord.sample import Api, Step, analytics_key
from moichord.templates import ValueMissing, ValueUnsuitable


def trigger_analytics(journal: Journal, equipment: Equipment, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The server's answer as kept; None if analytics is switched off."""
    if equipment.analytics is None:
        return None
    missing = journal.missing()
    if missing:
        raise SampleFailure(
            f"{missing} of its images are not stored on the image server yet: analytics was not triggered.",
            remedy="Retry the sample from upload: images that are stored are not sent again.",
        )
    try:
        call = equipment.analytics_call.render(names_of(journal.submission, record))
    except (ValueMissing, ValueUnsuitable) as unusable:
        raise SampleFailure(
            f"The analytics request cannot be made from the metadata record: {unusable}.",
            remedy="Complete the record in the laboratory's system and drop the sample again.",
        ) from unusable
    journal.admit(Api.ANALYTICS)
    journal.requesting(Step.ANALYTICS)
    key = analytics_key(journal.submission.key, journal.submission.repetition)
    try:
        reply = equipment.analytics.trigger(call.body, key, headers=call.headers, params=call.params)
    except ApiFailure as failure:
        journal.failed(Step.ANALYTICS, failure)
        raise
    journal.answered(Api.ANALYTICS)
    return {"status": reply.status, "reply": reply.reply, "idempotency_key": key}
