"""`moichord web-password`."""

import io
import stat
from pathlib import Path

import pytest

from moichord.cli import main
from moichord.status.web.passwords import read_people


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_it_makes_the_file_for_its_owner_alone_and_adds_people_to_it(
    monkeypatch: pytest.MonkeyPatch, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, password in (("anna", "first password\n"), ("berta", "second password\n"), ("anna", "third password\n")):
        typed(monkeypatch, password)
        assert main(["web-password", "--file", str(file), name]) == 0

    people = read_people(file)
    assert set(people) == {"anna", "berta"}
    assert people["anna"].fits("third password")
    assert people["berta"].fits("second password")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    said = capsys.readouterr()
    assert "anna may sign in now" in said.out
    assert "password\n" not in said.out + said.err


def test_the_configuration_names_the_file(monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path) -> None:
    config = tmp_path / "moichord.yaml"
    config.write_text(f"version: 1\nweb: {{password_file: {file}}}\nupload: {{key: {{file: /nowhere}}}}\n")
    typed(monkeypatch, "a good password\n")
    assert main(["-c", str(config), "web-password", "anna"]) == 0
    assert set(read_people(file)) == {"anna"}


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [("anna", "short", "8 characters at least"), ("a:b", "long enough", "A name has letters")],
)
def test_what_cannot_be_taken_is_refused_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    password: str,
    said: str,
) -> None:
    typed(monkeypatch, password)
    assert main(["web-password", "--file", str(file), name]) == 1
    assert said in capsys.readouterr().err
    assert not file.exists()


def test_without_a_file_it_says_where_to_name_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "moichord.yaml"
    config.write_text("version: 1\n")
    assert main(["-c", str(config), "web-password", "anna"]) == 1
    assert "web.password_file" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("nobody's\n")
    file.chmod(0o600)
    typed(monkeypatch, "a good password\n")
    assert main(["web-password", "--file", str(file), "anna"]) == 78
    assert file.read_text() == "nobody's\n"
    assert "no person with a password" in capsys.readouterr().err
