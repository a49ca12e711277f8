"""What must hold after any number of deaths: CONTRACT "Guarantees", as sentences about whatever does not.

Owns the judgement, made from folders, state and the servers' record alone; images are read with pydicom. It must not
know where the daemon was killed. Nothing leaves it but sentences; none means that all guarantees hold.
"""

import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api
from moichord.sandbox.received import Received
from tests.lifecycle.site import SAMPLE, SOMEBODY_ELSES, Site, Snapshot

TAGS = {"PatientName", "PatientSpeciesDescription", "BarcodeValue", "InstitutionName", "PatientID"}
RECORD = {"OriginalAttributesSequence", "InstanceCoercionDateTime"}
FOLLOWS = {
    None: {"ready"},
    "ready": {"processing"},
    "processing": {"waiting", "done", "failed", "cancelled"},
    "waiting": {"processing"},
    "failed": {"ready"},
    "cancelled": {"ready"},
    "done": set(),
}


def broken(site: Site, outcome: str, deaths: Sequence[Snapshot], *, orderly: bool = False) -> list[str]:
    """Which guarantees do not hold of a sample that has ended as `outcome`, after these deaths.

    `deleted` is the outcome of one whose folder retention took away after it had ended. `orderly` deaths were stops by
    SIGTERM: after them nothing at all is repeated.
    """
    if outcome == "deleted":
        return [*_deletion(site, deaths), *_left_over(site)]
    return [
        *_during(site, deaths),
        *_places(site, outcome),
        *_state(site, outcome),
        *_history(site, outcome),
        *_uploads(site, deaths, orderly=orderly),
        *_analytics(site, outcome, deaths, orderly=orderly),
        *_folder(site, outcome),
    ]


def _during(site: Site, deaths: Sequence[Snapshot]) -> Iterator[str]:
    for number, death in enumerate(deaths, 1):
        # Across file systems a verified copy may stand beside its source until that is deleted.
        most = 1 if site.layout.elsewhere is None else 2
        if not 1 <= len(death.places) <= most:
            yield f"after death {number} the sample was in {death.places or 'no place'}"


def _places(site: Site, outcome: str) -> Iterator[str]:
    kind = "done" if outcome == "done" else "failed"
    if (places := list(site.places())) != [f"{kind}/{SAMPLE}"]:
        yield f"in the end the sample is in {places}, not in {kind}"
    yield from _left_over(site)


def _deletion(site: Site, deaths: Sequence[Snapshot]) -> Iterator[str]:
    """Its folder is gone, whole, and nothing else is; what is known of it stays, and no server hears of it."""
    kind = str(site.layout.retention)
    for number, death in enumerate(deaths, 1):
        if death.places not in ((), (f"{kind}/{SAMPLE}",)):
            yield f"after death {number} the sample was in {death.places}"
        if death.places and not death.whole:
            yield f"after death {number} half of the sample lay under its own name"
    if places := list(site.places()):
        yield f"in the end the sample is in {places}, and was to be deleted"
    rows = [(row["state"], row["intent"], row["deleted_at"] is not None) for row in site.rows("submissions")]
    if rows != [(kind, None, True)]:
        yield f"the row says {rows}"
    if [row["last_attempt"] for row in site.rows("attempts")] != [1]:
        yield "the attempt number was forgotten"
    told = [row for row in site.rows("history") if "retention" in str(row["text"])]
    if len(told) != 1:
        yield f"history tells of the deletion {len(told)} times"
    for folder in (site.done, site.failed):
        if not (folder / SOMEBODY_ELSES / "notes.txt").is_file():
            yield f"what somebody else had put into {folder.name} was deleted"
    if requests := len(site.apis.requests):
        yield f"{requests} requests were made"


def _left_over(site: Site) -> Iterator[str]:
    left = sorted(path.name for path in site.work.iterdir() if path.name != ".moichord-state")
    if left:
        yield f"work is not empty: {left}"
    for folder in (site.inbox, site.work, site.done, site.failed):
        for path in folder.rglob(".moichord-*"):
            if path != site.work / ".moichord-state":
                yield f"a temporary file is left: {path.relative_to(folder.parent)}"


def _state(site: Site, outcome: str) -> Iterator[str]:
    rows = site.rows("submissions")
    if len(rows) != 1:
        yield f"{len(rows)} submissions of one sample"
        return
    row = rows[0]
    if (row["state"], row["intent"], row["attempt_number"]) != (outcome, None, 1):
        yield f"the row says state {row['state']}, intent {row['intent']}, attempt {row['attempt_number']}"
    if [row["last_attempt"] for row in site.rows("attempts")] != [1]:
        yield "an attempt number was given twice, or skipped"
    if site.rows("arrivals"):
        yield "the sample is still recorded as arriving"
    for request in site.rows("requests"):
        if request["done_at"] is None or str(request["outcome"]).startswith("refused"):
            yield f"the {request['kind']} that was asked for came to: {request['outcome']}"


def _history(site: Site, outcome: str) -> Iterator[str]:
    states = [row["state"] for row in site.rows("history") if row["state"] is not None]
    for before, after in pairwise([None, *states]):
        if after not in FOLLOWS.get(before, set()):
            yield f"history says {after} after {before}: {states}"
    if not states or states[-1] != outcome:
        yield f"history does not end with {outcome}: {states}"
    returns = sum(request["kind"] == "retry" for request in site.rows("requests"))
    if states.count("ready") != 1 + returns:
        yield f"history says ready {states.count('ready')} times, with {returns} retries: {states}"


def keys_by_image(uploads: Sequence[Received]) -> dict[str, set[str]]:
    """The Idempotency-Keys of whole requests, by SOP Instance UID."""
    keys: dict[str, set[str]] = defaultdict(set)
    for request in uploads:
        if request.complete and request.sop_instance_uid:
            keys[request.sop_instance_uid].add(str(request.idempotency_key))
    return keys


def one_key_and_form_each(uploads: Sequence[Received]) -> Iterator[str]:
    """Each image went under one Idempotency-Key of its own, with the same bytes each time."""
    keys = keys_by_image(uploads)
    digests: dict[str, set[str]] = defaultdict(set)
    for request in uploads:
        if request.complete and request.sop_instance_uid:
            digests[request.sop_instance_uid].add(request.sha256)
    for uid, several in keys.items():
        if len(several) > 1 or len(digests[uid]) > 1:
            yield f"an image was sent under {len(several)} keys, in {len(digests[uid])} forms"
    if len({key for several in keys.values() for key in several}) != len(keys):
        yield "two images were sent under one key"


def _uploads(site: Site, deaths: Sequence[Snapshot], *, orderly: bool) -> Iterator[str]:
    uploads = site.apis.requests.calls(Api.UPLOAD)
    keys = keys_by_image(uploads)
    yield from one_key_and_form_each(uploads)
    received = Counter(str(request.idempotency_key) for request in uploads)
    for death in deaths:
        for uid in death.acknowledged:
            for key in keys[uid]:
                if received[key] > death.received[key]:
                    yield "an acknowledged image was sent again"
    # One upload at a time and one worker: two images at the most were on their way at each death.
    repeated = {key: count - 1 for key, count in received.items() if count > 1}
    allowed = 0 if orderly else 2 * len(deaths)
    if sum(repeated.values()) > allowed or any(more > len(deaths) for more in repeated.values()):
        yield f"{sum(repeated.values())} uploads were repeated after {len(deaths)} deaths"


def _analytics(site: Site, outcome: str, deaths: Sequence[Snapshot], *, orderly: bool) -> Iterator[str]:
    calls = site.apis.requests.calls(Api.ANALYTICS)
    acknowledged = {row["sop_instance_uid"] for row in site.rows("images") if row["acknowledged_at"] is not None}
    if outcome != "done":
        if calls:
            yield "analytics was triggered for a sample that is not done"
        return
    if len(acknowledged) != len(site.images()):
        yield f"only {len(acknowledged)} images are acknowledged"
    if not 1 <= len(calls) <= 1 + (0 if orderly else len(deaths)):
        yield f"analytics was triggered {len(calls)} times"
    if len({call.idempotency_key for call in calls}) > 1:
        yield "analytics was triggered under several keys"
    body = {"sample_id": SAMPLE, "request_type": "blood-smear-standard"}
    if any(call.complete and call.json != body for call in calls):
        yield "analytics was triggered with another body"
    everything = site.apis.requests.all()
    first = next((number for number, request in enumerate(everything) if request.api is Api.ANALYTICS), 0)
    if any(request.api is Api.UPLOAD for request in everything[first:]) and calls:
        yield "an image was sent after analytics"
    for death in deaths:
        if death.analytics_finished and len(calls) > death.received["analytics"]:
            yield "analytics was triggered again after its answer was committed"


def _folder(site: Site, outcome: str) -> Iterator[str]:
    folder = (site.done if outcome == "done" else site.failed) / SAMPLE
    if not folder.is_dir():
        return
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    own = {RECEIPT_NAME} if outcome == "done" else {RECEIPT_NAME, FAILED_NAME}
    if not own <= found.keys():
        yield f"the folder lacks {own - found.keys()}"
        return
    receipt = json.loads(found[RECEIPT_NAME])
    known = (SAMPLE, 1, outcome, site.rows("submissions")[0]["uuid"])
    if tuple(receipt[name] for name in ("sample_id", "attempt_number", "outcome", "submission")) != known:
        yield f"the receipt says attempt {receipt['attempt_number']}, outcome {receipt['outcome']}"
    kept = set(site.received)
    if outcome == "done" and site.layout.images == "none":
        kept -= set(site.images())
    if found.keys() - own != kept:
        yield f"the folder holds {sorted(found)}"
    updated = outcome == "done" and site.layout.images == "updated"
    for name in kept & found.keys():
        if found[name] != site.received[name] and not (updated and name.endswith(".dcm")):
            yield f"{name} is not as it was received"
    if outcome == "done":
        yield from _images(site, receipt, found if updated else None)
        if (receipt["analytics"] or {}).get("status") != 200 or receipt["metadata"]["test_type"] is None:
            yield "the receipt lacks an answer"


def _images(site: Site, receipt: dict[str, Any], found: dict[str, bytes] | None) -> Iterator[str]:
    entries = {entry["path"]: entry for entry in receipt["images"]}
    stored = {one.identity.sop_instance_uid: one for one in site.apis.instances}
    before = _stored_before(site)
    for name in site.images():
        entry = entries[name]
        uid, original = entry["sop_instance_uid"], site.received[name]
        if uid not in stored:
            if uid not in before:
                yield f"{name} is not on the server"
            continue
        sent = _read(stored[uid].file)
        if found is not None and found[name] != sent:
            yield f"{name} in done is not what the server holds"
        if entry["sha256_sent"] != hashlib.sha256(sent).hexdigest() or entry["acknowledged_at"] is None:
            yield f"the receipt does not tell the truth about {name}"
        part = entry["untouched"]
        tail = original[part["offset_received"] :]
        if tail != sent[part["offset_sent"] :] or len(tail) != part["length"] or not tail:
            yield f"the untouched part of {name} was touched"
        yield from _attributes(name, original, sent)


def _attributes(name: str, original: bytes, sent: bytes) -> Iterator[str]:
    was, now = dcmread(io.BytesIO(original)), dcmread(io.BytesIO(sent))
    if now.PatientID != f"{SAMPLE}-001" or now.PatientSpeciesDescription != "Dog":
        yield f"{name} does not have its tags"
    for dataset in (was, now):
        _strip(dataset)
    if was != now or was.file_meta.TransferSyntaxUID != now.file_meta.TransferSyntaxUID:
        yield f"{name} was changed where no tag is configured"


def _strip(dataset: Dataset) -> None:
    for keyword in TAGS | RECORD:
        if keyword in dataset:
            del dataset[keyword]


def _stored_before(site: Site) -> set[str]:
    """Images that an earlier life of this sample had brought to a server which this site does not have."""
    received = {request.sop_instance_uid for request in site.apis.requests.calls(Api.UPLOAD)}
    return {row["sop_instance_uid"] for row in site.rows("images") if row["acknowledged_at"]} - received


def _read(file: Path | None) -> bytes:
    assert file is not None
    return file.read_bytes()
