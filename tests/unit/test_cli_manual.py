"""The manual page and the completion of commands: both made from the commands themselves."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from moichord.cli import COMMANDS, commands, main
from moichord.cli.manual import EXIT_CODES

Said = pytest.CaptureFixture[str]
ROOT = str(Path(__file__).parents[2])


def page(capsys: Said) -> str:
    assert main(["man"]) == 0
    return capsys.readouterr().out


def test_the_manual_page_has_every_command_and_every_option(capsys: Said) -> None:
    text = page(capsys).replace("\\-", "-")
    assert len(COMMANDS) > 10
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        assert f'.SS "moichord {name}' in text
        for option in (option for one in command.params for option in one.opts if option.startswith("--")):
            assert option in text
    assert all(f".B {code}\n" in text for code in EXIT_CODES)


def test_no_line_of_the_manual_page_is_taken_for_a_request_by_mistake(capsys: Said) -> None:
    requests = {line.split()[0] for line in page(capsys).splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".SS", ".PP", ".TP", ".B"}


@pytest.mark.needs("groff")
def test_groff_sets_the_manual_page_without_a_warning(capsys: Said) -> None:
    set_ = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], input=page(capsys), capture_output=True, text=True, check=False
    )
    assert (set_.returncode, set_.stderr) == (0, "")
    assert "No colours, as with NO_COLOR." in set_.stdout


def complete(*words: str) -> list[str]:
    """What a shell offers for the last of these words."""
    asked = {"_MOICHORD_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    ended = subprocess.run(
        [sys.executable, "-c", "from moichord.cli import main; main([])"],
        env={**os.environ, "PYTHONPATH": ROOT, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in ended.stdout.splitlines()]


def test_a_shell_completes_commands_and_options() -> None:
    assert complete("moichord", "rec") == ["reconcile"]
    assert complete("moichord", "status", "--w") == ["--watch"]
