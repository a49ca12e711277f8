"""The banner, a sample's plain state, why it waits."""

import shutil
from dataclasses import replace

import pytest

from moichord.outage import Circuit
from moichord.queue.glance import Progress
from moichord.sample import Api, State, Step, Submission
from moichord.status.phrases import moment
from moichord.status.sentences import Level, goes_on, percent, plain_state, sentences, share_sent
from tests.unit.status.lab import MIB, NOON, REFUSED, Lab, whole_story

SAMPLE = Submission("u", "MO-1", "MO-1", 1, State.READY, NOON)


def test_an_empty_state_is_ready(lab: Lab) -> None:
    (only,) = sentences(lab.standing())
    assert only.text == "Ready: no sample has come yet."


def test_all_sent_is_said_when_nothing_else_is_to_say(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1", Step.ARCHIVE), State.DONE)
    (only,) = sentences(lab.standing())
    assert (only.level, only.text) == (Level.GOOD, "All samples sent.")


def test_what_is_on_the_way_is_counted(lab: Lab) -> None:
    lab.taken("MO-1")
    lab.processing("MO-2")
    lab.arriving("MO-3")
    (only,) = sentences(lab.standing())
    assert only.text == "2 samples are on the way, 1 is arriving."


def test_only_arriving_samples_are_called_samples(lab: Lab) -> None:
    lab.arriving("MO-3")
    (only,) = sentences(lab.standing())
    assert only.text == "1 sample is arriving."


def test_a_failed_sample_needs_you(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    (only,) = sentences(lab.standing())
    assert (only.level, only.text) == (Level.PROBLEM, "1 sample needs you.")


def test_a_sample_whose_folder_was_removed_from_work_needs_you_for_a_week_and_is_no_failed_folder_taken_out(
    lab: Lab,
) -> None:
    lab.endings.conclude_without_folder(lab.processing("MO-1"), State.FAILED, "It was removed.", "Drop it again.")
    (only,) = sentences(lab.standing())
    assert (only.level, only.text) == (Level.PROBLEM, "1 sample needs you.")
    lab.clock.at += 8 * 86400
    (only,) = sentences(lab.standing())
    assert (only.level, only.text) == (Level.GOOD, "Nothing is left to send.")


def test_a_sample_that_was_removed_from_work_and_dropped_again_needs_nobody(lab: Lab) -> None:
    lab.endings.conclude_without_folder(lab.processing("MO-1"), State.FAILED, "It was removed.", "Drop it again.")
    lab.taken("MO-1")
    assert sentences(lab.standing())[0].text == "1 sample is on the way."


def test_a_cancelled_sample_needs_nobody(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.CANCELLED, "Cancelled by request.")
    assert sentences(lab.standing())[0].level is Level.GOOD


def test_an_outage_says_since_when_how_many_wait_and_that_nothing_is_lost(lab: Lab) -> None:
    lab.outage(lab.processing("MO-1", Step.UPLOAD))
    since = moment(lab.clock.at, lab.clock.at)
    lab.clock.at += 60
    (banner,) = sentences(lab.standing())
    assert banner.text == f"The image server cannot be used since {since}; 1 sample waits; nothing is lost."
    assert (banner.reason, banner.remedy) == (REFUSED, "Start that server, or check upload.url.")


def test_the_most_urgent_comes_first(lab: Lab) -> None:
    whole_story(lab)
    lab.outage(lab.processing("MO-1010", Step.UPLOAD))
    lab.requests.pause()
    said = [sentence.text.split(" ")[0] for sentence in sentences(lab.standing(daemon=False))]
    assert said == ["The", "No", "2", "Paused"]


def test_a_folder_whose_name_is_no_sample_id_needs_you(lab: Lab) -> None:
    lab.arriving("my slides", "its name is not a sample ID", sample_id=None)
    (only,) = sentences(lab.standing())
    assert (only.level, only.text) == (Level.PROBLEM, "1 folder in the inbox needs you.")
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    assert sentences(lab.standing())[0].text == "2 samples need you."


def test_all_sent_is_not_said_while_a_failed_sample_was_taken_out_by_hand(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1", Step.ARCHIVE), State.DONE)
    lab.ended(lab.processing("MO-2"), State.FAILED, "It is broken.")
    shutil.rmtree(lab.failed / "MO-2")
    (only,) = sentences(lab.standing())
    assert only.text == "Nothing is left to send; 1 sample that failed was taken out of failed by hand."
    lab.ended(lab.processing("MO-2", Step.ARCHIVE), State.DONE)
    assert sentences(lab.standing())[0].text == "All samples sent."


def test_without_a_daemon_what_waits_is_counted(lab: Lab) -> None:
    lab.taken("MO-1")
    lab.arriving("MO-2")
    lab.arriving("my slides", sample_id=None)
    assert sentences(lab.standing(daemon=False))[0].text == "No daemon is running; 2 samples wait; nothing is lost."


def test_what_the_daemon_published_is_said_only_while_it_runs(lab: Lab) -> None:
    lab.bulletin.publish(["the inbox is gone"], {})
    assert sentences(lab.standing())[0].text == "The inbox is gone"
    assert [one.text for one in sentences(lab.standing(daemon=False))] == ["No daemon is running."]


def test_a_pause_at_a_whole_second_is_seen_too(lab: Lab) -> None:
    lab.clock.at = float(int(NOON))
    lab.requests.pause()
    assert sentences(lab.standing())[0].text.startswith("Paused since")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": State.RECEIVING}, "Receiving"),
        ({"state": State.READY}, "Ready"),
        ({"state": State.PROCESSING, "step": Step.METADATA}, "Checking"),
        ({"state": State.PROCESSING, "step": Step.TAGS}, "Checking"),
        ({"state": State.PROCESSING, "step": Step.UPLOAD}, "Sending 42 %"),
        ({"state": State.PROCESSING, "step": Step.ANALYTICS}, "Starting analysis"),
        ({"state": State.PROCESSING, "step": Step.ARCHIVE}, "Filing"),
        ({"state": State.PROCESSING, "step": Step.UPLOAD, "intent": "conclude"}, "Filing"),
        ({"state": State.WAITING, "remedy": "wait"}, "Waiting to retry"),
        ({"state": State.WAITING, "held_by": "api:upload"}, "Waiting for the image server"),
        ({"state": State.WAITING, "held_by": "settling"}, "Still changing"),
        ({"state": State.WAITING, "held_by": "something new"}, "Waiting"),
        ({"state": State.DONE}, "Sent"),
        ({"state": State.FAILED}, "Needs attention"),
        ({"state": State.CANCELLED}, "Cancelled"),
    ],
)
def test_states_in_plain_words(changes: dict[str, object], said: str) -> None:
    assert plain_state(replace(SAMPLE, **changes), 0.429) == said


def test_a_hundred_per_cent_is_only_said_of_what_is_complete() -> None:
    assert percent(0.999999) == "99 %"
    assert percent(1.0) == "100 %"


@pytest.mark.parametrize(
    ("share", "daemon", "said"),
    [
        (0.999, True, "Sending 99 %"),
        (1.0, True, "Sent, waiting for the server's answer"),
        (0.42, False, "Interrupted at 42 %"),
        (None, False, "Interrupted"),
    ],
)
def test_sending_is_said_only_while_bytes_go_out(share: float | None, daemon: bool, said: str) -> None:
    sending = replace(SAMPLE, state=State.PROCESSING, step=Step.UPLOAD)
    assert plain_state(sending, share, daemon=daemon) == said


def test_what_is_not_sent_yet_is_interrupted_without_a_share() -> None:
    assert plain_state(replace(SAMPLE, state=State.PROCESSING), 0.0, daemon=False) == "Interrupted"


@pytest.mark.parametrize(
    ("progress", "in_flight", "share"),
    [
        (None, 5, None),
        (Progress(0, 0, 0, 0), 0, None),
        (Progress(2, 1, 4 * MIB, MIB), MIB, 0.5),
        (Progress(2, 1, 4 * MIB, 3 * MIB), 2 * MIB, 1.0),
    ],
)
def test_the_share_counts_bytes_in_flight(progress: Progress | None, in_flight: int, share: float | None) -> None:
    assert share_sent(progress, in_flight) == share


def test_a_waiting_sample_says_when_it_goes_on() -> None:
    waiting = replace(SAMPLE, state=State.WAITING, next_try_at=NOON + 90)
    assert goes_on(waiting, None, NOON) == f"next try in 1 min ({moment(NOON + 90, NOON, seconds=True)})"
    assert goes_on(waiting, None, NOON + 91) == "next try now"


@pytest.mark.parametrize("state", [State.READY, State.WAITING])
def test_while_all_is_paused_no_next_try_is_promised(state: State) -> None:
    waiting = replace(SAMPLE, state=state, next_try_at=NOON - 5)
    assert goes_on(waiting, None, NOON, paused=True) == "moichord is paused: it goes on after `moichord resume`"
    assert goes_on(replace(SAMPLE, state=State.PROCESSING), None, NOON, paused=True) is None


def test_a_held_sample_says_when_its_server_is_asked_again() -> None:
    held = replace(SAMPLE, state=State.WAITING, held_by="api:upload")
    circuit = Circuit(Api.UPLOAD, open_since=NOON, next_probe_at=NOON + 5)
    said = goes_on(held, circuit, NOON)
    assert said == f"the server is asked again in 5 s ({moment(NOON + 5, NOON, seconds=True)})"


def test_what_does_not_wait_does_not_say_so() -> None:
    assert goes_on(replace(SAMPLE, next_try_at=NOON), None, NOON) is None
