"""The pid file informs; who gets a signal is proven."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moichord.daemonize import Launch, Process, Started, path_of, process_of, read, written
from moichord.errors import MoichordError, StateInUse


def test_what_is_written_is_read_again_and_gone_afterwards(tmp_path: Path) -> None:
    path, started = path_of(tmp_path / "state.db"), Started(1234, 1700000000.25, "0.1.0", "/var/log/m.log")
    assert path == tmp_path / "state.db.pid"
    with written(path, started):
        assert path.read_text().splitlines()[0] == "1234"
        assert read(path) == started
    assert not path.exists()
    assert read(path) is None


@pytest.mark.parametrize(
    "content", ["", "\n", "hello", "12\n", "0\n1\n2\n3\n", "-1\n1\n2\n3\n", "x\n1\n2\n3\n", "\0" * 99]
)
def test_a_file_that_is_not_ours_says_nothing_and_is_replaced(content: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db.pid"
    path.write_text(content)
    assert read(path) is None
    with written(path, Started(1, 2.0, "3", "4")):
        assert read(path) == Started(1, 2.0, "3", "4")


def test_a_number_is_the_daemons_only_if_that_process_has_the_lock_open(tmp_path: Path) -> None:
    lock = tmp_path / "state.db.lock"
    lock.touch()
    script = "import sys; held = open(sys.argv[1]) if sys.argv[1:] else None; print(flush=True); input()"
    popen = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen([sys.executable, "-c", script, str(lock)], **popen) as holder,
        subprocess.Popen([sys.executable, "-c", script], **popen) as foreign,
    ):
        for process in (holder, foreign):
            assert process.stdout is not None
            process.stdout.readline()
        assert process_of(Started(foreign.pid, 0.0, "", ""), lock) is None
        found = process_of(Started(holder.pid, 0.0, "", ""), lock)
        assert found is not None
        with found:
            found.terminate()
            assert holder.wait(60) == -15
            found.terminate()  # harmless
            assert not found.has_open(lock)
        assert foreign.poll() is None
        foreign.communicate("\n")
    assert process_of(Started(holder.pid, 0.0, "", ""), lock) is None


def test_no_such_process_is_an_error() -> None:
    with pytest.raises(ProcessLookupError):
        Process(999_999_999)


def launched(child: object) -> str | None:
    """What a launch makes of a child that does this."""
    launch = Launch()
    pid = os.fork()
    if pid == 0:
        launch.take_child_side()
        child(launch)  # type: ignore[operator]
        os._exit(0)
    return launch.wait(pid)


def test_the_terminal_is_told_why_a_daemon_did_not_start() -> None:
    def child(launch: Launch) -> None:
        launch.tell_failure(StateInUse("Another one runs.", remedy="Stop it."))

    with pytest.raises(MoichordError, match=r"^Another one runs\.$") as told:
        launched(child)
    assert (told.value.remedy, told.value.exit_code) == ("Stop it.", 75)


def test_the_terminal_is_told_that_a_daemon_ended_without_a_word() -> None:
    with pytest.raises(MoichordError, match="ended before it was ready") as told:
        launched(lambda _: os._exit(9))
    assert told.value.exit_code == 1


def test_the_terminal_hears_that_the_daemon_is_ready_and_how_it_is() -> None:
    def child(launch: Launch) -> None:
        from moichord.sd_notify import Notifier

        address = launch.environment({"WATCHDOG_USEC": "1", "NOTIFY_SOCKET": "/run/other"})["NOTIFY_SOCKET"]
        notifier = Notifier(address)
        notifier.tell("STATUS=reads the inbox")
        notifier.tell("READY=1", "STATUS=idle = well")

    assert launched(child) == "idle = well"


def test_nobody_watches_a_detached_daemon() -> None:
    launch = Launch()
    environ = launch.environment({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "HOME": "/h"})
    assert set(environ) == {"HOME", "NOTIFY_SOCKET"}
    launch.close()
