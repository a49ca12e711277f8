"""What lies in a finished folder: the receipt, and the sentence for a failed sample."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from moichord import __version__
from moichord.ending import CANCELLED
from moichord.receipt import failed_text, iso, receipt, receipt_text
from moichord.sample import Change, Image, State, Step, StepRecord, Submission

DONE = Submission(
    uuid="00000000-0000-0000-0000-000000000001",
    sample_id="S1",
    folder_name="S1",
    attempt_number=2,
    state=State.PROCESSING,
    taken_at=1_700_000_000.0,
    step=Step.ARCHIVE,
    finished_at=1_700_000_100.5,
    outcome=State.DONE,
)
FAILED = replace(
    DONE, outcome=State.FAILED, step=Step.UPLOAD, reason="slide.dcm is cut off.", remedy="Export it again."
)
STORED = Image(
    relative_path="a/slide.dcm",
    size=1000,
    mtime_ns=1,
    inode=2,
    sop_instance_uid="1.2.3",
    header_length=220,
    header_digest="aa",
    tail_offset=200,
    tail_length=800,
    changes=(Change("PatientID", "P1", "S1-002"), Change("BarcodeValue", None, "T7")),
    warnings=("an odd length",),
    requests=2,
    acknowledged_at=1_700_000_050.0,
    status=200,
    reply={"Status": "Success"},
    tail_digest="bb",
    sha256="cc",
)
REFUSED = replace(
    STORED, relative_path="b.dcm", acknowledged_at=None, status=None, reply=None, refused="too large (413)"
)
NOT_SENT = replace(STORED, relative_path="c.dcm", acknowledged_at=None, requests=0)
CARRIED = replace(NOT_SENT, relative_path="DICOMDIR", carried=True)
COPY = replace(NOT_SENT, relative_path="copy.dcm", duplicate_of="a/slide.dcm")
STEPS = {
    Step.UPLOAD: StepRecord(Step.UPLOAD, 1, 3, 1_700_000_002.0, 1_700_000_060.0, None, "it failed (500)", failures=2),
    Step.METADATA: StepRecord(Step.METADATA, 0, 1, 1_700_000_000.0, 1_700_000_001.0, {"patient-name": "X"}),
    Step.ANALYTICS: StepRecord(Step.ANALYTICS, 0, 1, 1_700_000_060.0, 1_700_000_061.0, {"status": 200, "reply": "ok"}),
}


def test_it_says_whose_it_is_and_how_it_ended() -> None:
    paper = receipt(DONE, STEPS, [STORED])
    assert (paper["receipt"], paper["moichord"]) == (1, __version__)
    assert (paper["submission"], paper["sample_id"], paper["attempt_number"]) == (DONE.uuid, "S1", 2)
    assert (paper["outcome"], paper["reason"]) == ("done", None)
    assert paper["taken_at"] == "2023-11-14T22:13:20.000+00:00"
    assert paper["finished_at"] == "2023-11-14T22:15:00.500+00:00"


def test_steps_come_in_the_order_in_which_they_are_done_with_times_and_tries() -> None:
    steps = receipt(DONE, STEPS, [])["steps"]
    assert [step["step"] for step in steps] == ["metadata", "upload", "analytics"]
    assert steps[1] == {
        "step": "upload",
        "started_at": "2023-11-14T22:13:22.000+00:00",
        "finished_at": "2023-11-14T22:14:20.000+00:00",
        "tries": 3,
        "counted_tries": 1,
        "last_problem": "it failed (500)",
    }


def test_it_holds_the_metadata_that_was_used_and_the_answer_of_analytics() -> None:
    paper = receipt(DONE, STEPS, [])
    assert (paper["metadata"], paper["analytics"]) == ({"patient-name": "X"}, {"status": 200, "reply": "ok"})
    early = receipt(FAILED, {}, [])
    assert (early["metadata"], early["analytics"], early["steps"]) == (None, None, [])


def test_it_proves_of_every_image_what_was_sent_and_what_was_left_untouched() -> None:
    (image,) = receipt(DONE, STEPS, [STORED])["images"]
    assert (image["path"], image["sop_instance_uid"]) == ("a/slide.dcm", "1.2.3")
    assert (image["size_received"], image["size_sent"], image["sent"]) == (1000, 1020, True)
    assert image["untouched"] == {
        "offset_received": 200,
        "offset_sent": 220,
        "length": 800,
        "digest": "BLAKE3",
        "value": "bb",
    }
    assert image["sha256_sent"] == "cc"
    assert image["changes"] == [
        {"keyword": "PatientID", "before": "P1", "after": "S1-002"},
        {"keyword": "BarcodeValue", "before": None, "after": "T7"},
    ]
    assert (image["status"], image["reply"], image["requests"]) == (200, {"Status": "Success"}, 2)
    assert image["acknowledged_at"] == "2023-11-14T22:14:10.000+00:00"


def test_what_was_not_sent_says_so_and_why() -> None:
    carried, copy, refused = receipt(DONE, STEPS, [CARRIED, COPY, REFUSED])["images"]
    assert (carried["sent"], carried["size_sent"]) == (False, None)
    assert (copy["sent"], copy["same_as"]) == (False, "a/slide.dcm")
    assert (refused["refused"], refused["acknowledged_at"]) == ("too large (413)", None)


def test_its_text_is_plain_ascii_json_whatever_names_and_replies_hold() -> None:
    name = os.fsdecode(b"gr\xc3\xb6\xdfe\n.dcm")
    odd = replace(STORED, relative_path=name, reply={"Größe": "\ud800"})
    text = receipt_text(receipt(replace(DONE, folder_name=name), STEPS, [odd]))
    assert text.isascii()
    assert text.endswith("}\n")
    back = json.loads(text)
    assert back["folder"] == back["images"][0]["path"] == "grö\\xdfe\\n.dcm"
    assert back["images"][0]["reply"] == {"Größe": "\ud800"}


@pytest.fixture
def in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as during:
        during.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_zurich")
def test_a_failed_sample_says_first_what_is_wrong_and_then_what_to_do() -> None:
    lines = failed_text(FAILED, [STORED]).splitlines()
    assert lines[:3] == ["slide.dcm is cut off.", "Export it again.", ""]
    assert "Sample:     S1 (attempt 2)" in lines
    assert "Ended:      2023-11-14 23:15:00 (UTC+01:00), failed, at the step upload" in lines
    assert "    moichord retry S1" in lines


def test_it_counts_what_was_stored_refused_and_not_sent() -> None:
    lines = failed_text(FAILED, [STORED, STORED, REFUSED, NOT_SENT, CARRIED, COPY]).splitlines()
    assert "Images:     2 stored on the image server, 1 refused, 1 not sent" in lines
    assert "Refused:    b.dcm: too large (413)" in lines


def test_an_image_that_was_sent_without_an_answer_is_not_called_not_sent() -> None:
    unanswered = replace(NOT_SENT, requests=2)
    lines = failed_text(FAILED, [STORED, unanswered, NOT_SENT]).splitlines()
    told = "Images:     1 stored on the image server, 0 refused, 1 may have been stored (no answer came), 1 not sent"
    assert told in lines


def test_a_refused_image_is_told_of_once_whatever_its_earlier_requests_did() -> None:
    lines = failed_text(FAILED, [replace(REFUSED, requests=1)]).splitlines()
    assert "Images:     0 stored on the image server, 1 refused, 0 not sent" in lines


def test_a_sample_that_failed_before_its_images_were_known_says_that_nothing_was_sent() -> None:
    assert "Images:     nothing was sent to the image server" in failed_text(FAILED, []).splitlines()


def test_a_cancelled_sample_is_not_called_failed() -> None:
    cancelled = replace(FAILED, outcome=State.CANCELLED, reason=None, remedy=None)
    lines = failed_text(cancelled, []).splitlines()
    assert lines[0] == "The sample was cancelled."
    assert lines[1] == "Ask the administrator of moichord to look at this sample's history."


def test_a_cancelled_sample_is_told_once_how_to_go_on() -> None:
    cancelled = replace(FAILED, outcome=State.CANCELLED, reason=CANCELLED.reason, remedy=CANCELLED.remedy)
    lines = failed_text(cancelled, []).splitlines()
    assert lines[:2] == ["Cancelled by request.", "Nothing needs to be done, unless it is to be sent after all."]
    assert lines[-4:] == [
        "This folder holds the sample as it was received.",
        "To send it after all, either let",
        "    moichord retry S1",
        "continue it, or move the folder back into the inbox: then it is sent as a new attempt.",
    ]


def test_images_that_carry_their_new_tags_already_are_named() -> None:
    lines = failed_text(FAILED, [STORED, NOT_SENT], ["a/slide.dcm"]).splitlines()
    assert "This folder holds the sample as it was received." not in lines
    assert lines[lines.index("    a/slide.dcm") + 1] == "All else is as it was received."


def test_an_odd_file_name_is_shown_by_visible_escapes() -> None:
    text = failed_text(FAILED, [replace(REFUSED, relative_path=os.fsdecode(b"\xff\x1b[31m.dcm"))])
    assert "Refused:    \\xff\\x1b[31m.dcm: too large (413)" in text.splitlines()


def test_a_time_that_is_not_known_stays_unknown() -> None:
    assert iso(None) is None
    assert iso(0.0) == "1970-01-01T00:00:00.000+00:00"
