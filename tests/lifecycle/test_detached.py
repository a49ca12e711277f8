"""The detached mode, as real processes: started, refused, stopped, killed, and never somebody else's process."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from tests.integration import samples
from tests.integration.daemon import Daemon
from tests.lifecycle.daemon import until


@pytest.fixture
def apis() -> Iterator[StandInApis]:
    with StandInApis(any_sample=True) as stand_in:
        yield stand_in


@pytest.fixture
def site(tmp_path: Path, apis: StandInApis) -> Iterator["Site"]:
    site = Site(tmp_path / "house", apis)
    yield site
    print(f"--- log\n{site.said()}")  # shown by pytest for a test that fails
    site.close()


class Site(Daemon):
    """Folders, a configuration, and the commands of the detached mode."""

    def __init__(self, root: Path, apis: StandInApis) -> None:
        super().__init__(root, apis.environment())
        self.pid_file = root / "state.db.pid"
        self.own_log = root / "state.db.log"
        self.started: list[int] = []

    def begin(self) -> int:
        """`daemon start`, well; the daemon's process ID."""
        done = self.command("daemon", "start")
        assert done.returncode == 0, done.stderr
        self.started.append(self.pid())
        return self.started[-1]

    def pid(self) -> int:
        return int(self.pid_file.read_text().splitlines()[0])

    def asked(self) -> dict:
        return json.loads(self.command("daemon", "status", "--json").stdout)

    def said(self) -> str:
        return self.own_log.read_text() if self.own_log.exists() else ""

    def popen(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        own = {"cwd": self.root, "env": self._environment(), "text": True}
        return subprocess.Popen(self._command(*arguments), **{**own, **options})  # type: ignore[call-overload]

    def close(self) -> None:
        super().close()
        for pid in self.started:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: not runs(pid), "its end")


def runs(pid: int) -> bool:
    """Whether that process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not runs(pid), "its end")


def in_its_upload(site: Site, apis: StandInApis, sample: str = "A1") -> None:
    apis.hold(Api.UPLOAD)
    samples.drop(samples.small_sample(site.root / "made" / sample), site.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) > 0)


def tells_what_it_sends(site: Site) -> bool:
    return bool(site._views.fact("sending"))


def test_it_starts_works_tells_about_itself_and_stops(site: Site) -> None:
    done = site.command("daemon", "start")
    pid = site.pid()
    site.started.append(pid)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"process {pid}" in done.stdout
    assert str(site.own_log) in done.stdout
    assert f"{site.config} status" in done.stdout
    assert " is ready" in site.said()

    asked = site.asked()
    assert asked.pop("since").endswith("+00:00")
    assert asked.pop("moichord")
    assert asked == {
        "version": 1,
        "state": str(site.state),
        "running": True,
        "detached": True,
        "pid": pid,
        "log": str(site.own_log),
    }
    told = site.command("daemon", "status")
    assert told.returncode == 0
    assert f"process {pid}" in told.stdout

    samples.drop(samples.small_sample(site.root / "made" / "A1"), site.inbox)
    site.wait_until_done("A1")

    done = site.command("daemon", "stop")
    assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    assert "moichord has stopped" in site.said()
    assert not site.pid_file.exists()
    until(lambda: not runs(pid), "its end")


def test_the_process_has_left_its_terminal_and_its_folder(site: Site) -> None:
    pid = site.begin()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Umask"] == "0027"
    assert os.getsid(pid) != os.getsid(0)
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)] == [Path("/dev/null")] * 3
    assert site.own_log.stat().st_mode & 0o777 == 0o640


def test_without_a_daemon_status_and_stop_say_so_and_exit_4(site: Site) -> None:
    status = site.command("daemon", "status")
    assert (status.returncode, status.stdout) == (4, f"No daemon runs with the state {site.state}.\n")
    assert site.asked()["running"] is False
    stop = site.command("daemon", "stop")
    assert stop.returncode == 4
    assert "No daemon runs" in stop.stderr


def test_a_second_start_is_refused_and_leaves_the_first_alone(site: Site) -> None:
    pid = site.begin()
    again = site.command("daemon", "start")
    assert again.returncode == 75
    assert "Another moichord daemon runs" in again.stderr
    assert site.asked()["pid"] == pid


def test_of_many_starts_at_once_one_daemon_comes(site: Site) -> None:
    starts = [site.popen("daemon", "start", stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    codes = [start.wait(60) for start in starts]
    for start in starts:
        start.communicate()
    site.started.append(site.pid())
    assert sorted(codes) == [0, 75, 75]
    assert site.asked()["pid"] == site.pid()


def test_stop_waits_for_the_requests_in_flight_and_says_for_which_sample(site: Site, apis: StandInApis) -> None:
    site.configure({"drain_timeout": "30s"})
    pid = site.begin()
    in_its_upload(site, apis)
    with site.popen("daemon", "stop", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stop:
        assert stop.stderr is not None
        told = stop.stderr.readline()
        assert f"Stopping process {pid}" in told
        assert "1 sample may still finish (A1)" in told
        until(lambda: "stopping: requests in flight" in site.said(), "the drain")
        assert stop.poll() is None
        apis.mend()
        assert stop.wait(60) == 0
    assert "broken off" not in site.said()
    site.begin()
    site.wait_until_done("A1")
    keys = [call.idempotency_key for call in apis.requests.calls(Api.UPLOAD)]
    assert len(keys) == len(set(keys)), "nothing is sent twice"


def test_ctrl_c_at_stop_breaks_the_requests_in_flight_off(site: Site, apis: StandInApis) -> None:
    site.configure({"drain_timeout": "10m"})
    site.begin()
    in_its_upload(site, apis)
    until(lambda: tells_what_it_sends(site), "what is being sent to be published")
    with site.popen("daemon", "stop", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stop:
        assert stop.stderr is not None
        assert "Ctrl-C breaks them off" in stop.stderr.readline()
        stop.send_signal(signal.SIGINT)
        assert stop.wait(60) == 0
        assert "are broken off" in stop.stderr.read()
    assert "requests in flight are broken off" in site.said()


def test_the_second_ctrl_c_at_stop_leaves_the_daemon_to_itself(site: Site, apis: StandInApis) -> None:
    pid = site.begin()
    os.kill(pid, signal.SIGSTOP)
    with site.popen("daemon", "stop", stderr=subprocess.PIPE) as stop:
        assert stop.stderr is not None
        assert "Stopping" in stop.stderr.readline()
        stop.send_signal(signal.SIGINT)
        assert "broken off" in stop.stderr.readline()
        stop.send_signal(signal.SIGINT)
        assert stop.wait(60) == 130
    os.kill(pid, signal.SIGCONT)
    until(lambda: not runs(pid), "its end")


def test_after_a_kill_it_starts_again_and_goes_on(site: Site, apis: StandInApis) -> None:
    pid = site.begin()
    in_its_upload(site, apis)
    kill(pid)
    status = site.command("daemon", "status")
    assert status.returncode == 4
    assert f"process {pid}) was killed" in status.stdout
    apis.mend()
    assert site.begin() != pid
    site.wait_until_done("A1")


def test_a_pid_file_that_names_a_living_foreign_process_harms_nobody(site: Site) -> None:
    kill(site.begin())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as foreign:
        names_foreign = site.pid_file.read_text().splitlines()
        site.pid_file.write_text("\n".join([str(foreign.pid), *names_foreign[1:]]))
        assert site.command("daemon", "stop").returncode == 4

        # In the foreground a daemon holds the state and leaves the pid file as it is.
        site.start()
        stop = site.command("daemon", "stop")
        assert stop.returncode == 1
        assert "not one that `moichord daemon start` started" in stop.stderr
        asked = site.asked()
        assert (asked["running"], asked["detached"], asked["pid"]) == (True, False, None)
        assert site.stop() == 0

        pid = site.begin()
        assert pid != foreign.pid
        assert site.command("daemon", "stop").returncode == 0
        until(lambda: not runs(pid), "its end")
        assert foreign.poll() is None
        foreign.communicate(b"\n")


def test_a_wrong_configuration_is_told_in_the_terminal_with_all_its_mistakes(site: Site) -> None:
    site.configure({"workers": 0, "wach": 1})
    done = site.command("daemon", "start")
    assert done.returncode == 78
    assert "workers" in done.stderr
    assert "wach" in done.stderr
    assert not site.own_log.exists()
    assert not site.pid_file.exists()


def test_what_the_daemon_itself_meets_at_its_start_is_told_in_the_terminal(site: Site) -> None:
    site.work.mkdir(mode=0o700)
    (site.work / ".moichord-owner").write_text("another state\n")
    (site.root / "state.db").write_bytes(b"this is no database" * 100)
    done = site.command("daemon", "start")
    assert done.returncode == 78
    assert "state" in done.stderr
    assert "ERROR" in site.said()
    assert not site.pid_file.exists()


def test_a_log_that_cannot_be_written_is_told_in_the_terminal(site: Site) -> None:
    site.configure({"logging": {"file": str(site.root / "nowhere" / "m.log")}})
    done = site.command("daemon", "start")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "nowhere/m.log" in done.stderr


def test_the_log_lies_where_the_configuration_says(site: Site) -> None:
    file = site.root / "own.log"
    site.configure({"logging": {"file": str(file), "format": "json"}})
    site.begin()
    assert [line for line in file.read_text().splitlines() if "is ready" in json.loads(line)["message"]]
    assert site.asked()["log"] == str(file)
    assert not site.own_log.exists()


def test_a_relative_configuration_and_a_folder_that_is_deleted_afterwards_do_no_harm(site: Site) -> None:
    folder = site.root / "elsewhere"
    folder.mkdir()
    site.config.rename(folder / "moichord.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "moichord", "-c", "moichord.yaml", "daemon", "start"],
        cwd=folder, env=site._environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    site.started.append(site.pid())
    (folder / "moichord.yaml").rename(site.config)
    folder.rmdir()
    samples.drop(samples.small_sample(site.root / "made" / "A1"), site.inbox)
    site.wait_until_done("A1")
    assert site.command("daemon", "stop").returncode == 0


def test_the_end_of_its_terminal_does_not_end_it(site: Site) -> None:
    """A terminal that is closed sends SIGHUP to all of its session."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = site._command("daemon", "start")
        os.execve(command[0], command, site._environment())
    # What it writes must be read, and the last of it is an error once the terminal has no process.
    while True:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    site.started.append(site.pid())
    assert runs(site.pid())
    terminal_of_it = Path(f"/proc/{site.pid()}/stat").read_text().rpartition(")")[2].split()[4]  # proc(5): tty_nr
    assert terminal_of_it == "0"
    samples.drop(samples.small_sample(site.root / "made" / "A1"), site.inbox)
    site.wait_until_done("A1")


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_closed_standard_streams_do_no_harm(site: Site, closed: tuple[int, ...]) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = site._command("daemon", "start")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", *command],
        cwd=site.root, env=site._environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    site.started.append(site.pid())
    assert [Path(f"/proc/{site.pid()}/fd/{number}").readlink() for number in range(3)] == [Path("/dev/null")] * 3
    samples.drop(samples.small_sample(site.root / "made" / "A1"), site.inbox)
    site.wait_until_done("A1")
    assert site.command("daemon", "stop").returncode == 0


def test_a_share_that_is_missing_is_waited_for_in_the_background(site: Site) -> None:
    site.inbox.rmdir()
    done = site.command("daemon", "start")
    site.started.append(site.pid())
    assert done.returncode == 0
    assert "wait" in done.stdout
    site.inbox.mkdir()
    samples.drop(samples.small_sample(site.root / "made" / "A1"), site.inbox)
    site.wait_until_done("A1")


def test_nothing_is_left_behind_in_the_temporary_folder(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    site.environ["TMPDIR"] = str(folder)
    site.begin()
    assert not list(folder.iterdir())
