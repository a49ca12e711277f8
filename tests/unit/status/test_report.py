"""What programs read: the schema, version 1."""

import json

from moichord.sample import State, Step
from moichord.status.report import history_report, overview_report, receiving_report, sample_report
from tests.unit.status.lab import PATIENT, Lab, whole_story

OVERVIEW = {
    "version": int,
    "moichord": str,
    "at": str,
    "banner": str,
    "sentences": list,
    "daemon": dict,
    "paused_since": type(None),
    "throughput": type(None),
    "size_left": int,
    "seconds_left": type(None),
    "disks": list,
    "counts": dict,
    "circuits": list,
    "receiving": list,
    "unfinished": list,
    "attention": list,
    "recent": list,
    "notices": list,
}
SUBMISSION = {
    *("sample_id", "attempt_number", "submission", "state", "shown_as", "step", "reason", "remedy", "held_by"),
    *("next_try_at", "taken_at", "finished_at", "folder", "files", "images", "size"),
}


def test_the_overview_has_the_keys_that_programs_rely_on(lab: Lab) -> None:
    whole_story(lab)
    report = overview_report(lab.standing())
    assert {key: type(value) for key, value in report.items()} == OVERVIEW
    assert report["version"] == 1
    assert {key for one in report["attention"] for key in one} == SUBMISSION
    assert {key for one in report["unfinished"] for key in one} == SUBMISSION | {"upload"}
    assert json.loads(json.dumps(report)) == report


def test_the_overview_tells_states_and_progress(lab: Lab) -> None:
    whole_story(lab)
    report = overview_report(lab.standing())
    states = {one["sample_id"]: one["state"] for one in report["unfinished"]}
    assert states == {"MO-1001": "processing", "MO-1002": "waiting", "MO-1006": "processing", "MO-1007": "ready"}
    sending = next(one for one in report["unfinished"] if one["sample_id"] == "MO-1001")
    assert sending["shown_as"] == "Sending 59 %"
    assert sending["upload"]["images_acknowledged"] == 2
    assert report["counts"] == {"cancelled": 1, "done": 1, "failed": 1, "processing": 2, "ready": 1, "waiting": 1}


def test_a_name_that_is_not_text_becomes_visible_escapes(lab: Lab) -> None:
    lab.arriving("caf\udce9", sample_id=None)
    (arrival,) = overview_report(lab.standing())["receiving"]
    assert arrival["folder"] == "caf\\xe9"


def test_one_sample_has_its_steps_images_and_events(lab: Lab) -> None:
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sample, 1)
    report = sample_report(lab.views.detail(sample.uuid), lab.views.submissions_of("MO-1"), lab.standing())
    assert report.keys() >= SUBMISSION
    assert [step["step"] for step in report["steps"]] == ["metadata", "tags", "upload"]
    assert [image["acknowledged_at"] is not None for image in report["image_list"]] == [True, False, False]
    assert report["events"][0]["text"] == "taken from the inbox"


def test_no_value_of_a_patient_is_reported(lab: Lab) -> None:
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sample, 2)
    detail = lab.views.detail(sample.uuid)
    assert PATIENT in repr(detail)
    assert PATIENT not in json.dumps(sample_report(detail, [], lab.standing()))
    assert PATIENT not in json.dumps(overview_report(lab.standing()))


def test_an_arriving_sample_is_reported_with_its_reason(lab: Lab) -> None:
    report = receiving_report(lab.arriving("MO-1", "waiting for COMPLETE"), lab.standing())
    assert (report["state"], report["reason"]) == ("receiving", "waiting for COMPLETE")


def test_history_is_reported_oldest_first(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    report = history_report(lab.views.history(None, None), lab.clock.at)
    assert [event["state"] for event in report["events"]] == ["ready", "processing", "failed"]
