"""How each ending of the one-shot is told."""

import logging

import pytest

from moichord.errors import (
    ApiOutage,
    ApiRefusal,
    ApiTransient,
    ConfigurationInvalid,
    Hold,
    MoichordError,
    SampleFailure,
    SampleUnknown,
    Stopped,
    UsageRefused,
)
from moichord.oneshot.retrying import TriesEnded
from moichord.oneshot.voice import Voice, exit_code, in_variables
from moichord.sample import Api

OUTAGE = ApiOutage("No.", api=Api.UPLOAD, remedy="Check upload.key and upload.key_header.", detail="Patient Rex?")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SampleFailure("x"), 1),
        (ApiRefusal("x", api=Api.UPLOAD), 1),
        (SampleUnknown("x", api=Api.METADATA), 1),
        (OSError(28, "No space left on device"), 1),
        (UsageRefused("x"), 2),
        (TriesEnded(ApiTransient("x", api=Api.UPLOAD), 6), 75),
        (TriesEnded(OUTAGE, 6), 75),
        (Hold("x", held_by="settling"), 75),
        (ConfigurationInvalid(["x"]), 78),
        (Stopped("x"), 130),
    ],
)
def test_every_ending_has_its_exit_code(error: MoichordError | OSError, code: int) -> None:
    assert exit_code(error) == code


def test_keys_of_a_configuration_file_become_variables() -> None:
    text = "Check metadata.url, upload.key, analytics.key_header and upload.tls."
    assert in_variables(text) == "Check MD_URL, U_KEY, A_KEY and upload.tls."
    assert in_variables("Check upload.key and upload.key_header.") == "Check U_KEY."


def ended(
    error: MoichordError | OSError, capsys: pytest.CaptureFixture[str], *, log_is_seen: bool = False
) -> list[str]:
    Voice(log_is_seen=log_is_seen, about={"sample": "S1"}).end(error)
    return capsys.readouterr().err.splitlines()


def test_an_ending_says_what_is_wrong_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(SampleFailure("It is cut off.", remedy="Copy it again."), capsys) == [
        "moichord: It is cut off.",
        "  Copy it again.",
    ]


def test_values_of_images_are_shown_to_the_person_and_kept_from_the_log(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = ended(SampleFailure("PatientName is Rex.", brief="PatientName differs."), capsys)
    assert lines[0] == "moichord: PatientName is Rex."
    assert "PatientName differs." in caplog.text
    assert "Rex" not in caplog.text


def test_what_a_server_wrote_is_shown_to_the_person_and_kept_from_the_log(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = ended(TriesEnded(OUTAGE, 3), capsys, log_is_seen=True)
    assert lines[:2] == ["moichord: No. Given up after 3 tries.", "  The server wrote: Patient Rex?"]
    assert lines[2].startswith("  Check U_KEY. Run the same command again")
    assert "Rex" not in caplog.text


def test_what_the_log_shows_on_the_terminal_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(SampleFailure("It is cut off."), capsys, log_is_seen=True) == []


def test_every_missing_variable_has_a_line(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    problems = ["environment: MD_URL: is not set", "environment: A_KEY: is not set"]
    lines = ended(ConfigurationInvalid(problems, remedy="Set it."), capsys)
    assert lines == [f"moichord: {problems[0]}", f"  {problems[1]}", "  Set it."]
    assert "\n" not in caplog.messages[0]


def test_no_message_can_play_tricks_with_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(SampleFailure("a\x1b[2Jb.dcm"), capsys)[0] == r"moichord: a\x1b[2Jb.dcm"


def test_how_it_goes_is_logged_with_its_sample(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Voice(log_is_seen=True, about={"sample": "S1"}).warn("Trying again")
    assert [(r.levelname, r.__dict__["sample"]) for r in caplog.records] == [("WARNING", "S1")]
