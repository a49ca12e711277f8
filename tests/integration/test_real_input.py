"""Real images, a real image server, the daemon as a process: dropped folders arrive, complete and unaltered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moichord.sample import Api, State, analytics_key
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon, receipt_of
from tests.integration.orthanc import Orthanc

pytestmark = pytest.mark.needs("Orthanc", "dcmdump")

MARKER = "COMPLETE"
# The images of a set come from many patients: that they agree is tested elsewhere.
MIXED = {"dicom": {"consistent": []}}
RECORDS = {
    "REAL-1": {
        "patient-name": "Żubr",
        "request_species": "Ferret",
        "test_type": "blood-smear-standard",
        "clinic-name": "Tierklinik Grünau",
    },
    "REAL-2": {
        "patient-name": "Admiral",
        "request_species": "Grey parrot",
        "test_type": "avian-differential",
        "clinic-name": "Northfield Bird Hospital",
    },
    "REAL-3": {
        "patient-name": "Sir Walter",
        "request_species": "Llama",
        "test_type": "haemoparasite-screen",
        "clinic-name": "Oakridge Farm Practice",
    },
}

House = Callable[..., Daemon]


@pytest.fixture
def house(make_daemon: MakeDaemon, apis: StandInApis, orthanc: Orthanc) -> House:
    """A running daemon that uploads to Orthanc and asks the stand-in APIs for the rest."""
    apis.records.update(RECORDS)

    def start(**watch: Any) -> Daemon:
        upload = {"url": orthanc.instances_url, "key": {"env": "ORTHANC_KEY"}}
        return make_daemon({**MIXED, "upload": upload, "watch": watch}, ORTHANC_KEY=orthanc.key).start()

    return start


def dropped_slowly(daemon: Daemon, original: Path, another_is_taken: Callable[[], None]) -> None:
    """In pieces, each seen by a scan; now and then nothing comes for longer than the settle time."""
    pieces = 0

    def look(folder: Path, written: int) -> None:
        nonlocal pieces
        pieces += 1

        def seen() -> bool:
            arrival = daemon.arrival(original.name)
            return arrival is not None and arrival.size == written

        daemon.wait_for(seen, f"{written} bytes to be seen in the inbox")
        if pieces % 7 == 1:
            another_is_taken()  # the scanner itself is slow here
        arrival = daemon.arrival(original.name)
        newest = max(folder.iterdir(), key=lambda path: path.name)
        assert arrival is not None, "taken while a file was still being written"
        assert arrival.reason.startswith("still arriving: ")
        assert newest.name in arrival.reason
        assert daemon.submissions(original.name) == []

    samples.drop_slowly(original, daemon.inbox, look)
    assert pieces >= 2 * len(list(original.iterdir()))


def renamed_in_whole(daemon: Daemon, original: Path, _another_is_taken: Callable[[], None]) -> None:
    samples.drop(original, daemon.inbox)


def with_a_ready_marker(daemon: Daemon, original: Path, another_is_taken: Callable[[], None]) -> None:
    def look(folder: Path) -> None:
        daemon.wait_for(lambda: daemon.arrival(original.name), "the folder to be seen")
        another_is_taken()  # all files lie there, unchanged; only the marker is missing
        arrival = daemon.arrival(original.name)
        assert arrival is not None, "taken without its marker"
        assert arrival.reason == f"waiting for {MARKER}"

    samples.drop_with_marker(original, daemon.inbox, look, MARKER)


WAYS = [
    pytest.param("REAL-1", dropped_slowly, {}, id="copied slowly"),
    pytest.param("REAL-2", renamed_in_whole, {}, id="renamed in whole"),
    pytest.param("REAL-3", with_a_ready_marker, {"ready_marker": MARKER, "settle_time": "0s"}, id="with a marker"),
]


@pytest.mark.parametrize(("sample_id", "drop", "watch"), WAYS)
def test_real_images_arrive_with_their_tags_and_their_pixels_untouched(
    sample_id: str,
    drop: Callable[[Daemon, Path, Callable[[], None]], None],
    watch: dict[str, Any],
    house: House,
    apis: StandInApis,
    orthanc: Orthanc,
    originals: Path,
    listeners: list[Callable[[Received], None]],
    another_is_taken: Callable[[], None],
    tmp_path: Path,
) -> None:
    original = samples.real_sample(originals / sample_id)
    images = samples.files_in(original)
    patient_id = f"{sample_id}-001"
    held_at_analytics = held_when_analytics_is_called(listeners, orthanc, patient_id)
    daemon = house(**watch)

    drop(daemon, original, another_is_taken)
    folder = daemon.wait_until_done(sample_id)

    arrived = judges.by_uid(orthanc.files_of(patient_id))
    expected = judges.expected_tags(sample_id, RECORDS[sample_id])
    assert arrived.keys() == judges.by_uid(images).keys()
    for uid, received in judges.by_uid(images).items():
        judges.assert_tagged(arrived[uid], expected)
        judges.assert_pixels_untouched(received, arrived[uid], tmp_path)
    in_done = samples.files_in(folder)
    assert {name: content for name, content in in_done.items() if name != MARKER} == {
        name: arrived[judges.sop_instance_uid(content)] for name, content in images.items()
    }
    receipt = receipt_of(folder)
    judges.assert_receipt_is_true(receipt, originals=images, arrived=arrived, in_done=in_done, expected=expected)
    assert_told_once(receipt, apis, sample_id, RECORDS[sample_id])
    assert held_at_analytics == [len(images)]
    assert_nowhere_else(daemon, sample_id)


def held_when_analytics_is_called(
    listeners: list[Callable[[Received], None]], orthanc: Orthanc, patient_id: str
) -> list[int]:
    """Filled with how many images of the patient Orthanc holds, at every analytics request before it is answered."""
    held: list[int] = []

    def count(received: Received) -> None:
        if received.api is Api.ANALYTICS:
            held.append(len(orthanc.instances_of(patient_id)))

    listeners.append(count)
    return held


def assert_told_once(receipt: dict[str, Any], apis: StandInApis, sample_id: str, record: dict[str, str]) -> None:
    """Metadata and analytics were called once each, as the contract says, and the receipt says the same."""
    (asked,) = apis.requests.calls(Api.METADATA)
    (told,) = apis.requests.calls(Api.ANALYTICS)
    assert (asked.method, asked.headers["content-type"]) == ("GET", "application/json")
    assert asked.json == {"sample_id": sample_id, "priority": 2}
    assert (told.method, told.headers["content-type"], told.status) == ("GET", "application/json", 200)
    assert told.json == {"sample_id": sample_id, "request_type": record["test_type"]}
    assert told.at >= judges.last_acknowledgement(receipt)
    assert receipt["metadata"] == record
    assert receipt["analytics"]["status"] == 200
    assert receipt["analytics"]["reply"]["status"] == "queued"
    assert receipt["analytics"]["idempotency_key"] == told.idempotency_key
    assert (receipt["sample_id"], receipt["attempt_number"], receipt["outcome"]) == (sample_id, 1, "done")
    assert (receipt["reason"], receipt["remedy"]) == (None, None)


def assert_nowhere_else(daemon: Daemon, sample_id: str) -> None:
    (submission,) = daemon.submissions(sample_id)
    assert daemon.wait_for(lambda: daemon.places_of(sample_id) == [f"done/{sample_id}"], "work to be empty")
    assert receipt_of(daemon.done / sample_id)["submission"] == submission.uuid


def test_a_second_drop_of_the_same_sample_is_a_second_attempt_with_new_instances(
    house: House, apis: StandInApis, orthanc: Orthanc, originals: Path
) -> None:
    apis.records["AGAIN-1"] = record = RECORDS["REAL-2"]
    original = samples.small_sample(originals / "AGAIN-1")
    daemon = house()
    samples.drop(original, daemon.inbox)
    first = daemon.wait_until_done("AGAIN-1")
    first_files = {path.name: path.read_bytes() for path in first.iterdir()}

    samples.drop(original, daemon.inbox)
    second = daemon.wait_until_done("AGAIN-1", attempt=2)

    assert second == daemon.done / "AGAIN-1.attempt-002"
    assert {path.name: path.read_bytes() for path in first.iterdir()} == first_files
    old, new = (judges.by_uid(orthanc.files_of(f"AGAIN-1-{attempt:03d}")) for attempt in (1, 2))
    assert old.keys() == new.keys() == judges.by_uid(samples.files_in(original)).keys()
    for content in new.values():
        judges.assert_tagged(content, judges.expected_tags("AGAIN-1", record, attempt=2))
    receipt = receipt_of(second)
    assert receipt["attempt_number"] == 2
    assert all(image["reply"]["Status"] == "Success" for image in receipt["images"])
    one, two = daemon.submissions("AGAIN-1")
    keys = [call.idempotency_key for call in apis.requests.calls(Api.ANALYTICS)]
    assert keys == [analytics_key(one.key), analytics_key(two.key)]
    assert one.state is two.state is State.DONE


def test_a_sample_that_is_dropped_again_while_the_first_is_in_work_waits_for_it(
    house: House, apis: StandInApis, orthanc: Orthanc, originals: Path
) -> None:
    original = samples.small_sample(originals / "AGAIN-2", images=1)
    daemon = house()
    gate = apis.hold(Api.ANALYTICS)
    samples.drop(original, daemon.inbox)
    daemon.wait_for(lambda: apis.requests.in_flight(Api.ANALYTICS), "the first to reach analytics")

    samples.drop(original, daemon.inbox)
    arrival = daemon.wait_for(lambda: daemon.arrival("AGAIN-2"), "the second to be seen")
    reason = "an earlier submission of AGAIN-2 is still being processed"
    daemon.wait_for(lambda: getattr(daemon.arrival("AGAIN-2"), "reason", None) == reason, "its reason")
    assert arrival.sample_id == "AGAIN-2"
    gate.set()

    daemon.wait_until_done("AGAIN-2", attempt=2)
    assert [s.state for s in daemon.submissions("AGAIN-2")] == [State.DONE, State.DONE]
    assert len(orthanc.instances_of("AGAIN-2-001")) == len(orthanc.instances_of("AGAIN-2-002")) == 1
