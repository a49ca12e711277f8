"""The kinds of values in the configuration: durations, sizes, secrets."""

import os
from pathlib import Path

import pytest

from moichord.config.secret import Secret, read_secret
from moichord.config.values import duration, size
from moichord.templates import Unusable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("0s", 0),
        ("5m", 300),
        ("2h", 7200),
        ("30d", 2592000),
        ("1.5h", 5400),
        ("3 d", 259200),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", 10, 1.5, "s", "10 weeks", "10S", "1e3s", "-1s", "1s 2s", None, True, "９s", "9" * 30 + "d"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "octets"), [("0B", 0), ("512B", 512), ("20KiB", 20480), ("5MiB", 5242880), ("1.5GiB", 1610612736)]
)
def test_sizes_are_bytes(text: str, octets: int) -> None:
    assert size(text) == octets


@pytest.mark.parametrize("text", ["5GB", "5", 5, "5gib", "-5B", "5KB"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        size(text)


def private(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    file.chmod(0o600)
    return str(file)


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n", b"\xef\xbb\xbfhunter2\n"])
def test_a_secret_file_may_end_in_a_line_end(tmp_path: Path, content: bytes) -> None:
    assert read_secret({"file": private(tmp_path / "key", content)}, {}).reveal() == "hunter2"


def test_a_secret_comes_from_the_environment_or_a_systemd_credential(tmp_path: Path) -> None:
    (tmp_path / "upload-key").write_text("hunter2\n")
    assert read_secret({"env": "KEY"}, {"KEY": "hunter2"}) == Secret("hunter2")
    assert read_secret({"credential": "upload-key"}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == Secret("hunter2")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    private(file, b"hunter2")
    file.chmod(mode)
    with pytest.raises(Unusable, match="can be read by others: run chmod 600"):
        read_secret({"file": str(file)}, {})


@pytest.mark.parametrize(
    ("shape", "path", "problem"),
    [
        ("hunter2", (), "a secret is not written here"),
        ({}, (), "a secret is not written here"),
        ({"env": "A", "file": "/b"}, (), "a secret is not written here"),
        ({"vault": "x"}, ("vault",), "is not a place for a secret"),
        ({"env": 5}, ("env",), "must be a name in quotes"),
        ({"env": "NOPE"}, ("env",), "environment variable NOPE is not set"),
        ({"env": "EMPTY"}, ("env",), "EMPTY is empty"),
        ({"env": "LINES"}, ("env",), "LINES must be one line of printable ASCII"),
        ({"file": "relative"}, ("file",), "relative must be a full path"),
        ({"file": "/nowhere/key"}, ("file",), "/nowhere/key cannot be read: No such file"),
        ({"file": "/"}, ("file",), "/ cannot be read"),
        ({"credential": "a"}, ("credential",), "credentials exist only under systemd: add LoadCredential=a:PATH"),
    ],
)
def test_a_secret_that_cannot_be_had_says_why_but_never_what(
    shape: object, path: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(Unusable) as refused:
        read_secret(shape, {"EMPTY": "", "LINES": "hunter2\nmore"})
    ((where, message),) = refused.value.problems
    assert where == path
    assert message.startswith(problem)
    assert "hunter2" not in message


def test_a_credentials_name_cannot_leave_its_directory(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="must be a name without folders"):
        read_secret({"credential": "../key"}, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_fifo_for_a_secret_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(Unusable, match="is not a file"):
        read_secret({"file": str(tmp_path / "key")}, {})


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
