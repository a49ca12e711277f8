"""How log lines look, and what never appears in them."""

import io
import json
import logging
import warnings
from pathlib import Path
from urllib.parse import quote

import pytest

from moichord import logs
from moichord.apis.bodies import BodyLengthWrong
from moichord.errors import ApiRefusal, SampleFailure
from moichord.sample import Api

log = logging.getLogger("moichord.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(format: str = "console", secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    logs.setup(format=format, stream=stream, secrets=secrets)
    return stream


def test_a_console_line_ends_in_its_fields_in_one_order() -> None:
    stream = written()
    log.info("sent", extra={"api": "upload", "try": 2, "step": "upload", "sample": "A1", "submission": "0e4e"})
    assert stream.getvalue().endswith("INFO    sent sample=A1 submission=0e4e step=upload try=2 api=upload\n")


def test_fields_without_a_value_are_left_out_and_odd_ones_are_quoted() -> None:
    stream = written()
    log.info("sent", extra={"sample": "a b=c", "step": None, "file": ""})
    assert stream.getvalue().endswith('sent sample="a b=c" file=""\n')


def test_a_json_line_is_one_object_with_time_level_and_fields() -> None:
    stream = written("json")
    log.warning("odd %s", "thing", extra={"sample": "A1", "try": 3})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {"level": "WARNING", "logger": "moichord.test", "message": "odd thing", "sample": "A1", "try": 3}


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_name_cannot_forge_a_line(format: str) -> None:
    stream = written(format)
    log.info("taken %s", "A1\n2026-01-01 ERROR forged\x1b[31m\udcff", extra={"sample": "x\ny"})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text


@pytest.mark.parametrize("format", ["console", "json"])
@pytest.mark.parametrize("secret", ["s3cr3t-key", 'quo"te\\and/slash', "it's", "a b&c"])
def test_a_secret_is_masked_in_messages_fields_and_tracebacks(format: str, secret: str) -> None:
    stream = written(format, (secret,))
    try:
        raise AttributeError("cause " + secret) from NameError(secret)
    except AttributeError as error:
        log.exception("failed with %s", error, extra={"header": secret, "shape": {"key": secret}})
    log.info("to http://host/?key=%s", quote(secret))
    text = stream.getvalue()
    for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret)):
        assert spelling not in text
    assert logs.MASK in text


def test_a_traceback_follows_its_line_with_its_control_characters_escaped() -> None:
    stream = written()
    try:
        raise AttributeError("a\x1bb")
    except AttributeError:
        log.exception("crashed")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("crashed")
    assert lines[-1] == "    AttributeError: a\\x1bb"


class OfALibrary(AttributeError):
    """What a library raises where an attribute is missing; its text may quote a value."""


@pytest.mark.parametrize("format", ["console", "json"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("Rex"), "KeyError (its text is not logged: it may quote a patient)"),
        (ValueError("invalid literal: 'Rex'"), "ValueError (its text is not logged"),
        (SampleFailure("PatientName is Rex", brief="two patients"), "SampleFailure: two patients"),
        (ApiRefusal("It refused (400).", api=Api.UPLOAD, detail="Rex"), "ApiRefusal: It refused (400)."),
        (FileNotFoundError(2, "No such file or directory", "Rex.dcm"), "[Errno 2] No such file or directory"),
        (AttributeError("'int' object has no attribute 'x'"), "AttributeError: 'int' object has no attribute 'x'"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'"),
        (UnboundLocalError("local variable 'x'"), "UnboundLocalError: local variable 'x'"),
        (OfALibrary("no field Rex"), "OfALibrary (its text is not logged"),
        (BodyLengthWrong("A file changed while it was being sent."), "BodyLengthWrong: A file changed while it was"),
    ],
)
def test_a_traceback_says_where_and_what_kind_but_quotes_no_value(format: str, error: Exception, told: str) -> None:
    stream, quoted = written(format), "Rex"
    try:
        raise error from LookupError(quoted)
    except Exception:
        log.exception("crashed")
    text = json.loads(stream.getvalue())["exc_info"] if format == "json" else stream.getvalue()
    assert told in text
    assert "in test_a_traceback_says_where" in text
    assert "LookupError (its text" in text
    assert "direct cause" in text
    assert "Rex" not in text


def test_a_terminal_gets_colours_and_a_pipe_gets_none() -> None:
    terminal, pipe = Terminal(), written("auto")
    log.error("x")
    logs.setup(format="auto", stream=terminal)
    log.error("x")
    assert "\x1b[31m" in terminal.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_colours_can_be_refused() -> None:
    terminal = Terminal()
    logs.setup(stream=terminal, colour=False)
    log.error("x")
    assert "\x1b" not in terminal.getvalue()


def test_the_last_setup_holds() -> None:
    first, second = written(), io.StringIO()
    logs.setup(level="warning", stream=second)
    log.info("quiet")
    log.warning("loud")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_file_that_is_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "moichor.log"
    logs.setup(file=file)
    log.info("one \udcff ü")
    file.rename(tmp_path / "moichor.log.1")
    log.info("two")
    assert "one \\xff ü" in (tmp_path / "moichor.log.1").read_text("utf-8")
    assert "two" in file.read_text("utf-8")


def test_warnings_of_libraries_that_quote_patients_are_not_written() -> None:
    stream = written()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.setup(stream=stream)
        warnings.warn("Invalid value for VR PN: 'Rex'", UserWarning, stacklevel=1)
    logging.getLogger("pydicom").warning("Rex")
    assert "Rex" not in stream.getvalue()
