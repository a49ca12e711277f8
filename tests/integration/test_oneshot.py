"""The one-shot against the stand-in APIs: what it does to the files, what it sends, how it ends."""

import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from moichord.clock import SystemClock
from moichord.oneshot import OneShot, run_once
from moichord.sample import Api
from moichord.sandbox.faults import Moment
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_image
from tests.integration.oneshot_process import open_files

PROJECT = Path(__file__).parents[2]
SAMPLE = "MO-1001"
RECORD = {
    "patient-name": "Biscuit",
    "request_species": "Dog",
    "test_type": "blood-smear-standard",
    "clinic-name": "Harbour Street Veterinary Clinic",
}
TAGS = {
    "PatientName": "Biscuit",
    "PatientSpeciesDescription": "Dog",
    "BarcodeValue": "blood-smear-standard",
    "InstitutionName": "Harbour Street Veterinary Clinic",
    "PatientID": "MO-1001-001",
}
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING|ERROR) ", re.MULTILINE)


class Hurried(SystemClock):
    """A clock on which nobody waits; `pauses` are the seconds that were asked for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.pauses.append(seconds)
        return event.is_set()


@pytest.fixture
def apis() -> Iterator[StandInApis]:
    with StandInApis() as stand_in:
        yield stand_in


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sample(tmp_path: Path, working_directory: Path) -> Path:
    """Three images, one of them deep and in capitals, and a file of another kind."""
    folder = tmp_path / "export"
    (folder / "Deep" / "er").mkdir(parents=True)
    write_image(folder / "a.dcm", rows=20)
    write_image(folder / "b.dcm", rows=40, transfer_syntax="implicit")
    write_image(folder / "Deep" / "er" / "C.DCM", rows=60, transfer_syntax="jpeg")
    (folder / "notes.txt").write_text("from the scanner")
    return folder


@pytest.fixture
def clock() -> Hurried:
    return Hurried()


def run(apis: StandInApis, sample: Path, clock: Hurried, *, sample_id: str = SAMPLE, **options: Any) -> int:
    return run_once(OneShot(sample_id, sample, **options), apis.environment(), clock=clock)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() == ".dcm")


def keys(requests: tuple[Received, ...]) -> list[str]:
    return sorted(str(request.idempotency_key) for request in requests)


def command_line(sample: Path, *arguments: object) -> list[str]:
    """The original script's flags, in the program that stands for another machine."""
    program = [sys.executable, "-m", "tests.integration.oneshot_process"]
    return [*program, *map(str, arguments), "--sample_id", SAMPLE, "--directory", str(sample)]


def in_a_process(apis: StandInApis, sample: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = command_line(sample, *arguments)
    return subprocess.run(command, env=child_environment(apis), capture_output=True, text=True, timeout=60, check=False)


def child_environment(apis: StandInApis) -> dict[str, str]:
    return {**os.environ, **apis.environment(), "PYTHONPATH": str(PROJECT)}


# The smooth way


def test_the_files_get_their_tags_and_the_server_gets_the_files(
    apis: StandInApis, sample: Path, clock: Hurried
) -> None:
    before = {file: pydicom.dcmread(file) for file in images(sample)}
    assert run(apis, sample, clock) == 0
    for file, original in before.items():
        now = pydicom.dcmread(file)
        assert {keyword: str(now[keyword].value) for keyword in TAGS} == TAGS
        assert now.PixelData == original.PixelData
        assert now.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID == original.PatientID
    sent = {hashlib.sha256(file.read_bytes()).hexdigest() for file in before}
    assert {one.sha256 for one in apis.requests.calls(Api.UPLOAD, answered=200)} == sent


def test_nothing_else_in_the_directory_changes(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    (sample / "a.dcm").chmod(0o640)
    before = contents(sample)
    assert run(apis, sample, clock) == 0
    after = contents(sample)
    assert set(after) == set(before)
    assert after["notes.txt"] == before["notes.txt"]
    assert (sample / "a.dcm").stat().st_mode & 0o777 == 0o640


def test_the_calls_are_those_of_the_contract_in_their_order(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    assert run(apis, sample, clock) == 0
    calls = apis.requests.all()
    assert [one.api for one in calls] == [Api.METADATA, Api.UPLOAD, Api.UPLOAD, Api.UPLOAD, Api.ANALYTICS]
    assert calls[0].json == {"sample_id": SAMPLE, "priority": 2}
    assert calls[1].headers["content-type"] == "application/binary"
    assert calls[-1].json == {"sample_id": SAMPLE, "request_type": "blood-smear-standard"}
    assert all(one.authorized for one in calls)


def test_the_attempt_number_is_the_callers(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    assert run(apis, sample, clock) == 0
    assert run(apis, sample, clock, attempt_number=2) == 0
    assert {str(pydicom.dcmread(file).PatientID) for file in images(sample)} == {"MO-1001-002"}
    calls = keys(apis.requests.calls(Api.UPLOAD)) + keys(apis.requests.calls(Api.ANALYTICS))
    assert len(set(calls)) == 8
    assert len(apis.instances) == 6


def test_a_relative_directory_will_do(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    assert run(apis, Path("../export"), clock) == 0


# Again


def test_a_second_run_sends_all_again_under_the_same_keys_and_already_stored_is_success(
    apis: StandInApis, sample: Path, clock: Hurried
) -> None:
    assert run(apis, sample, clock) == 0
    after_first = contents(sample)
    first, triggered = apis.requests.calls(Api.UPLOAD), apis.requests.calls(Api.ANALYTICS)
    assert run(apis, sample, clock) == 0
    second = apis.requests.calls(Api.UPLOAD)[len(first) :]
    assert keys(second) == keys(first)
    assert {one.stored for one in second} == {"AlreadyStored"}
    assert contents(sample) == after_first
    assert keys(apis.requests.calls(Api.ANALYTICS)) == keys(triggered) * 2


def test_other_bytes_of_equal_length_have_other_keys(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    assert run(apis, sample, clock) == 0
    first = keys(apis.requests.calls(Api.UPLOAD))
    for file in images(sample):
        file.write_bytes(file.read_bytes().replace(b"Biscuit", b"Crumpet"))
    apis.records[SAMPLE] = {**RECORD, "patient-name": "Crumpet"}
    assert run(apis, sample, clock) == 0
    assert not set(keys(apis.requests.calls(Api.UPLOAD)[3:])) & set(first)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_a_death_between_two_files_the_next_run_goes_on(
    apis: StandInApis, sample: Path, clock: Hurried, number: int
) -> None:
    died = in_a_process(apis, sample, "--die-before-replacing", number)
    assert died.returncode == 99, died.stderr
    names = [pydicom.dcmread(file).PatientID for file in images(sample)]
    assert names.count("MO-1001-001") == number - 1
    assert apis.requests.calls(Api.UPLOAD) == ()
    assert run(apis, sample, clock) == 0
    assert {pydicom.dcmread(file).PatientID for file in images(sample)} == {"MO-1001-001"}
    assert len(contents(sample)) == 4


# Failures that pass


def test_each_step_is_tried_again_and_no_acknowledged_image_is_sent_again(
    apis: StandInApis, sample: Path, clock: Hurried
) -> None:
    apis.fail_next(Api.METADATA, status=500, times=2)
    apis.fail_next(Api.UPLOAD, status=503)
    apis.fail_next(Api.UPLOAD, moment=Moment.LOST)
    apis.fail_next(Api.ANALYTICS, status=502)
    assert run(apis, sample, clock, backoff_attempts=2) == 0
    assert [one.status for one in apis.requests.calls(Api.METADATA)] == [500, 500, 200]
    answered = keys(apis.requests.calls(Api.UPLOAD, answered=200))
    assert len(answered) == len(set(answered)) == 3
    assert [one.status for one in apis.requests.calls(Api.ANALYTICS)] == [502, 200]


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("api", list(Api))
def test_n_retries_are_n_plus_1_tries_and_then_75(
    apis: StandInApis, sample: Path, clock: Hurried, api: Api, retries: int, capsys: pytest.CaptureFixture[str]
) -> None:
    apis.fail_for(lambda received: received.api is api, status=500)
    assert run(apis, sample, clock, backoff_attempts=retries) == 75
    tries = len(apis.requests.calls(api)) // (3 if api is Api.UPLOAD else 1)
    assert tries == retries + 1
    assert len(clock.pauses) == retries
    assert all(pause <= 2.0 * 2**number for number, pause in enumerate(clock.pauses))
    assert f"Given up after {retries + 1} tr" in capsys.readouterr().err
    assert apis.requests.calls(Api.ANALYTICS, answered=200) == ()


def test_retry_after_is_kept_exactly(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    apis.fail_next(Api.METADATA, status=429, headers={"Retry-After": "7"})
    apis.fail_next(Api.UPLOAD, status=503, headers={"Retry-After": "11"})
    apis.fail_next(Api.UPLOAD, status=503, headers={"Retry-After": "5"})
    assert run(apis, sample, clock) == 0
    assert clock.pauses == pytest.approx([7.0, 11.0])


def test_a_server_that_is_down_or_refuses_the_key_is_75_and_names_the_variable(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**apis.environment(), "U_KEY": "wrong"}
    assert run_once(OneShot(SAMPLE, sample, backoff_attempts=1), wrong, clock=clock) == 75
    assert "U_KEY" in capsys.readouterr().err
    apis.down()
    assert run(apis, sample, clock, backoff_attempts=1) == 75
    assert "MD_URL" in capsys.readouterr().err
    apis.up()
    assert run(apis, sample, clock) == 0


# Failures that do not pass: nothing is written unless everything is right


def test_an_unknown_sample_fails_and_no_file_is_touched(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(sample)
    assert run(apis, sample, clock, sample_id="NO-SUCH") == 1
    assert contents(sample) == before
    message = capsys.readouterr().err
    assert "does not know the sample NO-SUCH" in message
    assert "Check --sample_id" in message
    assert [one.api for one in apis.requests] == [Api.METADATA]


def test_a_record_without_a_field_fails_and_no_file_is_touched(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str]
) -> None:
    apis.records[SAMPLE] = {name: value for name, value in RECORD.items() if name != "clinic-name"}
    before = contents(sample)
    assert run(apis, sample, clock) == 1
    assert contents(sample) == before
    assert "clinic-name" in capsys.readouterr().err


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def no_dicom(file: Path) -> None:
    file.write_bytes(b"a letter, by mistake\n" * 20)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def a_link(file: Path) -> None:
    target = file.with_name("elsewhere")
    file.rename(target)
    file.symlink_to(target)


@pytest.mark.parametrize("spoil", [cut_off, no_dicom, empty, a_link])
def test_a_broken_image_among_good_ones_fails_and_no_file_is_touched(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    spoil(sample / "b.dcm")
    before = contents(sample)
    assert run(apis, sample, clock) == 1
    assert contents(sample) == before
    assert "moichord: b.dcm" in capsys.readouterr().err
    assert apis.requests.calls(Api.UPLOAD) == ()


def test_images_of_two_patients_fail_and_their_names_stay_out_of_the_log(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(sample / "z.dcm", patient_id="SOMEBODY-ELSE")
    before = contents(sample)
    assert run(apis, sample, clock) == 1
    assert contents(sample) == before
    assert "SOMEBODY-ELSE" in capsys.readouterr().err
    logged = (working_directory / "moichor.log").read_text()
    assert "disagree about PatientID" in logged
    assert "SOMEBODY-ELSE" not in logged


def test_a_refused_image_fails_without_analytics(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str]
) -> None:
    apis.fail_next(Api.UPLOAD, status=400, body=b"not this one")
    assert run(apis, sample, clock) == 1
    assert apis.requests.calls(Api.ANALYTICS) == ()
    assert "not this one" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "code"), [("nothing here", 1), ("missing", 2), ("export/a.dcm", 2)])
def test_a_directory_without_images_asks_nobody(
    apis: StandInApis, sample: Path, tmp_path: Path, clock: Hurried, name: str, code: int
) -> None:
    (tmp_path / "nothing here").mkdir()
    assert run(apis, tmp_path / name, clock) == code
    assert len(apis.requests) == 0


@pytest.mark.parametrize("options", [{"attempt_number": 0}, {"backoff_attempts": -1}, {"sample_id": ""}])
def test_options_that_make_no_sense_are_usage(
    apis: StandInApis, sample: Path, clock: Hurried, options: dict[str, Any]
) -> None:
    assert run(apis, sample, clock, **options) == 2
    assert len(apis.requests) == 0


# The environment


def test_every_missing_variable_is_named(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {name: value for name, value in apis.environment().items() if name not in ("MD_KEY", "A_URL")}
    environ["U_URL"] = "not an address"
    before = contents(sample)
    assert run_once(OneShot(SAMPLE, sample), environ, clock=clock) == 78
    message = capsys.readouterr().err
    assert {name for name in apis.environment() if f"{name}:" in message} == {"MD_KEY", "U_URL", "A_URL"}
    assert contents(sample) == before


def test_a_env_file_in_the_working_directory_fills_the_gaps(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"export {name}='{value}'  # stand-in" for name, value in apis.environment().items()]
    (working_directory / ".env").write_text("\n".join(["# the APIs", *lines, "and nonsense"]))
    assert run_once(OneShot(SAMPLE, sample), {"U_KEY": "wrong"}, clock=clock) == 75
    assert run_once(OneShot(SAMPLE, sample), {}, clock=clock) == 0
    assert ".env:8: is not NAME=VALUE" in capsys.readouterr().err


def test_a_broken_env_file_is_named_with_what_is_missing(
    sample: Path, clock: Hurried, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_directory / ".env").write_text("MD_URL='http://x\n")
    assert run_once(OneShot(SAMPLE, sample), {}, clock=clock) == 78
    message = capsys.readouterr().err
    assert "MD_URL: is not set" in message
    assert ".env:1: MD_URL: the quotes do not match" in message


# What is said


def test_the_log_tells_the_way_without_keys_or_patients(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path
) -> None:
    apis.fail_next(Api.UPLOAD, status=500, body=b"Biscuit and sandbox-upload-key")
    assert run(apis, sample, clock) == 0
    logged = (working_directory / "moichor.log").read_text()
    assert len(LOG_LINE.findall(logged)) == len(logged.splitlines())
    for said in ("metadata is done", "updated a.dcm: ", "stored Deep/er/C.DCM", "Trying again", "analytics is trigg"):
        assert said in logged
    assert not [word for word in ("Biscuit", "Before^Name", *apis.keys.values()) if word in logged]


def test_a_key_that_gets_into_a_line_is_masked(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path
) -> None:
    assert run(apis, sample, clock, sample_id=apis.keys[Api.METADATA]) == 1
    logged = (working_directory / "moichor.log").read_text()
    assert "sample=***" in logged
    assert apis.keys[Api.METADATA] not in logged


def test_runs_are_appended_to_the_log_and_it_is_closed(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path
) -> None:
    run(apis, sample, clock)
    first = (working_directory / "moichor.log").read_text()
    run(apis, sample, clock)
    assert (working_directory / "moichor.log").read_text().startswith(first)
    assert str(working_directory / "moichor.log") not in open_files()


@pytest.mark.parametrize("console_logs", [True, False])
def test_console_logs_shows_the_log_on_standard_error_and_false_means_false(
    apis: StandInApis, sample: Path, clock: Hurried, capsys: pytest.CaptureFixture[str], console_logs: bool
) -> None:
    assert run(apis, sample, clock, console_logs=console_logs) == 0
    shown = capsys.readouterr()
    assert bool(LOG_LINE.search(shown.err)) == console_logs
    assert shown.err.count("analytics is triggered") == 1
    assert shown.out == ""


def test_a_log_that_cannot_be_written_is_said_before_anything_is_done(
    apis: StandInApis, sample: Path, clock: Hurried, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_directory / "moichor.log").mkdir()
    assert run(apis, sample, clock) == 1
    assert "moichor.log cannot be written" in capsys.readouterr().err
    assert len(apis.requests) == 0


# As a command


@pytest.mark.parametrize(
    "flags",
    [
        ["--sample_id", SAMPLE, "--backoff_attempts", "1", "--attempt_number", "7", "--console_logs", "False"],
        ["--sample-id", SAMPLE, "--backoff-attempts", "1", "--attempt-number", "7", "--console-logs", "False"],
        ["process", f"--sample_id={SAMPLE}", "--attempt-number=7"],
    ],
)
def test_the_flags_of_the_original_script_also_with_hyphens_and_without_a_command(
    apis: StandInApis, sample: Path, flags: list[str]
) -> None:
    command = [sys.executable, "-m", "moichord", *flags, "--directory", str(sample)]
    done = subprocess.run(command, env=child_environment(apis), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "moichord: 3 images are stored, analytics is triggered.\n"
    assert {str(pydicom.dcmread(file).PatientID) for file in images(sample)} == {"MO-1001-007"}


# In a process of its own


def test_nothing_on_its_way_needs_posix(apis: StandInApis, sample: Path) -> None:
    done = in_a_process(apis, sample, "--like-windows")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert {str(pydicom.dcmread(file).PatientID) for file in images(sample)} == {"MO-1001-001"}
    sent = {one.sha256 for one in apis.requests.calls(Api.UPLOAD, answered=200)}
    assert sent == {hashlib.sha256(file.read_bytes()).hexdigest() for file in images(sample)}


def test_where_output_is_piped_there_is_no_progress(apis: StandInApis, sample: Path) -> None:
    done = in_a_process(apis, sample)
    assert done.stderr == "moichord: 3 images are stored, analytics is triggered.\n"


def test_a_terminal_shows_progress(apis: StandInApis, sample: Path) -> None:
    gate = apis.hold(Api.UPLOAD)
    ours, theirs = pty.openpty()
    command = command_line(sample)
    environ = {**child_environment(apis), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, env=environ, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        while b"sending" not in shown:
            shown += os.read(ours, 65536)
        gate.set()
        while data := read_terminal(ours):
            shown += data
    os.close(ours)
    assert process.returncode == 0
    assert b"analytics is triggered" in shown


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_ctrl_c_ends_it_at_once_and_the_next_run_goes_on(apis: StandInApis, sample: Path, clock: Hurried) -> None:
    apis.hold(Api.UPLOAD)
    command = command_line(sample)
    with subprocess.Popen(command, env=child_environment(apis), stderr=subprocess.PIPE, text=True) as process:
        apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) >= 3)
        process.send_signal(signal.SIGINT)
        try:
            _, message = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert message.startswith("moichord: Interrupted.")
    assert "Traceback" not in message
    apis.mend()
    assert apis.requests.calls(Api.ANALYTICS) == ()
    assert run(apis, sample, clock) == 0
