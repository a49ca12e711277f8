"""What people ask for while it runs: retry, cancel, pause, resume; folders moved by hand; what `run` refuses."""

import shutil
from pathlib import Path

import pytest

from moichord.sample import Api, State, analytics_key
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.integration import judges, samples
from tests.integration.conftest import RECORD, MakeDaemon
from tests.integration.daemon import Daemon, failure_of, receipt_of

SAMPLE = "ASKED-1"


def asked(daemon: Daemon, *arguments: str) -> str:
    """The command is accepted; what it said."""
    answer = daemon.command(*arguments)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout + answer.stderr


@pytest.fixture
def original(originals: Path) -> Path:
    return samples.small_sample(originals / SAMPLE, images=4)


def test_a_retried_sample_fetches_the_corrected_record_and_stays_the_same_submission(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    apis.records[SAMPLE] = {**RECORD, "patient-name": "no\\tag can hold this"}
    samples.drop(original, daemon.inbox)
    daemon.wait_until_failed(SAMPLE)
    (before,) = daemon.submissions(SAMPLE)
    apis.records[SAMPLE] = RECORD

    said = asked(daemon, "retry", SAMPLE)
    folder = daemon.wait_until_done(SAMPLE)

    assert SAMPLE in said
    (after,) = daemon.submissions(SAMPLE)
    assert (after.uuid, after.attempt_number) == (before.uuid, 1)
    assert not (daemon.failed / SAMPLE).exists()
    assert not (folder / "moichord-FAILED.txt").exists()
    receipt = receipt_of(folder)
    assert (receipt["submission"], receipt["outcome"], receipt["reason"]) == (before.uuid, "done", None)
    assert receipt["metadata"] == RECORD
    for content in samples.files_in(folder).values():
        judges.assert_tagged(content, judges.expected_tags(SAMPLE, RECORD))
    assert len(apis.instances) == 4


def test_a_retry_after_a_refused_image_sends_only_what_is_not_acknowledged(
    make_daemon: MakeDaemon, apis: StandInApis, original: Path
) -> None:
    daemon = make_daemon({"upload": {"concurrency": 1}, "workers": 1}).start()
    largest = judges.sop_instance_uid((original / "image-3.dcm").read_bytes())
    apis.fail_for(lambda r: r.sop_instance_uid == largest, status=422)
    samples.drop(original, daemon.inbox)
    failed = receipt_of(daemon.wait_until_failed(SAMPLE))
    apis.mend()
    apis.records[SAMPLE] = {**RECORD, "patient-name": "Somebody Else"}

    asked(daemon, "retry", SAMPLE)
    folder = daemon.wait_until_done(SAMPLE)

    stored = [i["sop_instance_uid"] for i in failed["images"] if i["acknowledged_at"]]
    assert stored
    calls = [c.sop_instance_uid for c in apis.requests.calls(Api.UPLOAD, answered=200)]
    assert sorted(calls) == sorted(i["sop_instance_uid"] for i in failed["images"])
    keys = {c.idempotency_key for c in apis.requests.calls(Api.UPLOAD) if c.sop_instance_uid == largest}
    assert len(keys) == 1, "the same request under the same key"
    # The upload had begun: metadata and tags stand, and all images agree.
    assert receipt_of(folder)["metadata"] == failed["metadata"]
    assert len(apis.requests.calls(Api.METADATA)) == 1
    assert len(apis.requests.calls(Api.ANALYTICS)) == 1


def test_retry_is_refused_by_name_where_it_makes_no_sense(daemon: Daemon, apis: StandInApis, original: Path) -> None:
    samples.drop(original, daemon.inbox)
    daemon.wait_until_done(SAMPLE)

    done, unknown = daemon.command("retry", SAMPLE), daemon.command("retry", "NOBODY-1")

    assert (done.returncode, unknown.returncode) == (1, 1)
    assert f"{SAMPLE} is done" in done.stderr
    assert "NOBODY-1" in unknown.stderr


def test_analytics_of_a_done_sample_is_repeated_on_request_under_a_new_key(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    samples.drop(original, daemon.inbox)
    daemon.wait_until_done(SAMPLE)
    files = samples.files_in(daemon.done / SAMPLE)

    asked(daemon, "retry", SAMPLE, "--from", "analytics")
    apis.requests.wait_for(lambda log: len(log.calls(Api.ANALYTICS)) == 2)
    daemon.wait_until_done(SAMPLE)

    (submission,) = daemon.submissions(SAMPLE)
    keys = [call.idempotency_key for call in apis.requests.calls(Api.ANALYTICS)]
    assert keys == [analytics_key(submission.key), analytics_key(submission.key, 1)]
    assert len(apis.requests.calls(Api.UPLOAD)) == 4
    assert daemon.wait_for(lambda: samples.files_in(daemon.done / SAMPLE) == files, "the folder to be back in done")
    assert receipt_of(daemon.done / SAMPLE)["analytics"]["idempotency_key"] == keys[1]


def test_cancel_breaks_off_an_upload_and_the_sample_lies_in_failed_as_received(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    apis.hold(Api.UPLOAD)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 4)

    asked(daemon, "cancel", SAMPLE)
    daemon.wait_for(lambda: "cancel: asked for" in daemon.log, "the daemon to be at it")
    apis.mend()
    submission = daemon.wait_until(SAMPLE, State.CANCELLED)

    folder = daemon.folder_of(submission)
    assert folder == daemon.failed / SAMPLE
    assert samples.files_in(folder) == samples.files_in(original)
    assert failure_of(folder).startswith("Cancelled by request.\n")
    assert receipt_of(folder)["outcome"] == "cancelled"
    assert apis.requests.calls(Api.ANALYTICS) == ()


def test_a_cancelled_sample_can_go_on_and_repeats_nothing(
    make_daemon: MakeDaemon, apis: StandInApis, listeners: list, original: Path
) -> None:
    daemon = make_daemon({"upload": {"concurrency": 1}, "workers": 1}).start()

    def hold(received: Received) -> None:
        if received.api is Api.UPLOAD and not held:
            held.append(apis.hold(Api.UPLOAD))

    held: list[object] = []
    listeners.append(hold)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: len(log.calls(Api.UPLOAD)) == 1 and log.in_flight(Api.UPLOAD) == 1)
    asked(daemon, "cancel", SAMPLE)
    daemon.wait_for(lambda: "cancel: asked for" in daemon.log, "the daemon to be at it")
    apis.mend()
    daemon.wait_until(SAMPLE, State.CANCELLED)

    asked(daemon, "retry", SAMPLE)
    daemon.wait_until_done(SAMPLE)

    calls = apis.requests.calls(Api.UPLOAD)
    acknowledged = {i["sop_instance_uid"] for i in receipt_of(daemon.done / SAMPLE)["images"]}
    assert {c.sop_instance_uid for c in calls} == acknowledged
    assert len({(c.sop_instance_uid, c.idempotency_key) for c in calls}) == 4
    assert len(calls) <= 4 + 1, "at most the request that was broken off is repeated"
    assert len(apis.requests.calls(Api.ANALYTICS)) == 1


def test_while_it_is_paused_nothing_is_taken_and_a_restart_does_not_end_the_pause(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    asked(daemon, "pause")
    samples.drop(original, daemon.inbox)
    paused = "moichord is paused"
    daemon.wait_for(lambda: getattr(daemon.arrival(SAMPLE), "reason", None) == paused, "the sample to wait")
    daemon.stop()
    daemon.start()
    daemon.wait_for(lambda: getattr(daemon.arrival(SAMPLE), "reason", None) == paused, "the sample to wait again")
    assert len(apis.requests) == 0
    assert daemon.submissions(SAMPLE) == []

    asked(daemon, "resume")

    daemon.wait_until_done(SAMPLE)


def test_a_folder_moved_by_hand_from_failed_into_the_inbox_is_a_new_attempt(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    apis.records[SAMPLE] = {}
    samples.drop(original, daemon.inbox)
    failed = daemon.wait_until_failed(SAMPLE)
    old = receipt_of(failed)
    apis.records[SAMPLE] = RECORD

    shutil.move(failed, daemon.inbox)
    folder = daemon.wait_until_done(SAMPLE, attempt=2)

    assert folder == daemon.done / SAMPLE
    assert {path.name for path in folder.iterdir()} == {*samples.files_in(original), "moichord-receipt.json"}
    receipt = receipt_of(folder)
    assert (old["attempt_number"], receipt["attempt_number"]) == (1, 2)
    assert receipt["submission"] != old["submission"]
    assert {instance.identity.patient_id for instance in apis.instances} == {f"{SAMPLE}-002"}


def test_the_attempt_in_a_folder_name_is_not_part_of_the_sample_id(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    samples.drop(original, daemon.inbox, f"{SAMPLE}.attempt-007")

    folder = daemon.wait_until_done(SAMPLE)

    assert receipt_of(folder)["sample_id"] == SAMPLE
    assert [call.sample_id for call in apis.requests.calls(Api.METADATA)] == [SAMPLE]


def test_a_second_daemon_on_the_same_state_exits_75_and_the_first_goes_on(daemon: Daemon, original: Path) -> None:
    second = daemon.command("run")

    assert second.returncode == 75
    assert "Another moichord daemon" in second.stderr
    samples.drop(original, daemon.inbox)
    daemon.wait_until_done(SAMPLE)


def test_a_daemon_with_another_state_refuses_the_work_folder(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon().start()
    daemon.stop()
    daemon.configure({"state": str(tmp_path / "other.db")})

    other = daemon.command("run")

    assert other.returncode == 78
    assert "belongs to another state" in other.stderr
    assert "--adopt-work" in other.stderr


def test_all_mistakes_of_a_configuration_are_reported_with_their_places(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.config.write_text(
        "version: 1\n"
        f"folders: {{inbox: {daemon.inbox}, done: {daemon.done}, failed: {daemon.failed}}}\n"
        f"state: {daemon.state}\n"
        "watch:\n"
        "  settle_time: soon\n"  # no duration
        "  setle_time: 1s\n"  # no such key
        "metadata: {url: '${MD_URL}', key: {env: NOT_SET_ANYWHERE}}\n"  # a secret that is not there
        "upload: {url: '${U_URL}', concurrency: 0}\n"  # too small
        "analytics: {url: '${A_URL}'}\n"
        "retry: {first_delay: 1h, max_delay: 1m}\n"  # impossible together
        "workers: 2\n"
        "workers: 3\n"  # twice
    )

    said = daemon.command("run")

    assert said.returncode == 78
    problems = [line.strip() for line in said.stderr.splitlines() if str(daemon.config) in line]
    places = {":".join(line.split(f"{daemon.config}:")[1].split(":")[:2]): line for line in problems}
    expected = {
        "5:16": "settle_time",
        "6:3": "setle_time",
        "7:41": "NOT_SET_ANYWHERE",
        "8:40": "concurrency",
        "10:22": "first_delay",
        "12:1": "workers",
    }
    assert {place: name for place, name in expected.items() if name not in places.get(place, "")} == {}, said.stderr
    assert list(daemon.root.glob("state.db*")) == []


def test_nothing_secret_and_no_patient_is_in_the_log(daemon: Daemon, apis: StandInApis, original: Path) -> None:
    apis.records[SAMPLE] = {**RECORD, "patient-name": "Unmistakable"}
    apis.fail_next(Api.UPLOAD, status=500, body=b'{"patient": "Unmistakable"}')
    samples.drop(original, daemon.inbox)
    daemon.wait_until_done(SAMPLE)
    daemon.stop()

    assert "Unmistakable" not in daemon.log
    assert f"{SAMPLE}-001" not in daemon.log
    assert not any(key in daemon.log for key in apis.keys.values())
