"""The daemon is stopped or killed in the middle: it goes on where it was, and repeats only what was not answered."""

from collections import Counter
from pathlib import Path

import pytest

from moichord.sample import FAILED_NAME, Api, State
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon, receipt_of

IMAGES = 6
CONCURRENCY = 2
WORKERS = 1
FEW = {"workers": WORKERS, "upload": {"concurrency": CONCURRENCY}}
SAMPLE = "RESTART-1"


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    return make_daemon(FEW).start()


@pytest.fixture
def original(originals: Path) -> Path:
    return samples.small_sample(originals / SAMPLE, images=IMAGES)


def in_the_middle_of_its_upload(daemon: Daemon, apis: StandInApis, listeners: list, original: Path) -> None:
    """Some images are acknowledged, and as many requests as may be are on their way, unanswered."""

    def hold(received: Received) -> None:
        if received.api is Api.UPLOAD and len(apis.requests.calls(Api.UPLOAD)) == 2:
            apis.hold(Api.UPLOAD)

    listeners.append(hold)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: len(log.calls(Api.UPLOAD)) >= 2 and log.in_flight(Api.UPLOAD) == CONCURRENCY)
    answered = len(apis.requests.calls(Api.UPLOAD, answered=200))
    daemon.wait_for(lambda: len(acknowledged(daemon)) == answered, "the answers to be in the state")
    listeners.remove(hold)


def acknowledged(daemon: Daemon) -> set[str]:
    """The SOP Instance UIDs whose acknowledgement the state holds."""
    submission = daemon.newest(SAMPLE)
    assert submission is not None
    return {i.sop_instance_uid for i in daemon.detail(submission).images if i.acknowledged_at is not None}


def assert_all_arrived_once(daemon: Daemon, apis: StandInApis, original: Path) -> None:
    folder = daemon.wait_until_done(SAMPLE)
    images = judges.by_uid(samples.files_in(original))
    stored = judges.by_uid({i.identity.orthanc_id: i.file.read_bytes() for i in apis.instances if i.file})
    assert stored.keys() == images.keys()
    assert len(apis.requests.calls(Api.ANALYTICS)) == 1
    assert apis.requests.all()[-1].api is Api.ANALYTICS
    assert receipt_of(folder)["outcome"] == "done"
    assert len(daemon.submissions(SAMPLE)) == 1
    for image in receipt_of(folder)["images"]:
        name, uid = image["path"], image["sop_instance_uid"]
        judges.assert_untouched_part_is_true(image["untouched"], (original / name).read_bytes(), stored[uid])
        assert (folder / name).read_bytes() == stored[uid]


def assert_repeats_are_the_same_request(apis: StandInApis) -> Counter[str]:
    """Requests for one image have one key and one content; how many there were of each."""
    calls = apis.requests.calls(Api.UPLOAD)
    known = {(c.sop_instance_uid, c.idempotency_key, c.sha256) for c in calls if c.complete}
    assert len(known) == len({uid for uid, _, _ in known})
    assert all(call.idempotency_key for call in calls)
    return Counter(str(call.sop_instance_uid) for call in calls)


def test_after_a_kill_in_the_middle_of_an_upload_no_acknowledged_image_is_sent_again(
    daemon: Daemon, apis: StandInApis, listeners: list, original: Path
) -> None:
    in_the_middle_of_its_upload(daemon, apis, listeners, original)
    daemon.kill()
    kept = acknowledged(daemon)
    # What was on its way is stored after all; nobody hears the answer.
    apis.mend()
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 0)

    daemon.start()

    assert_all_arrived_once(daemon, apis, original)
    assert kept
    sent = assert_repeats_are_the_same_request(apis)
    assert all(sent[uid] == 1 for uid in kept)
    assert sum(sent.values()) - IMAGES <= CONCURRENCY + WORKERS
    repeated = {uid for uid, times in sent.items() if times > 1}
    assert repeated, "the requests that nobody heard the answer of are repeated"
    images = receipt_of(daemon.done / SAMPLE)["images"]
    assert {i["sop_instance_uid"] for i in images if i["already_stored"]} == repeated


def test_sigterm_lets_the_requests_in_flight_finish_and_nothing_is_sent_twice(
    daemon: Daemon, apis: StandInApis, listeners: list, original: Path
) -> None:
    in_the_middle_of_its_upload(daemon, apis, listeners, original)
    daemon.terminate()
    daemon.wait_for(lambda: "stopping: requests in flight" in daemon.log, "the daemon to drain")
    apis.mend()

    assert daemon.wait_until_ended() == 0

    sent_before = {call.sop_instance_uid for call in apis.requests.calls(Api.UPLOAD)}
    assert acknowledged(daemon) == sent_before
    assert len(sent_before) < IMAGES, "nothing new was begun"
    daemon.start()
    assert_all_arrived_once(daemon, apis, original)
    assert set(assert_repeats_are_the_same_request(apis).values()) == {1}


def test_sighup_breaks_nothing_off(daemon: Daemon, apis: StandInApis, listeners: list, original: Path) -> None:
    in_the_middle_of_its_upload(daemon, apis, listeners, original)
    for times in (1, 2):
        daemon.hang_up()
        daemon.wait_for(
            lambda times=times: daemon.log_file.read_text().count("SIGHUP") == times, "the signal to be told"
        )
    apis.mend()
    assert_all_arrived_once(daemon, apis, original)
    assert daemon.stop() == 0


def test_requests_that_outlast_the_drain_are_broken_off_and_repeated_under_their_keys(
    make_daemon: MakeDaemon, apis: StandInApis, listeners: list, original: Path
) -> None:
    daemon = make_daemon({**FEW, "drain_timeout": "300ms"}).start()
    in_the_middle_of_its_upload(daemon, apis, listeners, original)

    assert daemon.stop() == 0

    kept = acknowledged(daemon)
    apis.mend()
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 0)
    daemon.start()
    assert_all_arrived_once(daemon, apis, original)
    sent = assert_repeats_are_the_same_request(apis)
    assert all(sent[uid] == 1 for uid in kept)
    assert sum(sent.values()) == IMAGES + CONCURRENCY


def test_a_second_sigterm_ends_the_requests_in_flight_at_once(
    make_daemon: MakeDaemon, apis: StandInApis, listeners: list, original: Path
) -> None:
    daemon = make_daemon({**FEW, "drain_timeout": "10m"}).start()
    in_the_middle_of_its_upload(daemon, apis, listeners, original)
    daemon.terminate()
    daemon.wait_for(lambda: "stopping: requests in flight" in daemon.log, "the daemon to drain")

    assert daemon.stop() == 0

    apis.mend()
    daemon.start()
    assert_all_arrived_once(daemon, apis, original)


@pytest.mark.parametrize("api", [Api.METADATA, Api.ANALYTICS])
def test_after_a_kill_while_an_answer_is_waited_for_the_same_request_is_made_again(
    api: Api, daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    apis.hold(api)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: log.whole(api) == 1)
    daemon.kill()
    apis.mend()
    apis.requests.wait_for(lambda log: log.in_flight(api) == 0)

    daemon.start()
    daemon.wait_until_done(SAMPLE)

    first, second = apis.requests.calls(api)
    assert (first.json, first.idempotency_key) == (second.json, second.idempotency_key)
    assert len(apis.requests.calls(Api.UPLOAD)) == IMAGES


def test_a_sample_that_is_still_arriving_when_the_daemon_is_killed_is_taken_afterwards(
    daemon: Daemon, apis: StandInApis, original: Path
) -> None:
    whole = samples.files_in(original)
    half = daemon.inbox / SAMPLE
    half.mkdir()
    *others, last = sorted(whole)
    for name in others:
        (half / name).write_bytes(whole[name])
    (half / last).write_bytes(whole[last][:-100])
    arrival = daemon.wait_for(lambda: daemon.arrival(SAMPLE), "the folder to be seen")
    daemon.kill()

    daemon.start()
    (half / last).write_bytes(whole[last])

    assert_all_arrived_once(daemon, apis, original)
    submission = daemon.newest(SAMPLE)
    assert submission is not None
    assert submission.taken_at > arrival.first_seen_at
    assert submission.state is State.DONE


def test_a_file_that_comes_while_the_images_are_sent_fails_the_sample_and_triggers_nothing(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    """A copy that goes on below the folder that it had opened: what it brings must not stay behind unsent."""
    daemon = make_daemon({"upload": {"concurrency": 1}, "workers": 1}).start()
    gate = apis.hold(Api.UPLOAD)
    samples.drop(samples.small_sample(originals / "LATE", images=2), daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD))
    (folder,) = daemon.work.glob("*/LATE")
    samples.small_sample(originals / "MORE", images=3)
    (folder / "late.dcm").write_bytes((originals / "MORE" / "image-2.dcm").read_bytes())
    gate.set()
    failed = daemon.wait_until_failed("LATE")
    assert "changed while being sent" in (failed / FAILED_NAME).read_text()
    assert (failed / "late.dcm").exists()
    assert not apis.requests.calls(Api.ANALYTICS)
