"""Step 1: what the laboratory's system knows of the sample.

Owns the call and how long an unknown sample is asked for again. Errors: ApiFailure, Hold while
`unknown_sample_grace` runs, SampleFailure for a record without a required field once it is over, Stopped.
"""

from typing import Any

from moichord.errors import ApiFailure, Hold, SampleFailure, SampleUnknown
from moichord.pipeline.equipment import Equipment
from moichord.pipeline.journal import Journal
from moichord.pipeline.names import names_of
from moichord.pipeline.wanted_tags import wanted_values
from moichord.sample import Api, Step

ASK_AGAIN_AFTER = 60.0


def fetch_metadata(journal: Journal, equipment: Equipment) -> dict[str, Any]:
    """The record of the sample: a JSON object with every field that a required tag needs."""
    submission = journal.submission
    call = equipment.metadata_call.render(names_of(submission))
    journal.admit(Api.METADATA)
    journal.requesting(Step.METADATA)
    try:
        record = equipment.metadata.fetch(submission.sample_id, call.body, headers=call.headers, params=call.params)
    except SampleUnknown as unknown:
        journal.answered(Api.METADATA)
        _hold_while_late(journal, equipment, unknown.problem)
        raise
    except ApiFailure as failure:
        journal.failed(Step.METADATA, failure)
        raise
    journal.answered(Api.METADATA)
    try:
        wanted_values(equipment.tags.rules, record, submission)
    except SampleFailure as missing:
        _hold_while_late(journal, equipment, missing.problem)
        raise
    return record


def _hold_while_late(journal: Journal, equipment: Equipment, problem: str) -> None:
    grace = equipment.patience.unknown_sample_grace
    left = grace - journal.seconds_since_taken() if grace else 0.0
    if left > 0:
        raise Hold(f"{problem} Asking again.", held_by="metadata record", seconds=min(left, ASK_AGAIN_AFTER))
