"""Reports and heartbeats: what is posted, what is tried again, what is given up, and what nobody may read in it."""

import json
import logging
import threading
from dataclasses import dataclass, field, replace

import pytest

from moichord.errors import NotTold, StateUnwritable
from moichord.logs import RecentLines, Redaction
from moichord.logs.recent import HELD, KEPT, LONGEST
from moichord.queue.announcements import Announcements
from moichord.queue.schema import submissions
from moichord.sample import State, Step, printable
from moichord.status.notify.failure_report import failure_report, hidden_in
from moichord.status.notify.heartbeat import BEAT_SECONDS, Heartbeat, failing
from moichord.status.notify.reports import LINES_COME_WITHIN, REFUSED_TIMES, Reports
from tests.unit.status.lab import PATIENT, Lab

GOING_ON = threading.Event()
LATER = 3600.0


@dataclass
class Receiver:
    """Takes what it is told, unless `problem` says why not."""

    problem: NotTold | None = None
    taken: list[str] = field(default_factory=list)
    tries: int = 0

    def post(self, _url: str, body: bytes) -> None:
        self.get(body.decode())

    def get(self, what: str) -> None:
        self.tries += 1
        if self.problem is not None:
            raise self.problem
        self.taken.append(what)


class Desk:
    """A lab and its reports; every `start` is a new start of the daemon."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.url: str | None = "http://reports.test/"
        self.receiver = Receiver()
        self.announcements = Announcements(lab.database)
        self.broken: set[str] = set()
        self.start()

    def start(self) -> None:
        self.reports = Reports(
            self.announcements,
            lambda: self.url,
            self._report,
            self.receiver.post,
            self.lab.clock,
        )
        self.reports.look(GOING_ON)

    def _report(self, uuid: str) -> bytes:
        sample_id = self.lab.views.detail(uuid).submission.sample_id
        if sample_id in self.broken:
            raise RecursionError(sample_id)
        return sample_id.encode()

    def fail(self, *names: str) -> None:
        for name in names:
            self.lab.ended(self.lab.processing(name, Step.UPLOAD), State.FAILED, "Secret^Name is wrong")

    def later(self, seconds: float = LATER) -> None:
        self.lab.clock.at += seconds
        self.reports.look(GOING_ON)


@pytest.fixture
def desk(lab: Lab) -> Desk:
    return Desk(lab)


def test_every_failure_is_reported_once_also_across_restarts(desk: Desk) -> None:
    desk.fail("A-1", "A-2")
    desk.start()
    assert desk.receiver.taken == ["A-1"], "the log may not have its line of the other yet"
    desk.later(LINES_COME_WITHIN)
    desk.start()
    desk.later()
    assert desk.receiver.taken == ["A-1", "A-2"]


def test_a_server_that_takes_none_gets_all_of_them_later(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.receiver.problem = NotTold("notify.report_url: the server did not take it (status 503)")
    desk.fail("A-1", "A-2")
    for _ in range(5):
        desk.later()
    assert desk.receiver.tries == 5
    assert desk.reports.notices[0].startswith("notify.report_url: the server did not take it (status 503), since ")
    assert len(caplog.records) == 1
    desk.receiver.problem = None
    desk.later()
    assert (desk.receiver.taken, desk.reports.notices) == (["A-1", "A-2"], [])


def test_a_server_that_fails_is_not_asked_again_at_once(desk: Desk) -> None:
    desk.receiver.problem = NotTold("no")
    desk.fail("A-1")
    desk.later()
    for _ in range(4):
        desk.later(1.0)
    assert desk.receiver.tries == 1


def test_a_report_that_is_refused_for_what_it_is_keeps_no_other_waiting(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.receiver.problem = NotTold("refused (status 422)", refused=True)
    desk.fail("A-1")
    for _ in range(REFUSED_TIMES):
        desk.later()
    assert "this report is given up" in caplog.text
    assert desk.reports.notices == []
    desk.receiver.problem = None
    desk.fail("A-2")
    desk.later()
    assert desk.receiver.taken == ["A-2"]


def test_a_report_that_cannot_be_made_is_said_once_keeps_no_other_waiting_and_is_kept(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.broken = {"A-1", "A-3"}
    desk.fail("A-1", "A-2", "A-3", "A-4")
    for _ in range(5):
        desk.later()
    assert desk.receiver.taken == ["A-2", "A-4"]
    assert [record.message for record in caplog.records] == [
        "a report of a failed sample cannot be made; it is kept, and tried again"
    ] * 2
    assert desk.reports.notices == ["2 reports of failed samples cannot be made (see the log); they are tried again"]

    desk.broken = {"A-3"}
    desk.start()
    desk.later()
    assert desk.receiver.taken == ["A-2", "A-4", "A-1"]
    assert desk.reports.notices == ["1 report of a failed sample cannot be made (see the log); it is tried again"]
    desk.broken = set()
    desk.start()
    desk.later()
    desk.start()
    desk.later()
    assert desk.receiver.taken == ["A-2", "A-4", "A-1", "A-3"]
    assert desk.reports.notices == []
    assert list(desk.announcements.marks()) == ["report"]


def test_a_report_that_cannot_be_made_is_kept_while_the_server_takes_none(desk: Desk) -> None:
    desk.broken = {"A-1"}
    desk.fail("A-1", "A-2")
    desk.later()
    desk.broken = set()
    desk.receiver.problem = NotTold("no")
    desk.later()
    desk.receiver.problem = None
    desk.later()
    assert desk.receiver.taken == ["A-2", "A-1"]


def test_a_report_that_is_kept_is_forgotten_with_its_sample_and_with_the_wish_for_reports(desk: Desk, lab: Lab) -> None:
    desk.broken = {"A-1", "A-2"}
    desk.fail("A-1", "A-2")
    desk.later()
    lab.database.write(
        lambda connection: connection.execute(submissions.delete().where(submissions.c.sample_id == "A-1"))
    )
    desk.later()
    assert desk.reports.notices == ["1 report of a failed sample cannot be made (see the log); it is tried again"]
    desk.url = None
    desk.later()
    assert (desk.reports.notices, desk.announcements.marks()) == ([], {})


def test_reports_begin_with_the_failures_after_somebody_wanted_them(desk: Desk) -> None:
    desk.url = None
    desk.reports.look(GOING_ON)
    desk.fail("A-1")
    desk.later()
    desk.url = "http://elsewhere.test/"
    desk.later()
    desk.fail("A-2")
    desk.later()
    assert desk.receiver.taken == ["A-2"]


def test_a_mark_that_cannot_be_written_is_written_later_and_no_report_goes_out_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateUnwritable("full")

    desk.fail("A-1", "A-2")
    with monkeypatch.context() as during:
        during.setattr(desk.announcements, "mark", full)
        for _ in range(3):
            with pytest.raises(StateUnwritable):
                desk.later()
    desk.later()
    desk.start()
    assert desk.receiver.taken == ["A-1", "A-2"]


def test_a_report_names_what_happened_and_nothing_of_a_patient(lab: Lab) -> None:
    submission = lab.processing("A-1", Step.UPLOAD)
    lab.sent(submission, 2)
    lab.refused(submission, f"{PATIENT} is known")
    lab.ended(submission, State.FAILED, f"The server wrote: {PATIENT}", f"Ask {PATIENT}")
    detail = lab.views.detail(submission.uuid)
    masked = Redaction(hidden_in(detail))
    assert masked(f"failed: slide-2.dcm {PATIENT} sample=A-1") == "failed: *** *** sample=A-1"
    body = failure_report(detail, [f"line {number}" for number in range(500)], "lab")
    assert PATIENT.encode() not in body
    assert b"slide-" not in body
    report = json.loads(body)
    assert (report["report"], report["host"], len(report["log"])) == (1, "lab", 200)
    assert report["receipt"]["outcome"] == "failed"
    assert [image["refused"] for image in report["receipt"]["images"]] == [False, False, True]
    assert report["receipt"]["images"][0]["changes"] == [{"keyword": "PatientName", "before": "***", "after": "***"}]
    assert report["history"][-1]["state"] == "failed"


def test_a_report_does_not_name_an_id_that_the_contract_does_not_know(lab: Lab) -> None:
    submission = lab.processing("Doe John", Step.UPLOAD)
    lab.ended(submission, State.FAILED, "no")
    detail = lab.views.detail(submission.uuid)
    assert Redaction(hidden_in(detail))("failed sample=Doe John") == "failed sample=***"
    assert b"Doe" not in failure_report(detail, [], "lab")


@pytest.mark.parametrize(
    "name", ["Doe.dcm", "D\udcffoe\x1b[31m.dcm", "<b>Doe</b>.dcm", "\u202eDoe.dcm", "Doe\nDoe.dcm"]
)
def test_a_report_names_no_file_whatever_its_name_is_made_of(lab: Lab, name: str) -> None:
    submission = lab.processing("A-1", Step.UPLOAD)
    lab.ended(submission, State.FAILED, f"{printable(name)} was refused")
    known = lab.views.detail(submission.uuid)
    detail = replace(known, images=[replace(known.images[0], relative_path=name), *known.images[1:]])
    line = Redaction(hidden_in(detail))(f"failed: {printable(name)} was refused sample=A-1")
    assert line == "failed: *** was refused sample=A-1"
    body = failure_report(detail, [line], "lab")
    assert (b"Doe" in body, body.isascii(), b"\x1b" in body) == (False, True, False)
    assert json.loads(body)["log"] == [line]


def test_a_record_that_no_utf_8_can_hold_keeps_no_report_from_being_made() -> None:
    assert Redaction(["Doe\ud800"])("failed: Doe\ud800 and Doe%3F") == "failed: *** and ***"


def test_the_lines_of_a_sample_are_kept_without_those_of_others_and_not_for_ever() -> None:
    lines, log = RecentLines(), logging.Logger("test")
    log.addHandler(lines)
    log.warning("nobody's")
    log.warning("wrong %d", "x", extra={"submission": "a"})
    for number in range(KEPT + 5):
        log.warning("%s k3y %d", "x" * HELD, number, extra={"sample": "A", "submission": "b"})
    log.info("failed k3y", extra={"sample": "A", "submission": "a", "step": "tags"})
    (line,) = lines.of("a", lambda text: text.replace("k3y", "***"))
    assert line.endswith(" INFO failed *** sample=A submission=a step=tags")
    kept = lines.of("b", lambda text: text)
    assert len(kept) == KEPT - 1
    assert max(map(len, kept)) == LONGEST
    assert max(len(line) for _, line in lines._lines) < HELD + 100


@pytest.mark.parametrize("before", range(LONGEST - 70, LONGEST + 30, 7))
def test_a_long_line_is_cut_after_masking_so_that_no_half_of_a_secret_is_left(before: int) -> None:
    lines, log = RecentLines(), logging.Logger("test")
    log.addHandler(lines)
    log.warning("%s k3y-that-nobody-may-read", "x" * before, extra={"submission": "a"})
    (line,) = lines.of("a", Redaction(["k3y-that-nobody-may-read"]))
    assert "k3y" not in line
    assert len(line) <= LONGEST


class Heart:
    """A heartbeat whose reasons the test gives."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.reasons: list[str] | None = []
        self.url: str | None = "http://beats.test/uuid?rid=1"
        self.receiver = Receiver()
        self.heartbeat = Heartbeat(lambda: self.url, self._reasons, self.receiver.get, lab.clock)

    def _reasons(self) -> list[str]:
        if self.reasons is None:
            raise StateUnwritable("cannot be read")
        return self.reasons

    def later(self, seconds: float = 2.0) -> list[str]:
        """What was told meanwhile."""
        self.receiver.taken.clear()
        self.lab.clock.at += seconds
        self.heartbeat.look()
        return self.receiver.taken


def test_a_heartbeat_goes_out_once_a_minute_and_at_once_when_something_changes(lab: Lab) -> None:
    heart = Heart(lab)
    well, unwell = "http://beats.test/uuid?rid=1", "http://beats.test/uuid/fail?rid=1"
    assert heart.later() == [well]
    assert heart.later() == []
    assert heart.later(BEAT_SECONDS) == [well]
    heart.reasons = ["the image server cannot be used"]
    assert heart.later() == [unwell]
    assert heart.later() == []
    assert heart.later(BEAT_SECONDS) == [unwell]
    heart.reasons = None
    assert heart.later() == []
    heart.reasons = []
    assert heart.later() == [well]
    heart.url = None
    assert heart.later(BEAT_SECONDS) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://h", "http://h/fail"),
        ("https://hc.test/ping/uuid", "https://hc.test/ping/uuid/fail"),
        ("https://hc.test/ping/uuid/?a=b", "https://hc.test/ping/uuid/fail?a=b"),
    ],
)
def test_the_address_of_a_bad_heartbeat_has_fail_behind_its_path(url: str, wanted: str) -> None:
    assert failing(url) == wanted


def test_a_server_that_takes_no_heartbeats_is_said_once_and_so_is_that_it_does_again(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    heart = Heart(lab)
    heart.receiver.problem = NotTold("notify.heartbeat_url: the server did not take it (no answer)")
    for _ in range(10):
        heart.later(BEAT_SECONDS)
    assert len(heart.heartbeat.notices) == 1
    tries = heart.receiver.tries
    heart.later(1.0)
    assert heart.receiver.tries == tries
    heart.receiver.problem = None
    assert len(heart.later(BEAT_SECONDS)) == 1
    assert heart.heartbeat.notices == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
