"""init and check, as they are typed."""

import json
import os
import pwd
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from moichord.cli import main
from moichord.config import load_whereabouts
from moichord.queue.database import Database
from moichord.sandbox.stand_in import StandInApis

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOICHORD_CONFIG", raising=False)
    return tmp_path


def set_environment(monkeypatch: pytest.MonkeyPatch, apis: StandInApis) -> None:
    for name, value in apis.environment().items():
        monkeypatch.setenv(name, value)


def test_init_makes_folders_state_and_a_configuration_that_is_found(here: Path, capsys: Said) -> None:
    assert main(["init", "--folders", "trial"]) == 0
    said = capsys.readouterr().out
    whereabouts = load_whereabouts(here / "moichord.yaml", {})
    folders = whereabouts.folders
    assert all(path.is_dir() for path in (folders.inbox, folders.work, folders.done, folders.failed))
    assert whereabouts.state == here / "trial" / "state" / "state.db"
    assert "  2. moichord check\n" in said
    assert "  3. moichord run\n" in said


def test_init_names_the_file_where_it_would_not_be_found(here: Path, capsys: Said) -> None:
    assert main(["init", "--folders", "trial", "--state", "s/state.db", "-c", "etc/other.yaml"]) == 0
    assert f"moichord -c {here / 'etc' / 'other.yaml'} check" in capsys.readouterr().out
    assert (here / "s").is_dir()


def test_groups_may_write_into_inbox_and_failed_and_nobody_looks_into_work(here: Path) -> None:
    before = os.umask(0o077)
    try:
        assert main(["init", "--folders", "trial"]) == 0
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (here / "trial").iterdir()}
    assert modes == {"inbox": 0o2775, "failed": 0o2775, "done": 0o2755, "work": 0o700, "state": 0o750}


def test_init_overwrites_nothing(here: Path, capsys: Said) -> None:
    (here / "moichord.yaml").write_text("mine")
    assert main(["init", "--folders", "trial"]) == 1
    assert "not overwritten" in capsys.readouterr().err
    assert (here / "moichord.yaml").read_text() == "mine"
    assert not (here / "trial").exists()


def test_init_keeps_folders_that_are_there(here: Path) -> None:
    inbox = here / "trial" / "inbox"
    inbox.mkdir(parents=True, mode=0o700)
    (inbox / "MO-1").mkdir()
    assert main(["init", "--folders", "trial"]) == 0
    assert (inbox / "MO-1").is_dir()
    assert stat.S_IMODE(inbox.stat().st_mode) == 0o700


def test_init_that_fails_can_be_repeated(here: Path, capsys: Said) -> None:
    (here / "trial").mkdir()
    (here / "trial" / "inbox").write_text("in the way")
    assert main(["init", "--folders", "trial"]) == 1
    assert str(here / "trial" / "inbox") in capsys.readouterr().err
    (here / "trial" / "inbox").unlink()
    assert main(["init", "--folders", "trial"]) == 0


def test_check_of_a_good_set_up_is_ready(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    main(["init", "--folders", "trial"])
    with StandInApis() as apis:
        set_environment(monkeypatch, apis)
        capsys.readouterr()
        assert main(["check"]) == 0
    assert "Ready to run" in capsys.readouterr().out


def test_check_says_what_must_be_mended_and_is_1(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    main(["init", "--folders", "trial"])
    with StandInApis() as apis:
        set_environment(monkeypatch, apis)
        monkeypatch.setenv("U_KEY", "wrong")
        capsys.readouterr()
        assert main(["check"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  upload" in said
    assert "Check upload.key" in said
    assert "1 thing must be mended first." in said


def test_check_offline_asks_no_server(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    main(["init", "--folders", "trial"])
    with StandInApis() as apis:
        set_environment(monkeypatch, apis)
        capsys.readouterr()
        assert main(["check", "--offline", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert main(["check", "--offline"]) == 0
        assert len(apis.requests) == 0
    assert "The three servers were not asked (--offline)." in capsys.readouterr().out
    assert (report["version"], report["ok"]) == (1, True)
    assert {"name", "result", "text", "remedy"} == {key for one in report["findings"] for key in one}


def test_check_of_a_wrong_configuration_is_78_with_every_mistake(here: Path, capsys: Said) -> None:
    (here / "moichord.yaml").write_text("version: 1\nwokers: 4\nwatch: {settle_time: soon}\n")
    assert main(["check"]) == 78
    told = capsys.readouterr().err
    assert main(["check", "--json"]) == 78
    findings = json.loads(capsys.readouterr().out)["findings"]
    for finding in findings:
        assert finding["result"] == "failed"
        assert finding["text"] in told
    assert {"moichord.yaml:2:1", "moichord.yaml:3:22"} <= {one["text"].split(": ")[0] for one in findings}


def test_check_of_a_state_that_the_daemon_would_refuse_is_78_as_the_daemon_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    main(["init", "--folders", "trial"])
    state = here / "trial" / "state" / "state.db"
    database = Database(state)
    database.open()
    database.close()
    with sqlite3.connect(state) as changed:
        changed.execute("update facts set value = '99' where name = 'schema_version'")
    changed.close()
    with StandInApis() as apis:
        set_environment(monkeypatch, apis)
        assert main(["check", "--offline"]) == 78
    assert "has schema version 99" in capsys.readouterr().out
    assert main(["run"]) == 78


def test_no_key_is_shown_by_a_check(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    main(["init", "--folders", "trial"])
    with StandInApis() as apis:
        set_environment(monkeypatch, apis)
        monkeypatch.setenv("U_KEY", "a-very-secret-key")
        main(["check"])
        main(["check", "--json"])
    said = capsys.readouterr()
    assert "a-very-secret-key" not in said.out + said.err


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_the_sandbox_ends_when_it_is_told_to(signal: str) -> None:
    import signal as signals

    command = [sys.executable, "-u", "-m", "moichord", "sandbox", "--any-sample", "--reject", "MO-1:503"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sandbox:
        assert sandbox.stdout is not None
        lines = [sandbox.stdout.readline() for _ in range(8)]
        sandbox.send_signal(signals.Signals[signal])
        _, said = sandbox.communicate(timeout=20)
    assert "export MD_URL=http://127.0.0.1:" in "".join(lines)
    assert sandbox.returncode == 0
    assert "have stopped" in said


@pytest.mark.parametrize("given", [["--reject", "a:b:c"], ["--latency", "slow"], ["--fail-rate", "2"]])
def test_a_rehearsal_that_makes_no_sense_is_refused(given: list[str], capsys: Said) -> None:
    assert main(["sandbox", *given]) in {1, 2}
    assert given[1] in capsys.readouterr().err


def test_the_page_of_one_more_daemon_gets_a_port_of_its_own(here: Path) -> None:
    assert main(["init", "--folders", "trial", "--listen", "127.0.0.1:8643"]) == 0
    assert "\n  listen: 127.0.0.1:8643\n" in (here / "moichord.yaml").read_text()


def test_a_place_for_the_page_that_is_none_is_refused_and_nothing_is_left(here: Path, capsys: Said) -> None:
    assert main(["init", "--folders", "trial", "--listen", "8643"]) == 78
    assert "must be HOST:PORT" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.needs("root")
def test_for_a_service_all_belongs_to_its_user_and_the_keys_are_credentials(here: Path, capsys: Said) -> None:
    user = pwd.getpwnam("nobody")
    assert main(["init", "--folders", "trial", "--service-user", user.pw_name]) == 0
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (here / "trial").iterdir()}
    assert owners == {(user.pw_uid, user.pw_gid)}
    assert stat.S_IMODE((here / "trial" / "inbox").stat().st_mode) == 0o2775
    config = here / "moichord.yaml"
    assert (config.stat().st_uid, config.stat().st_gid) == (0, user.pw_gid)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert config.read_text().count("  key: {credential: ") == 3
    assert "moichord run" not in capsys.readouterr().out, "the unit starts it"


def test_a_service_user_that_does_not_exist_is_named_and_nothing_is_left(here: Path, capsys: Said) -> None:
    assert main(["init", "--folders", "trial", "--service-user", "no-such-user"]) == 1
    assert "There is no user no-such-user" in capsys.readouterr().err
    assert list(here.iterdir()) == []
