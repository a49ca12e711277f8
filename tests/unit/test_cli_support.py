"""The support file: what is in it, and what must not be, wherever it is planted."""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.cli import main
from moichord.config.example import example
from moichord.config.shareable import hidden, shareable
from moichord.sample import State, Step
from tests.unit.status.lab import PATIENT, Lab, whole_story

Said = pytest.CaptureFixture[str]
SECRET = "s3cr3t-planted"
FOLDER = "Rex Planted 2016"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A state in which secrets and patients stand everywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOICHORD_CONFIG", raising=False)
    monkeypatch.setenv("PLANTED_KEY", SECRET)
    for name in ("MD_URL", "U_URL", "A_URL"):
        monkeypatch.setenv(name, f"http://user:{SECRET}@servers.test:8080/{SECRET}?token={SECRET}")
    lab = Lab(tmp_path)
    whole_story(lab)
    lab.arriving(FOLDER, f"still arriving: {FOLDER}.dcm", sample_id=None)
    reason = f"PatientName is {PATIENT} in one image; the server wrote {SECRET}."
    lab.ended(lab.processing("MO-2000", Step.UPLOAD), State.FAILED, reason, reason)
    lab.bulletin.publish([f"a loose file in the inbox is left alone: {FOLDER}"], {})
    (lab.state.parent / "state.db.log").write_text(f"lines before\nkey={SECRET} of {PATIENT} in {FOLDER}\nlast line\n")
    yield lab
    lab.close()


def configure(lab: Lab) -> None:
    text = example(lab.root, lab.state)
    for name in ("MD_KEY", "U_KEY", "A_KEY"):
        text = text.replace(f"env: {name}", "env: PLANTED_KEY")
    text = text.replace("  headers: {}", f"  headers: {{X-Token: {SECRET}}}", 1)
    text = text.replace("  params: {}", f"  params: {{token: {SECRET}}}", 1)
    text = text.replace("  proxy: null", f"  proxy: http://user:{SECRET}@proxy.test:3128", 1)
    (lab.root / "moichord.yaml").write_text(text)


def whole(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_it_holds_what_helps_and_neither_secrets_nor_patients(lab: Lab, capsys: Said) -> None:
    configure(lab)
    assert main(["support", "help.zip"]) == 0
    assert "Written  help.zip" in capsys.readouterr().out
    parts = whole(Path("help.zip"))
    assert {
        "versions.json",
        "configuration.json",
        "states.json",
        "history.json",
        "log.txt",
        "metrics.txt",
    } < parts.keys()
    everything = "\n".join(parts.values())
    for planted in (SECRET, PATIENT, FOLDER, "slide-0.dcm"):
        assert planted not in everything
    assert json.loads(parts["states.json"])["counts"]["failed"] == 2
    assert "MO-1003" in parts["states.json"]
    assert "last line" in parts["log.txt"]
    assert "moichord_samples" in parts["metrics.txt"]
    assert json.loads(parts["versions.json"])["libraries"]["click"]
    assert parts["problems.txt"].strip() == ""
    assert Path("help.zip").stat().st_mode & 0o077 == 0


def test_it_is_made_also_when_the_configuration_is_wrong_and_quotes_none_of_it(lab: Lab) -> None:
    configure(lab)
    with Path("moichord.yaml").open("a") as file:
        file.write(f"\nwokers: {SECRET}\n{SECRET}: 4\nworkers: {SECRET}\n")
    assert main(["support", "help.zip"]) == 0
    parts = whole(Path("help.zip"))
    assert SECRET not in parts["configuration.json"] + parts["problems.txt"]
    end = len(Path("moichord.yaml").read_text().splitlines())
    places = json.loads(parts["configuration.json"])["problems_at"]
    assert {f"moichord.yaml:{end - 2}:1", f"moichord.yaml:{end - 1}:1"} < set(places)


def test_it_is_made_also_when_there_is_no_state_and_says_what_is_missing(lab: Lab) -> None:
    configure(lab)
    lab.close()
    lab.state.unlink()
    assert main(["support", "help.zip"]) == 0
    parts = whole(Path("help.zip"))
    assert "states.json" in parts["problems.txt"]
    assert "versions.json" in parts


def test_no_file_is_overwritten(lab: Lab, capsys: Said) -> None:
    configure(lab)
    Path("help.zip").write_text("mine")
    assert main(["support", "help.zip"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert Path("help.zip").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("workers: 4", {"workers": 4}),
        ("upload: {key: abc}", {"upload": {"key": "***"}}),
        ("upload: {key: 12345}", {"upload": {"key": "***"}}),
        ("upload: {key: {env: U_KEY}}", {"upload": {"key": {"env": "U_KEY"}}}),
        ("upload: {key: {env: not-a-name}}", {"upload": {"key": {"env": "***"}}}),
        ("upload: {key: {file: /etc/key}}", {"upload": {"key": {"file": "/etc/key"}}}),
        ("upload: {key: {secret: x}}", {"upload": {"key": {"***": "***"}}}),
        ("upload: {url: '${U_URL}'}", {"upload": {"url": "${U_URL}"}}),
        ("upload: {url: 'https://me:pw@host:1/in?t=1'}", {"upload": {"url": "https://host:1/***"}}),
        ("upload: {url: 'ftp://x'}", {"upload": {"url": "***"}}),
        ("upload: {timeout: {read: 5m}}", {"upload": {"timeout": {"read": "5m"}}}),
        ("tags: {PatientName: {value: Rex}}", {"tags": {"PatientName": {"value": "***"}}}),
        ("tags: {PatientName: a.b}", {"tags": {"PatientName": "a.b"}}),
        ("password: x", {"***": "***"}),
        ("folders: {inboxx: x}", {"folders": {"***": "***"}}),
        ("watch: {images: ['*.dcm', {a: b}]}", {"watch": {"images": ["*.dcm", "***"]}}),
        ("workers: [", None),
        ("", None),
    ],
)
def test_a_configuration_is_shown_without_what_may_be_secret(text: str, seen: object) -> None:
    assert shareable(text) == seen


def test_what_a_configuration_hides_is_known_even_if_it_is_wrong() -> None:
    text = """
        wokers: 4
        metadata: {key: {env: THE_KEY}, url: "http://me:pass%20word@host/hook/abcdef?token=tttt"}
        upload: {key: plain-text, headers: {X-A: header-value}, method: POST}
    """
    found = hidden(text, {"THE_KEY": "the-key"})
    assert {"the-key", "pass word", "hook/abcdef", "tttt", "plain-text", "header-value"} <= found
    assert "POST" not in found


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "echo 'No journal files were opened' >&2; exit 1"])
def test_without_a_log_file_a_journal_that_says_nothing_is_explained(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    configure(lab)
    beside_a_journal(lab, tmp_path, monkeypatch, script)
    assert main(["support", "help.zip"]) == 0
    parts = whole(Path("help.zip"))
    assert "log.txt" not in parts
    assert "run the command with sudo" in parts["problems.txt"]


def test_without_a_log_file_it_has_the_journal_masked(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(lab)
    beside_a_journal(lab, tmp_path, monkeypatch, f'echo "$@ {SECRET} {PATIENT}"')
    assert main(["support", "help.zip"]) == 0
    log = whole(Path("help.zip"))["log.txt"]
    assert log.startswith("--unit=moichord --unit=moichord@*")
    assert SECRET not in log
    assert PATIENT not in log


def beside_a_journal(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (lab.state.parent / "state.db.log").unlink()
    command = tmp_path / "bin" / "journalctl"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
