"""What must hold of many samples after many random kills: CONTRACT "Guarantees", as sentences about whatever does not.

Owns the judgement, made from folders, state and the servers' record alone. It must not know where the daemon was
killed. Nothing leaves it but sentences; none means that all guarantees hold.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from moichord.recovery import CRASHES_OF_POISON, POISON
from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api
from moichord.sandbox.received import Received
from tests.integration.daemon import receipt_of
from tests.integration.judges import assert_untouched_part_is_true
from tests.lifecycle.guarantees import keys_by_image, one_key_and_form_each
from tests.lifecycle.site import Site

WORK_MARK = ".moichord-state"
AT_RISK = 8  # requests at a kill whose answers were not committed yet: four uploads at once, and one a worker


@dataclass(frozen=True, slots=True)
class Death:
    """What is true after one kill: committed acknowledgements, requests received, where samples lie, who was at work.

    `uploads` and `analytics` count requests by Idempotency-Key; `acknowledged` holds SOP Instance UIDs, `triggered`
    and `processing` submissions' UUIDs.
    """

    acknowledged: frozenset[str]
    triggered: frozenset[str]
    processing: frozenset[str]
    uploads: Counter[str]
    analytics: Counter[str]
    places: Counter[str]

    @classmethod
    def of(cls, site: Site) -> Self:
        """Call it while no daemon runs."""
        for api in Api:
            site.apis.requests.wait_for(lambda log, api=api: log.in_flight(api) == 0)
        images, steps, submissions = (site.rows(table) for table in ("images", "steps", "submissions"))
        ended = {row["submission"] for row in steps if row["step"] == "analytics" and row["finished_at"] is not None}
        return cls(
            acknowledged=frozenset(row["sop_instance_uid"] for row in images if row["acknowledged_at"] is not None),
            triggered=frozenset(ended),
            processing=frozenset(row["uuid"] for row in submissions if row["state"] == "processing"),
            uploads=_by_key(site.apis.requests.calls(Api.UPLOAD)),
            analytics=_by_key(site.apis.requests.calls(Api.ANALYTICS)),
            places=Counter(Path(place).name for place in site.places()),
        )


def broken(site: Site, dropped: Sequence[str], deaths: Sequence[Death]) -> list[str]:
    """Which guarantees do not hold now that all have ended."""
    return [
        *_during(deaths),
        *_places(site, dropped),
        *_state(site, dropped, deaths),
        *_uploads(site, deaths),
        *_analytics(site, deaths),
        *_folders(site),
    ]


def repeated(uploads: Sequence[Received]) -> int:
    """How many of these were not the first of their image."""
    counted = _by_key(uploads)
    return counted.total() - len(counted)


def _by_key(requests: Sequence[Received]) -> Counter[str]:
    return Counter(str(request.idempotency_key) for request in requests)


def _during(deaths: Sequence[Death]) -> Iterator[str]:
    known: set[str] = set()
    for number, death in enumerate(deaths, 1):
        for name, times in death.places.items():
            if times > 1:
                yield f"after kill {number} {name} was in {times} places"
        for name in known - death.places.keys():
            yield f"after kill {number} {name} was in no place"
        known |= death.places.keys()


def _places(site: Site, dropped: Sequence[str]) -> Iterator[str]:
    places = list(site.places())
    ended = sorted(Path(place).name for place in places if Path(place).parent.name in ("done", "failed"))
    if ended != sorted(dropped):
        yield f"{len(dropped)} samples were dropped; in done and failed lie {len(ended)}: {ended}"
    if len(places) != len(ended):
        yield f"not everything has ended: {sorted(set(places))}"
    left = sorted(path.name for path in site.work.iterdir() if path.name != WORK_MARK)
    if left:
        yield f"work is not empty: {left}"
    for folder in (site.inbox, site.work, site.done, site.failed):
        for path in folder.rglob(".moichord-*"):
            if path != site.work / WORK_MARK:
                yield f"a temporary file is left: {path.relative_to(folder.parent)}"


def _state(site: Site, dropped: Sequence[str], deaths: Sequence[Death]) -> Iterator[str]:
    rows = site.rows("submissions")
    if sorted(row["sample_id"] for row in rows) != sorted(dropped):
        yield f"{len(rows)} submissions of {len(dropped)} samples"
    if site.rows("arrivals"):
        yield "a sample is still recorded as arriving"
    for row in rows:
        name = row["sample_id"]
        if (row["intent"], row["attempt_number"]) != (None, 1):
            yield f"the row of {name} says intent {row['intent']}, attempt {row['attempt_number']}"
        if not (site.root / str(row["state"]) / name).is_dir():
            yield f"{name} is {row['state']} and does not lie there"
        if row["state"] == "done":
            continue
        crashes = sum(row["uuid"] in death.processing for death in deaths)
        if row["reason"] != POISON or crashes < CRASHES_OF_POISON:
            yield f"{name} is {row['state']} after {crashes} kills: {row['reason']}"


def _uploads(site: Site, deaths: Sequence[Death]) -> Iterator[str]:
    uploads = site.apis.requests.calls(Api.UPLOAD)
    received = _by_key(uploads)
    keys = keys_by_image(uploads)
    yield from one_key_and_form_each(uploads)
    well = _by_key([request for request in uploads if request.status == 200])
    if well.total() - len(well) > AT_RISK * len(deaths):
        yield f"{well.total() - len(well)} uploads that had been answered well were repeated after {len(deaths)} kills"
    for number, death in enumerate(deaths, 1):
        again = sum(received[key] > death.uploads[key] for uid in death.acknowledged for key in keys[uid])
        if again:
            yield f"{again} images that were acknowledged before kill {number} were sent again"


def _analytics(site: Site, deaths: Sequence[Death]) -> Iterator[str]:
    calls = site.apis.requests.calls(Api.ANALYTICS)
    received = _by_key(calls)
    keys: dict[str, set[str]] = defaultdict(set)
    for call in (call for call in calls if call.complete):
        keys[str(call.sample_id)].add(str(call.idempotency_key))
    names = {row["uuid"]: row["sample_id"] for row in site.rows("submissions")}
    for name, several in keys.items():
        if len(several) > 1:
            yield f"analytics of {name} was triggered under {len(several)} keys"
    for number, death in enumerate(deaths, 1):
        for uuid in death.triggered:
            if any(received[key] > death.analytics[key] for key in keys[names[uuid]]):
                yield f"analytics of {names[uuid]} was triggered again after its answer before kill {number}"


def _folders(site: Site) -> Iterator[str]:
    stored = {one.identity.sop_instance_uid: one.sha256 for one in site.apis.instances}
    wanted = set()
    for folder in site.done.iterdir():
        receipt = receipt_of(folder)
        original = site.root / "originals" / folder.name
        if {path.name for path in folder.iterdir()} != {path.name for path in original.iterdir()} | {RECEIPT_NAME}:
            yield f"done/{folder.name} holds {sorted(path.name for path in folder.iterdir())}"
            continue
        for image in receipt["images"]:
            wanted.add(image["sop_instance_uid"])
            sent = (folder / image["path"]).read_bytes()
            digest = hashlib.sha256(sent).hexdigest()
            if not digest == image["sha256_sent"] == stored.get(image["sop_instance_uid"]):
                yield f"{image['path']} in done/{folder.name} is not what the server holds"
            assert_untouched_part_is_true(image["untouched"], (original / image["path"]).read_bytes(), sent)
    for folder in site.failed.iterdir():
        if not (folder / FAILED_NAME).read_text().startswith(POISON):
            yield f"failed/{folder.name} does not say that it is poison"
    missing = wanted - stored.keys()
    if missing:
        yield f"{len(missing)} images of samples in done are not on the server"
