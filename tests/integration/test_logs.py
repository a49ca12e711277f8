"""Where a running daemon logs: into the journal with its fields, and into a file that others rotate."""

import os
import re
import socket
import struct
from pathlib import Path

import pytest

from tests.integration import samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon

BELOW_A_JOURNAL = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
mount --bind "$0" /run/systemd/journal && exec "$@"
"""


class BesideAJournal(Daemon):
    """`run` in a mount namespace in which `folder` is that of the journal's socket."""

    def beside(self, folder: Path) -> "BesideAJournal":
        self._folder = folder
        status = self.log_file.stat()
        self.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        return self

    def _command(self, *arguments: str) -> list[str]:
        command = super()._command(*arguments)
        return ["unshare", "-m", "sh", "-c", BELOW_A_JOURNAL, str(self._folder), *command]


def entries(heard: socket.socket) -> list[dict[str, str]]:
    """All that was sent so far."""
    found = []
    while True:
        try:
            found.append(_entry(heard.recv(1 << 20)))
        except BlockingIOError:
            return found


def _entry(data: bytes) -> dict[str, str]:
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[9 + length :]
        found[name.decode()] = value.decode()
    return found


@pytest.mark.needs("root", "unshare")
def test_under_systemd_every_line_of_a_sample_is_found_by_its_field(
    tmp_path: Path, make_daemon: MakeDaemon, originals: Path
) -> None:
    environ = make_daemon(name="unused").environ
    folder = tmp_path / "journal"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(os.fspath(folder / "socket"))
        journal.setblocking(False)
        daemon = BesideAJournal(tmp_path / "beside", environ).beside(folder)
        heard: list[dict[str, str]] = []

        def said(words: str) -> bool:
            heard.extend(entries(journal))
            return any(words in one["MESSAGE"] for one in heard)

        try:
            daemon.start(says="")
            daemon.wait_for(lambda: said(" is ready"), "the journal to hear that it is ready")
            samples.drop(samples.small_sample(originals / "A123"), daemon.inbox)
            daemon.wait_until_done("A123")
            assert daemon.stop() == 0
        finally:
            daemon.close()
        assert said("moichord has stopped")
    assert daemon.log == ""
    submission = daemon.newest("A123")
    assert submission is not None
    of_the_sample = [one for one in heard if one.get("SAMPLE") == "A123"]
    assert of_the_sample == [one for one in heard if "sample=A123" in one["MESSAGE"]]
    assert {one["SUBMISSION"] for one in of_the_sample if "SUBMISSION" in one} == {submission.uuid}
    assert "metadata" in {one.get("STEP") for one in of_the_sample}
    assert {one["SYSLOG_IDENTIFIER"] for one in heard} == {"moichord"}
    assert {one["PRIORITY"] for one in heard} == {"6"}


def test_no_line_is_lost_while_the_file_is_rotated_by_itself_and_moved_by_others(
    make_daemon: MakeDaemon, originals: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = folder / "m.log"
    daemon = make_daemon({"logging": {"file": str(file), "rotate": "300B", "keep": 100}})
    daemon.start(says="")
    daemon.wait_for(lambda: file.exists() and " is ready" in file.read_text(), "the word in its file")
    for name in ("A1", "A2", "A3"):
        samples.drop(samples.small_sample(originals / name), daemon.inbox)
        daemon.wait_until_done(name)
        if file.exists():
            file.rename(folder / f"moved-{name}")
    assert daemon.stop() == 0
    text = "".join(path.read_text() for path in folder.iterdir())
    assert list(folder.glob("m.log.*"))
    for name in ("A1", "A2", "A3"):
        assert len(re.findall(f"INFO +taken.* sample={name} ", text)) == 1
        assert len(re.findall(f"INFO +done.* sample={name} ", text)) == 1
    assert text.count("moichord has stopped") == 1
    assert daemon.log == ""
