"""Whether somebody here still writes: what the kernel's leases say, and what they do not."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from moichord.inbox.open_files import first_open_for_writing, lease_refused


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.dcm", "deep/b.dcm", "deep/er/c.dcm"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


FILES = ["deep/er/c.dcm", "a.dcm", "deep/b.dcm"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_that_is_open_for_writing_is_named(sample: Path, name: str, mode: str) -> None:
    with (sample / name).open(mode):
        assert first_open_for_writing(sample, FILES) == name
    assert first_open_for_writing(sample, FILES) is None


def test_a_file_that_is_only_being_read_is_no_matter(sample: Path) -> None:
    with (sample / "a.dcm").open("rb"):
        assert first_open_for_writing(sample, FILES) is None


def test_what_is_gone_or_is_no_plain_file_says_nothing(sample: Path) -> None:
    (sample / "link").symlink_to(sample / "deep")
    os.mkfifo(sample / "pipe")
    with (sample / "deep" / "b.dcm").open("ab"):
        assert first_open_for_writing(sample, ["gone.dcm", "gone/x.dcm", "link/b.dcm", "pipe"]) is None
        assert first_open_for_writing(sample / "gone", FILES) is None


def test_a_writer_that_comes_while_the_lease_is_held_waits_and_ends_nobody(sample: Path, monkeypatch) -> None:
    """The signal that the kernel sends then would by default end the process."""
    path = sample / "a.dcm"
    writer = threading.Thread(target=lambda: path.open("ab").close())
    whole = fcntl.fcntl

    def slow(descriptor: int, command: int, argument: int = 0):
        result = whole(descriptor, command, argument)
        if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
            writer.start()
            while whole(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK:  # until the writer wants the file
                os.sched_yield()
        return result

    monkeypatch.setattr(fcntl, "fcntl", slow)
    with path.open("rb") as file:
        assert not lease_refused(file.fileno())
        writer.join(10)
    assert not writer.is_alive()


def test_without_leases_nothing_is_known(sample: Path, monkeypatch) -> None:
    monkeypatch.delattr(fcntl, "F_SETLEASE")
    with (sample / "a.dcm").open("ab"):
        assert first_open_for_writing(sample, FILES) is None
