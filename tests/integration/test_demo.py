"""`moichord demo` as a person meets it: one command in an empty folder, on a terminal or not."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api, State
from moichord.sandbox.received import read_record

REPOSITORY = Path(__file__).parents[2]
LONGEST = 60.0
SENT = ["MO-1001", "MO-1003", "MO-1004", "MO-1005", "MO-1008"]
UNKNOWN = "MO-1020"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[1-7]m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NOT_THE_TESTS = {"NO_COLOR", "FORCE_COLOR", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}
WITHOUT_A_DAEMON = """\
import sys
from moichord.sandbox.demo import run_demo, stage
stage.CONFIGURATION = "version: 7"
sys.exit(run_demo())
"""


class Show:
    """One demonstration as a process, alone in its process group, in an empty folder of its own, on a screen.

    `opened` is what its browser was asked to show.
    """

    def __init__(
        self,
        folder: Path,
        *,
        terminal: bool,
        called: tuple[str, ...] = ("-m", "moichord", "demo"),
    ) -> None:
        self.cwd = folder
        self.cwd.mkdir()
        self.folder = folder / "moichord-demo"
        reader, writer = pty.openpty() if terminal else os.pipe()
        self._opened = folder.with_name(f"{folder.name}.opened")
        screen = {"DISPLAY": ":0", "BROWSER": str(_browser(self._opened))}
        environ = {name: value for name, value in os.environ.items() if name not in NOT_THE_TESTS} | screen
        self.process = subprocess.Popen(
            [sys.executable, *called],
            cwd=self.cwd,
            env={**environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            start_new_session=True,
        )
        os.close(writer)
        self._said = b""
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, args=(reader,))
        self._reading.start()

    def _read(self, reader: int) -> None:
        with open(reader, "rb", buffering=0) as stream:
            while data := _some(stream):
                with self._news:
                    self._said += data
                    self._news.notify_all()

    @property
    def opened(self) -> list[str]:
        return self._opened.read_text().split() if self._opened.exists() else []

    @property
    def said(self) -> str:
        with self._news:
            return self._said.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_until_it_says(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text.encode() in self._said, LONGEST), self.said

    def result(self) -> int:
        """The exit status, once it has ended and all it said is known."""
        status = self.process.wait(LONGEST)
        self._reading.join(LONGEST)
        return status

    def leaves_nobody_behind(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def end(self) -> None:
        if self.process.poll() is None or not self.leaves_nobody_behind():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reading.join()


def _browser(opened: Path) -> Path:
    """A browser that writes into `opened` what it is asked to show."""
    command = opened.with_suffix(".browser")
    command.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    command.chmod(0o755)
    return command


def _some(stream) -> bytes:
    try:
        return stream.read(65536)
    except OSError:  # the terminal's other end is closed
        return b""


@pytest.fixture(scope="module")
def shows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Show]]:
    """One on a terminal and one not, side by side."""
    root = tmp_path_factory.mktemp("shows")
    with ExitStack() as ends:
        found = {}
        for name, terminal in (("terminal", True), ("pipe", False)):
            found[name] = Show(root / name, terminal=terminal)
            ends.callback(found[name].end)
        yield found


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Show]:
    """One in which the first sample has arrived."""
    show = Show(tmp_path / "begun", terminal=True)
    try:
        show.wait_until_it_says("MO-1001")
        yield show
    finally:
        show.end()


@pytest.fixture(params=["terminal", "pipe"])
def show(request: pytest.FixtureRequest, shows: dict[str, Show]) -> Show:
    """One that has ended well."""
    ended = shows[request.param]
    assert ended.result() == 0, ended.said
    return ended


def summary(show: Show) -> str:
    """What it says after the last sample has ended, in one line."""
    return " ".join(CONTROL.sub("", show.said).rpartition("As planned:")[2].split())


def test_it_says_why_one_failed_and_what_to_do(show: Show) -> None:
    told = summary(show)
    assert f"The metadata server does not know the sample {UNKNOWN} (404)." in told
    assert "What to do: Check the folder's name, and that the sample is registered" in told


def test_it_says_that_one_was_retried_and_why(show: Show) -> None:
    told = summary(show)
    assert '"503, come back in 2 s" twice' in told
    assert "sent that image again, but not the 2 that were stored already" in told


def test_what_it_says_is_so(show: Show) -> None:
    requests = [one for one in read_record(show.folder / "requests.jsonl") if one.method != "OPTIONS"]
    uploads = [one for one in requests if one.api is Api.UPLOAD]
    assert sorted(one.status for one in uploads) == [200] * 3 * len(SENT) + [503, 503]
    assert {one.patient_id for one in uploads} == {f"{name}-001" for name in SENT}
    again = {one.idempotency_key for one in uploads if one.status == 503}
    assert len(again) == 1
    assert [one.idempotency_key for one in uploads].count(*again) == 3
    assert sorted(one.sample_id for one in requests if one.api is Api.ANALYTICS) == SENT


def test_everything_lies_where_it_says(show: Show) -> None:
    assert [path.name for path in show.cwd.iterdir()] == ["moichord-demo"]
    for name in ("inbox", "done", "failed", "image-server", "scanner", "moichord.yaml"):
        assert (show.folder / name).exists()
        assert name in summary(show)
    assert not any((show.folder / "inbox").iterdir())
    assert sorted(path.name for path in (show.folder / "done").iterdir()) == SENT
    assert [path.name for path in (show.folder / "failed").iterdir()] == [UNKNOWN]
    assert (show.folder / "failed" / UNKNOWN / FAILED_NAME).exists()
    for name in SENT:
        receipt = json.loads((show.folder / "done" / name / RECEIPT_NAME).read_text())
        assert receipt["outcome"] == "done"
        assert len(receipt["images"]) == 3


def test_the_command_that_it_names_answers_afterwards(show: Show) -> None:
    command = next(line for line in CONTROL.sub("", show.said).splitlines() if line.endswith("status MO-1004"))
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    asked = subprocess.run(command, check=False, shell=True, cwd=show.cwd, env=environ, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert "The image server cannot serve at present (503)." in asked.stdout


def test_it_leaves_no_process_behind(show: Show) -> None:
    assert show.leaves_nobody_behind()


def test_without_a_terminal_every_change_of_a_state_is_a_plain_line(shows: dict[str, Show]) -> None:
    shows["pipe"].result()
    said = shows["pipe"].said
    assert "\x1b" not in said
    smooth = [State.RECEIVING, State.READY, State.PROCESSING]
    for name, states in {
        "MO-1001": [*smooth, State.DONE],
        "MO-1004": [*smooth, *[State.WAITING, State.PROCESSING] * 2, State.DONE],
        UNKNOWN: [*smooth, State.FAILED],
    }.items():
        assert re.findall(rf"^ *[\d.]+ s  {name} +(\w+)", said, re.MULTILINE) == states


def test_on_a_terminal_it_is_live_and_coloured(shows: dict[str, Show]) -> None:
    shows["terminal"].result()
    said = shows["terminal"].said
    assert COLOUR.search(said)
    assert "Waiting to retry" in said
    assert "Needs attention" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started(begun: Show, number: signal.Signals) -> None:
    if number is signal.SIGINT:
        os.killpg(begun.process.pid, number)  # as a terminal does on Ctrl-C: to the daemon as well
    else:
        begun.process.send_signal(number)
    assert begun.result() == 130
    assert UNKNOWN not in {path.name for path in (begun.folder / "failed").iterdir()}, "it went on to the end"
    assert "Interrupted." in begun.said
    assert "moichord has stopped" in (begun.folder / "moichord.log").read_text()
    assert begun.leaves_nobody_behind()


def test_when_the_daemon_does_not_start_it_says_so_and_shows_its_log(tmp_path: Path) -> None:
    show = Show(tmp_path / "broken", terminal=False, called=("-c", WITHOUT_A_DAEMON))
    try:
        assert show.result() == 1
        assert "This did not go as planned." in show.said
        assert "Not as planned: it should be done and is receiving" in show.said
        assert "moichord.yaml:1:10: version" in show.said
        assert show.leaves_nobody_behind()
    finally:
        show.end()


def test_its_page_opens_in_the_browser_of_whoever_sits_at_a_terminal_and_nowhere_else(shows: dict[str, Show]) -> None:
    for name, show in shows.items():
        show.result()
        address = page_of(show)
        assert address is not None
        assert show.opened == ([address[0]] if name == "terminal" else [])


def test_with_keep_its_page_stays_until_ctrl_c_and_opens_in_no_browser_if_nobody_wants_that(tmp_path: Path) -> None:
    show = Show(tmp_path / "kept", terminal=True, called=("-m", "moichord", "demo", "--keep", "--no-browser"))
    try:
        show.wait_until_it_says("Ctrl-C ends them.")
        address = page_of(show)
        assert address is not None
        with urllib.request.urlopen(address[0], timeout=LONGEST) as page:  # noqa: S310 - just matched
            assert UNKNOWN in page.read().decode()
        os.kill(show.process.pid, signal.SIGINT)
        assert show.result() == 0
        assert show.leaves_nobody_behind()
        assert show.opened == []
    finally:
        show.end()


def page_of(show: Show) -> re.Match[str] | None:
    """The address that it names."""
    return re.search(r"http://127\.0\.0\.1:\d+/", CONTROL.sub("", show.said))
