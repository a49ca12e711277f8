"""The command line as a whole: help, errors, exit codes, where the configuration is looked for, the old spelling."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from moichord.cli import main, with_command
from moichord.cli.asking import pause
from moichord.cli.entrance import Entrance, tell
from moichord.errors import ConfigurationInvalid, MoichordError, StateInUse

Said = pytest.CaptureFixture[str]
PROMISED = [
    *("init", "check", "run", "process", "status", "history"),
    *("retry", "cancel", "pause", "resume", "sandbox", "demo"),
]
HEAVY = {"pydicom", "requests", "sqlalchemy", "rich", "pydantic", "yaml", "jmespath"}
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOICHORD_CONFIG", raising=False)
    return tmp_path


def test_every_promised_command_is_listed_and_explains_itself(capsys: Said) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in PROMISED:
        assert f"\n  {name} " in listed
        assert main([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: moichord {name}")


def test_help_loads_nothing_heavy() -> None:
    script = "import sys; from moichord.cli import main; main(['--help']); print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": ROOT}
    ended = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert HEAVY & set(ended.stdout.splitlines()[-1].split()) == set()


def test_the_version_is_told(capsys: Said) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("moichord ")


@pytest.mark.parametrize("given", [["no-such-command"], ["status", "--no-such-option"], ["-v", "-q", "status"], []])
def test_wrong_usage_is_2_and_said_on_stderr(given: list[str], capsys: Said) -> None:
    assert main(given) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: moichord" in said.err


def test_without_a_configuration_it_says_where_it_looked(capsys: Said) -> None:
    assert main(["status"]) == 78
    said = capsys.readouterr().err
    for words in ("./moichord.yaml", "/etc/moichord/config.yaml", "MOICHORD_CONFIG", "moichord init"):
        assert words in said


def test_a_named_configuration_comes_before_all_others(nowhere: Path) -> None:
    (nowhere / "moichord.yaml").touch()
    assert Entrance(None, {}).config_path() == Path("moichord.yaml")
    assert Entrance(None, {"MOICHORD_CONFIG": "/a"}).config_path() == Path("/a")
    assert Entrance(Path("/b"), {"MOICHORD_CONFIG": "/a"}).config_path() == Path("/b")


def test_all_mistakes_of_a_configuration_are_told_with_their_places(nowhere: Path, capsys: Said) -> None:
    (nowhere / "moichord.yaml").write_text("version: 1\nwokers: 4\nwatch: {settle_time: soon}\n")
    assert main(["run"]) == 78
    said = capsys.readouterr().err
    assert "things are wrong" in said
    assert "moichord.yaml:2:1: wokers" in said
    assert "moichord.yaml:3:22: watch.settle_time" in said


def test_an_error_says_what_is_wrong_and_then_what_to_do(capsys: Said) -> None:
    tell(MoichordError("It is broken.", remedy="Mend it."))
    tell(ConfigurationInvalid(["a:1:1: x", "a:2:2: y"]))
    assert capsys.readouterr().err.splitlines() == [
        "moichord: It is broken.",
        "  Mend it.",
        "moichord: 2 things are wrong:",
        "  a:1:1: x",
        "  a:2:2: y",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StateInUse("in use"), 75),
        (KeyboardInterrupt(), 130),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (click.UsageError("wrong"), 2),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(pause, "callback", fail)
    assert main(["pause"]) == code


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--sample_id", "A"], ["process", "--sample_id", "A"]),
        (["--directory=x", "--sample-id=A"], ["process", "--directory=x", "--sample-id=A"]),
        (["--console_logs", "False"], ["process", "--console_logs", "False"]),
        (["status"], ["status"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_the_original_options_alone_mean_process(given: list[str], understood: list[str]) -> None:
    assert with_command(given) == understood


def test_the_one_shot_needs_no_configuration_but_names_every_missing_variable(nowhere: Path, capsys: Said) -> None:
    (nowhere / "MO-1").mkdir()
    environ = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_KEY"))}
    given = ["--sample_id", "MO-1", "--directory", "MO-1"]
    ended = subprocess.run(
        [sys.executable, "-m", "moichord", *given],
        env={**environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 78
    assert all(name in ended.stderr for name in ("MD_URL", "MD_KEY", "U_URL", "U_KEY", "A_URL", "A_KEY"))


def test_a_directory_that_is_not_there_is_wrong_usage(capsys: Said) -> None:
    assert main(["process", "--sample-id", "MO-1", "--directory", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
