"""Bad input ends as the contract says: with a message to act on, nothing lost, and other samples unaffected."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from moichord.sample import Api, State, Step, Submission
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_image
from tests.integration import samples
from tests.integration.conftest import RECORD, MakeDaemon
from tests.integration.daemon import SETTLE_SECONDS, Daemon, daemons, failure_of, receipt_of

BAD, GOOD = "BAD-1", "GOOD-1"
Spoil = Callable[[Path, StandInApis], None]


def real_file(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


# What spoils a sample. Each is given its folder, which holds three good images, and the stand-in APIs.


def unknown_to_metadata(folder: Path, apis: StandInApis) -> None:
    apis.fail_for(lambda r: r.api is Api.METADATA and r.sample_id == folder.name, status=404)


def known_by_nothing_but_its_name(folder: Path, apis: StandInApis) -> None:
    apis.records[folder.name] = {}


def without_a_required_field(folder: Path, apis: StandInApis) -> None:
    apis.records[folder.name] = {key: value for key, value in RECORD.items() if key != "test_type"}


def with_an_empty_required_field(folder: Path, apis: StandInApis) -> None:
    apis.records[folder.name] = {**RECORD, "clinic-name": None}


def with_a_name_that_no_tag_can_hold(folder: Path, apis: StandInApis) -> None:
    apis.records[folder.name] = {**RECORD, "patient-name": "Biscuit\\Cracker"}


def with_a_text_called_dcm(folder: Path, apis: StandInApis) -> None:
    (folder / "notes.dcm").write_text("Slide 4 was repeated. " * 20)


def with_an_image_that_has_no_preamble(folder: Path, apis: StandInApis) -> None:
    (folder / "old.dcm").write_bytes(real_file("ExplVR_LitEndNoMeta.dcm"))


def with_a_symlink(folder: Path, apis: StandInApis) -> None:
    (folder / "elsewhere.dcm").symlink_to("/etc/passwd")


def with_a_pipe(folder: Path, apis: StandInApis) -> None:
    os.mkfifo(folder / "pipe.dcm")


def with_two_patients(folder: Path, apis: StandInApis) -> None:
    write_image(folder / "stranger.dcm", patient_id="P2")


def with_two_images_of_one_identity(folder: Path, apis: StandInApis) -> None:
    uid = pydicom.dcmread(folder / "image-0.dcm").SOPInstanceUID
    write_image(folder / "twin.dcm", sop_instance_uid=uid, rows=40)


def with_an_image_that_the_server_refuses(folder: Path, apis: StandInApis) -> None:
    uid = pydicom.dcmread(folder / "image-1.dcm").SOPInstanceUID
    apis.fail_for(lambda r: r.sop_instance_uid == uid, status=400, body=b'{"Message": "Bad file format"}')


# Who spoils it, what the first sentence of moichord-FAILED.txt says, and what the second tells people to do.
SPOILT: list[tuple[Spoil, list[str], list[str]]] = [
    (unknown_to_metadata, ["does not know the sample", "404"], ["registered", "retry"]),
    (known_by_nothing_but_its_name, ["does not know the sample", "empty reply"], ["registered", "retry"]),
    (without_a_required_field, ["metadata record", "test_type has no value", "BarcodeValue"], ["Complete the record"]),
    (with_an_empty_required_field, ["clinic-name", "has no value", "InstitutionName"], ["Complete the record"]),
    (with_a_name_that_no_tag_can_hold, ["patient-name"], ["Correct it where it comes from", "retry"]),
    (with_a_text_called_dcm, ["notes.dcm", "not a DICOM Part 10 file"], ["drop it"]),
    (with_an_image_that_has_no_preamble, ["old.dcm", "not a DICOM Part 10 file"], ["drop it"]),
    (with_a_symlink, ["elsewhere.dcm", "symbolic link"], ["drop it"]),
    (with_a_pipe, ["pipe.dcm", "pipe"], ["drop it"]),
    (with_two_patients, ["PatientID", "stranger.dcm", "P2"], ["Sort the images by sample"]),
    (with_two_images_of_one_identity, ["image-0.dcm and twin.dcm", "SOP Instance UID"], ["Export the sample again"]),
    (with_an_image_that_the_server_refuses, ["did not accept", "400", "Bad file format"], ["retry the sample"]),
]


@dataclass(frozen=True)
class Ward:
    """A daemon that was given all spoilt samples at once, and a good one among them."""

    daemon: Daemon
    apis: StandInApis
    originals: Path


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    root = tmp_path_factory.mktemp("ward")
    with StandInApis(any_sample=True) as apis, daemons(root, apis.environment()) as make:
        names = [sample_of(spoil) for spoil, _, _ in SPOILT]
        for name, (spoil, _, _) in zip(names, SPOILT, strict=True):
            spoil(samples.small_sample(root / "originals" / name), apis)
        samples.small_sample(root / "originals" / GOOD)
        daemon = make().start()
        for name in [*names[:5], GOOD, *names[5:]]:
            samples.drop(root / "originals" / name, daemon.inbox)
        yield Ward(daemon, apis, root / "originals")


def sample_of(spoil: Spoil) -> str:
    return spoil.__name__.replace("_", "-")


@pytest.mark.parametrize(("spoil", "problem", "remedy"), SPOILT, ids=[row[0].__name__ for row in SPOILT])
def test_a_bad_sample_fails_for_its_own_reason(spoil: Spoil, problem: list[str], remedy: list[str], ward: Ward) -> None:
    name = sample_of(spoil)

    folder = ward.daemon.wait_until_failed(name)

    assert_failed_with_everything(ward.daemon, ward.originals / name, folder, problem, remedy)


def test_a_good_sample_among_bad_ones_is_done_and_the_only_one_that_analytics_hears_of(ward: Ward) -> None:
    folder = ward.daemon.wait_until_done(GOOD)
    for spoil, _, _ in SPOILT:
        ward.daemon.wait_until_failed(sample_of(spoil))

    assert len(receipt_of(folder)["images"]) == 3
    assert [call.sample_id for call in ward.apis.requests.calls(Api.ANALYTICS)] == [GOOD]
    assert list(ward.daemon.inbox.iterdir()) == []


def assert_failed_with_everything(
    daemon: Daemon, original: Path, folder: Path, problem: list[str], remedy: list[str]
) -> None:
    """failed/ holds the sample exactly as received, with words that help, and it is nowhere else."""
    assert folder == daemon.failed / original.name
    assert samples.files_in(folder) == samples.files_in(original)
    assert {p.name for p in folder.iterdir()} == {
        *(p.name for p in original.iterdir()),
        "moichord-FAILED.txt",
        "moichord-receipt.json",
    }
    what, to_do, *details = failure_of(folder).splitlines()
    assert [words for words in problem if words not in what] == []
    assert [words for words in remedy if words not in to_do] == []
    assert what.endswith(".") or "The server wrote: " in what
    assert to_do.endswith(".")
    assert f"moichord retry {original.name}" in "\n".join(details)
    receipt = receipt_of(folder)
    submission = daemon.newest(original.name)
    assert submission is not None
    assert (receipt["outcome"], receipt["reason"], receipt["remedy"]) == ("failed", what, to_do)
    assert (submission.reason, submission.remedy) == (what, to_do)
    assert daemon.wait_for(lambda: daemon.places_of(original.name) == [f"failed/{original.name}"], "an empty work")


def test_after_a_refusal_nothing_new_is_sent_and_the_failed_text_counts_the_images(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon({"upload": {"concurrency": 1}}).start()
    bad = samples.small_sample(originals / BAD, images=5)
    with_an_image_that_the_server_refuses(bad, apis)
    samples.drop(bad, daemon.inbox)

    text = failure_of(daemon.wait_until_failed(BAD))

    stored, sent = len(apis.instances), apis.requests.calls(Api.UPLOAD)
    assert f"Images:     {stored} stored on the image server, 1 refused, {4 - stored} not sent" in text
    assert "Refused:    image-1.dcm: " in text
    # One at a time: nothing new was begun after the refusal.
    assert [call.status for call in sent] == [200] * stored + [400]
    assert stored < 4


def test_files_beside_the_images_come_along_unsent(daemon: Daemon, apis: StandInApis, originals: Path) -> None:
    original = samples.small_sample(originals / GOOD, images=1)
    beside = {"Thumbs.db": b"\0" * 99, "slide.xml": b"<slide/>", "sub/notes.txt": b"focus was poor", "._x.dcm": b"mac"}
    for name, content in beside.items():
        (original / name).parent.mkdir(exist_ok=True)
        (original / name).write_bytes(content)
    samples.drop(original, daemon.inbox)

    folder = daemon.wait_until_done(GOOD)

    assert {name: samples.files_in(folder).get(name) for name in beside} == beside
    assert len(apis.requests.calls(Api.UPLOAD)) == 1
    assert [image["path"] for image in receipt_of(folder)["images"]] == ["image-0.dcm"]


def test_what_is_no_sample_stays_in_the_inbox_and_says_why(daemon: Daemon, originals: Path) -> None:
    good = samples.small_sample(originals / GOOD, images=1)
    samples.drop(good, daemon.inbox, "no sample ID!")
    (daemon.inbox / "loose.dcm").write_bytes((good / "image-0.dcm").read_bytes())
    (daemon.inbox / "EMPTY-1").mkdir()
    samples.drop(good, daemon.inbox)

    daemon.wait_until_done(GOOD)

    named, empty = (daemon.arrival(name) for name in ("no sample ID!", "EMPTY-1"))
    assert named is not None
    assert named.reason == "its name is not a sample ID: rename the folder to the ID of the sample"
    assert empty is not None
    assert empty.reason == "no image yet"
    stray = "a loose file in the inbox is left alone: loose.dcm"
    daemon.wait_for(lambda: stray in daemon.overview().notices, "the loose file to be reported")
    assert sorted(p.name for p in daemon.inbox.iterdir()) == ["EMPTY-1", "loose.dcm", "no sample ID!"]
    (daemon.inbox / "no sample ID!").rename(daemon.inbox / "GOOD-2")
    daemon.wait_until_done("GOOD-2")


def test_an_empty_folder_fails_once_its_time_is_up(make_daemon: MakeDaemon, originals: Path) -> None:
    daemon = make_daemon({"watch": {"incomplete_timeout": "1s"}}).start()
    empty = originals / BAD
    empty.mkdir()
    samples.drop(empty, daemon.inbox)

    folder = daemon.wait_until_failed(BAD)

    assert_failed_with_everything(daemon, empty, folder, ["Still incomplete after 1 s", "no image yet"], ["drop it"])


def test_a_truncated_image_is_waited_for_then_fails_by_name(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon({"watch": {"incomplete_timeout": "2s"}}).start()
    cut = samples.small_sample(originals / BAD, images=1)
    (cut / "cut.dcm").write_bytes(real_file("MR_truncated.dcm"))
    samples.drop(cut, daemon.inbox)

    arrival = daemon.wait_for(lambda: daemon.arrival(BAD), "the sample to be seen")
    assert arrival.reason.startswith("still arriving: cut.dcm is incomplete")
    folder = daemon.wait_until_failed(BAD)

    assert_failed_with_everything(daemon, cut, folder, ["Still incomplete after 2 s", "cut.dcm"], ["drop it"])
    submission = daemon.newest(BAD)
    assert submission is not None
    assert submission.taken_at - arrival.first_seen_at >= 2.0 - SETTLE_SECONDS
    assert len(apis.requests) == 0


# Outages: nothing is wrong with the samples, and they wait


def test_wrong_credentials_hold_everything_until_they_are_right(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon(U_KEY="outdated").start()
    for name in ("HELD-1", "HELD-2"):
        samples.drop(samples.small_sample(originals / name), daemon.inbox)

    waiting = [wait_until_held(daemon, name, Api.UPLOAD) for name in ("HELD-1", "HELD-2")]

    assert all("401" in str(s.reason) or "waiting for" in str(s.reason).lower() for s in waiting), waiting
    (circuit,) = [c for c in daemon.overview().circuits if c.is_open]
    assert circuit.api is Api.UPLOAD
    assert "refused the credentials (401)" in str(circuit.reason)
    assert "upload.key" in str(circuit.remedy)
    assert len(apis.instances) == 0
    daemon.stop()
    daemon.environ["U_KEY"] = apis.keys[Api.UPLOAD]
    daemon.start()
    assert_done_without_a_counted_try(daemon, ["HELD-1", "HELD-2"])


@pytest.mark.parametrize(("api", "status"), [(Api.METADATA, 401), (Api.UPLOAD, 404), (Api.ANALYTICS, 403)], ids=str)
def test_an_outage_answer_holds_samples_until_the_server_is_well_again(
    api: Api, status: int, daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    apis.fail_for(lambda received: received.api is api, status=status)
    for name in ("HELD-1", "HELD-2"):
        samples.drop(samples.small_sample(originals / name), daemon.inbox)
    for name in ("HELD-1", "HELD-2"):
        wait_until_held(daemon, name, api)
    (circuit,) = [c for c in daemon.overview().circuits if c.is_open]
    assert (circuit.api, f"({status})" in str(circuit.reason)) == (api, True)
    assert circuit.remedy

    apis.mend()

    assert_done_without_a_counted_try(daemon, ["HELD-1", "HELD-2"])
    assert not any(c.is_open for c in daemon.overview().circuits)
    assert len(apis.requests.calls(Api.ANALYTICS, answered=200)) == 2


def test_a_server_that_is_down_and_comes_back_costs_no_sample_anything(
    daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    apis.down()
    samples.drop(samples.small_sample(originals / "HELD-1"), daemon.inbox)
    submission = wait_until_held(daemon, "HELD-1", Api.METADATA)
    assert submission.remedy
    assert daemon.log.count("refused the connection") + daemon.log.count("cannot be reached") >= 1

    apis.up()

    assert_done_without_a_counted_try(daemon, ["HELD-1"])
    assert len(apis.instances) == 3


def wait_until_held(daemon: Daemon, sample_id: str, api: Api) -> Submission:
    def held() -> Submission | None:
        submission = daemon.is_in(sample_id, State.WAITING)
        return submission if submission and submission.held_by == f"api:{api}" else None

    return daemon.wait_for(held, f"{sample_id} to be held by {api}")


def assert_done_without_a_counted_try(daemon: Daemon, sample_ids: list[str]) -> None:
    for sample_id in sample_ids:
        receipt = receipt_of(daemon.wait_until_done(sample_id))
        assert {step["step"]: step["counted_tries"] for step in receipt["steps"] if step["counted_tries"]} == {}
        assert receipt["attempt_number"] == 1


def test_a_500_that_recovers_is_tried_again(daemon: Daemon, apis: StandInApis, originals: Path) -> None:
    for api in Api:
        apis.fail_next(api, status=500, times=2)
    samples.drop(samples.small_sample(originals / GOOD), daemon.inbox)

    daemon.wait_until_done(GOOD)

    (submission,) = daemon.submissions(GOOD)
    waited = [event for event in daemon.detail(submission).events if event.state is State.WAITING]
    assert {event.step for event in waited} == {Step.METADATA, Step.UPLOAD, Step.ANALYTICS}
    assert all("(500)" in event.text for event in waited)
    assert len(apis.requests.calls(Api.METADATA)) == len(apis.requests.calls(Api.ANALYTICS)) == 3
    assert len(apis.requests.calls(Api.UPLOAD)) == 3 + 2
    assert len(apis.instances) == 3


def test_a_sample_whose_images_answer_500_for_ever_fails_and_the_others_do_not(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon({"retry": {"max_tries": 2, "first_delay": "2s", "max_delay": "2s"}}).start()
    apis.fail_for(lambda r: r.api is Api.UPLOAD and str(r.patient_id).startswith(BAD), status=500)
    bad = samples.small_sample(originals / BAD, images=1)
    samples.drop(bad, daemon.inbox)
    number = 0

    def failed_while_others_are_done() -> Submission | None:
        nonlocal number
        number += 1
        samples.drop(samples.small_sample(originals / f"OTHER-{number}", images=1), daemon.inbox)
        daemon.wait_until_done(f"OTHER-{number}", timeout=60)
        return daemon.is_in(BAD, State.FAILED)

    daemon.wait_for(failed_while_others_are_done, "the sample to fail", timeout=60)

    assert_failed_with_everything(daemon, bad, daemon.failed / BAD, ["(500)", "given up after 2 tries"], ["again"])
