"""What a scan sees: every kind of file that may arrive, judged without being followed, waited for or believed."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from moichord.inbox.scanner import AGAIN_EVERY, Scanner
from moichord.inbox.seen import FolderSeen, Inspection, Verdict, WatchRules
from moichord.sample import OWN_FILES

SAMPLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,58}")
WHOLE = b"\0" * 128 + b"DICM whole"


class Reader:
    """Stands in for the DICOM walker: whole if it says so, incomplete if it is short, never if it is not DICOM."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def __call__(self, file: BinaryIO) -> Inspection:
        contents = file.read()
        self.read.append(contents)
        if contents.endswith(b"whole"):
            return Inspection(Verdict.COMPLETE)
        if not contents.strip(b"\0") or contents[128:132] == b"DICM":
            return Inspection(Verdict.MAY_BECOME_COMPLETE, f"ends at byte {len(contents)}")
        return Inspection(Verdict.NEVER, "not a DICOM Part 10 file")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def sample(inbox: Path) -> Path:
    folder = inbox / "A123"
    folder.mkdir()
    return folder


@pytest.fixture
def reader() -> Reader:
    return Reader()


def scanner(inbox: Path, reader: Reader, **rules) -> Scanner:
    return Scanner(inbox, WatchRules(**rules), reader, lambda name: SAMPLE_ID.fullmatch(name) is not None)


def look(inbox: Path, reader: Reader, **rules) -> FolderSeen:
    (folder,) = scanner(inbox, reader, **rules).scan().folders
    return folder


def test_a_whole_sample_is_seen_with_its_images_and_other_files(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "one.dcm").write_bytes(WHOLE)
    (sample / "TWO.DCM").write_bytes(WHOLE + b" is whole")
    (sample / "deep" / "er").mkdir(parents=True)
    (sample / "deep" / "er" / "three.dcm").write_bytes(WHOLE)
    (sample / "no-suffix").write_bytes(WHOLE)
    (sample / "notes.xml").write_bytes(b"")
    (sample / "DICOMDIR").write_bytes(WHOLE[:140])
    seen = look(inbox, reader)
    assert {file.path for file in seen.images} == {"one.dcm", "TWO.DCM", "deep/er/three.dcm", "no-suffix"}
    assert {file.path for file in seen.files} - {file.path for file in seen.images} == {"notes.xml", "DICOMDIR"}
    assert all(file.verdict is Verdict.COMPLETE for file in seen.files)
    assert seen.waiting_for == seen.doomed == ()
    assert (seen.image_count, seen.smallest_image) == (4, len(WHOLE))
    assert seen.size == sum(path.stat().st_size for path in sample.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("a.dcm", b""),
        ("a.dcm", b"\0" * 4096),
        ("a.dcm", WHOLE[:135]),
        ("a.bin", WHOLE[:135]),
        ("a.dcm.part", WHOLE),
        (".a.dcm.Xy12", WHOLE),
        ("~a.dcm", WHOLE),
        ("A.TMP", b"text"),
    ],
)
def test_a_file_that_may_become_complete_is_waited_for(
    inbox: Path, sample: Path, reader: Reader, name: str, contents: bytes
) -> None:
    (sample / name).write_bytes(contents)
    seen = look(inbox, reader)
    assert [file.path for file in seen.waiting_for] == [name]
    assert seen.waiting_for[0].problem
    assert seen.doomed == ()


def test_files_below_a_temporary_folder_are_still_being_written(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / ".rsync-partial" / "below").mkdir(parents=True)
    (sample / ".rsync-partial" / "below" / "a.dcm").write_bytes(WHOLE)
    assert [file.path for file in look(inbox, reader).waiting_for] == [".rsync-partial/below/a.dcm"]


def symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def symlink_to_folder(path: Path) -> None:
    path.symlink_to("/etc")


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def hard_link(path: Path) -> None:
    elsewhere = path.parent.parent.parent / "elsewhere"
    elsewhere.write_bytes(WHOLE)
    path.hardlink_to(elsewhere)


def not_dicom(path: Path) -> None:
    path.write_bytes(b"<html>" * 100)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (symlink, "a symbolic link"),
        (symlink_to_folder, "a symbolic link"),
        (os.mkfifo, "a named pipe"),
        (unix_socket, "a socket"),
        (hard_link, "a hard link"),
        (not_dicom, "not a DICOM"),
    ],
)
def test_a_file_that_can_never_be_an_image_dooms_the_sample_and_is_named(
    inbox: Path, sample: Path, reader: Reader, make: Callable[[Path], None], words: str
) -> None:
    make(sample / "strange.dcm")
    seen = look(inbox, reader)
    assert len(seen.doomed) == 1
    assert seen.doomed[0].startswith(f"strange.dcm: {words}")
    assert seen.image_count == 0


def test_ignored_names_and_moichords_own_files_are_as_if_not_there(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "a.dcm").write_bytes(WHOLE)
    before = look(inbox, reader)
    for name in ("._a.dcm", ".DS_Store", "THUMBS.DB", "desktop.ini", ".moichord-0a1b", *OWN_FILES):
        (sample / name).write_bytes(b"")
    assert look(inbox, reader) == before


def test_loose_files_and_links_are_strays_and_hidden_folders_nothing(inbox: Path, reader: Reader) -> None:
    (inbox / "loose.dcm").write_bytes(WHOLE)
    (inbox / "link").symlink_to("/etc")
    (inbox / ".moichord-probe").mkdir()
    (inbox / ".hidden").write_bytes(b"")
    (inbox / "Thumbs.db").write_bytes(b"")
    seen = scanner(inbox, reader).scan()
    assert seen.strays == ("link", "loose.dcm")
    assert seen.folders == ()


def test_a_badly_named_folder_is_listed_but_not_looked_into(inbox: Path, reader: Reader) -> None:
    (inbox / "not a sample").mkdir()
    (inbox / "not a sample" / "a.dcm").write_bytes(WHOLE)
    (inbox / os.fsdecode(b"bytes-\xff")).mkdir()
    folders = scanner(inbox, reader).scan().folders
    assert {folder.name for folder in folders} == {"not a sample", os.fsdecode(b"bytes-\xff")}
    assert not any(folder.is_sample or folder.files for folder in folders)
    assert reader.read == []


def test_names_that_are_not_utf8_are_seen_and_give_a_manifest(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / os.fsdecode(b"m\xfcller.dcm")).write_bytes(b"")
    seen = look(inbox, reader)
    assert os.fsencode(seen.files[0].path) == b"m\xfcller.dcm"
    assert seen.manifest


@pytest.mark.parametrize("change", ["grow", "touch", "chmod", "rename", "new", "remove", "replace"])
def test_every_change_of_a_file_changes_the_manifest(inbox: Path, sample: Path, reader: Reader, change: str) -> None:
    path = sample / "a.dcm"
    path.write_bytes(WHOLE)
    other = inbox.parent / "other"
    other.write_bytes(WHOLE)
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    watching = scanner(inbox, reader)
    (before,) = watching.scan().folders
    (again,) = watching.scan().folders
    assert again.manifest == before.manifest
    match change:
        case "grow":
            path.write_bytes(WHOLE + b"whole")
        case "touch":
            os.utime(path, ns=(1, 1))
        case "chmod":
            path.chmod(0o600)
        case "rename":
            path.rename(sample / "b.dcm")
        case "new":
            (sample / "b.txt").write_bytes(b"")
        case "remove":
            path.unlink()
        case "replace":
            other.replace(path)
    (after,) = watching.scan().folders
    assert after.manifest != before.manifest


def test_what_is_settled_is_read_once_and_what_is_incomplete_now_and_then(inbox: Path, sample: Path, reader: Reader):
    (sample / "whole.dcm").write_bytes(WHOLE)
    (sample / "never.dcm").write_bytes(b"text" * 100)
    (sample / "short.dcm").write_bytes(WHOLE[:133])
    watching = scanner(inbox, reader)
    watching.scan()
    assert sorted(len(contents) for contents in reader.read) == [133, len(WHOLE), 400]
    for _ in range(2 * AGAIN_EVERY):
        watching.scan()
    assert sorted(len(contents) for contents in reader.read) == [133, 133, 133, len(WHOLE), 400]
    (sample / "whole.dcm").write_bytes(WHOLE + b", whole")
    watching.scan()
    assert reader.read[-2:].count(WHOLE + b", whole") == 1


def test_what_is_incomplete_is_read_at_once_when_it_has_changed(inbox: Path, sample: Path, reader: Reader):
    watching = scanner(inbox, reader)
    for length in range(100, 100 + 2 * AGAIN_EVERY):
        (sample / "growing.dcm").write_bytes(WHOLE[:length])
        watching.scan()
    assert {len(contents) for contents in reader.read} == set(range(100, 100 + 2 * AGAIN_EVERY))


def test_a_file_that_is_filled_in_place_without_a_new_time_is_noticed(
    inbox: Path, sample: Path, reader: Reader
) -> None:
    path = sample / "a.dcm"
    path.write_bytes(b"\0" * len(WHOLE))
    times = path.stat().st_mtime_ns
    watching = scanner(inbox, reader)
    assert watching.scan().folders[0].waiting_for
    path.write_bytes(WHOLE)
    os.utime(path, ns=(times, times))
    assert not watching.scan().folders[0].waiting_for


def test_an_unchanged_sample_is_the_very_same_object(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "a.dcm").write_bytes(WHOLE)
    watching = scanner(inbox, reader)
    assert watching.scan().folders[0] is watching.scan().folders[0]


@pytest.mark.parametrize("marker", ["COMPLETE", "complete", ".complete", "*.rdy"])
def test_a_marker_counts_in_the_samples_own_folder_only(inbox: Path, sample: Path, reader: Reader, marker: str) -> None:
    name = marker.replace("*", "scan")
    (sample / "a.dcm").write_bytes(WHOLE)
    (sample / "deep").mkdir()
    (sample / "deep" / name.lstrip(".")).write_bytes(b"")
    assert not look(inbox, reader, ready_marker=marker).marker_present
    (sample / name).write_bytes(b"")
    seen = look(inbox, reader, ready_marker=marker)
    assert seen.marker_present
    assert not seen.waiting_for
    assert not look(inbox, reader).marker_present


def test_a_link_is_no_marker(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "COMPLETE").symlink_to("/etc/passwd")
    assert not look(inbox, reader, ready_marker="COMPLETE").marker_present


def test_a_missing_inbox_is_an_outage_and_not_an_empty_inbox(inbox: Path, sample: Path, reader: Reader) -> None:
    watching = scanner(inbox, reader)
    inbox.rename(inbox.with_name("elsewhere"))
    seen = watching.scan()
    assert seen.problem is not None
    assert seen.problem.startswith("the share is gone: ")
    assert "No such file or directory" in seen.problem
    inbox.with_name("elsewhere").rename(inbox)
    assert [folder.name for folder in watching.scan().folders] == ["A123"]


def test_without_its_mount_marker_the_share_is_gone(inbox: Path, sample: Path, reader: Reader) -> None:
    watching = scanner(inbox, reader, mount_marker="MOUNTED")
    problem = watching.scan().problem
    assert problem is not None
    assert "MOUNTED is missing" in problem
    (inbox / "MOUNTED").write_bytes(b"")
    seen = watching.scan()
    assert seen.problem is None
    assert seen.strays == ()
    assert len(seen.folders) == 1


def test_an_inbox_that_is_itself_a_link_is_read(inbox: Path, sample: Path, reader: Reader) -> None:
    link = inbox.with_name("link")
    link.symlink_to(inbox)
    assert len(scanner(link, reader).scan().folders) == 1


def refuse_to_open(monkeypatch, name: str) -> None:
    """Root may read everything, so the system is made to refuse by name."""
    really = os.open

    def refusing(path, *arguments, **more):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize("name", ["A123", "deep", "a.dcm"])
def test_what_may_not_be_read_is_said_with_the_remedy(
    inbox: Path, sample: Path, reader: Reader, monkeypatch, name: str
) -> None:
    (sample / "deep").mkdir()
    (sample / "a.dcm").write_bytes(WHOLE)
    refuse_to_open(monkeypatch, name)
    unreadable = look(inbox, reader).unreadable
    assert unreadable is not None
    assert "give the moichord group permission" in unreadable
    monkeypatch.undo()
    assert look(inbox, reader).unreadable is None


def test_an_inbox_that_may_not_be_read_says_so(inbox: Path, reader: Reader, monkeypatch) -> None:
    refuse_to_open(monkeypatch, "inbox")
    problem = scanner(inbox, reader).scan().problem
    assert problem is not None
    assert "permission" in problem


def test_a_disk_error_while_an_image_is_read_is_not_the_samples_fault(inbox: Path, sample: Path) -> None:
    (sample / "a.dcm").write_bytes(WHOLE)

    def fails(file: BinaryIO) -> Inspection:
        raise OSError(5, "Input/output error")

    seen = look(inbox, fails)  # type: ignore[arg-type]
    assert seen.unreadable == "a.dcm cannot be read (Input/output error)"
    assert seen.doomed == ()


def test_a_file_that_vanishes_while_it_is_looked_at_was_not_there(
    inbox: Path, sample: Path, reader: Reader, monkeypatch
):
    (sample / "a.dcm").write_bytes(WHOLE)
    really = os.open

    def vanishing(path, *arguments, **more):
        if path == "a.dcm":
            (sample / "a.dcm").unlink()
        return really(path, *arguments, **more)

    monkeypatch.setattr(os, "open", vanishing)
    seen = look(inbox, reader)
    assert seen.files == ()
    assert seen.unreadable is None


def test_too_many_files_and_too_deep_folders_doom_the_sample_without_being_read(
    inbox: Path, sample: Path, reader: Reader
) -> None:
    for number in range(12):
        (sample / f"{number}.dcm").write_bytes(WHOLE)
    seen = look(inbox, reader, max_files=10)
    assert seen.doomed == ("it holds more than 10 files and folders",)
    assert len(seen.files) == 10
    (sample / "a" / "b" / "c").mkdir(parents=True)
    seen = look(inbox, reader, max_depth=2)
    assert seen.doomed == ("a/b/c lies deeper than 2 folders",)


def test_a_path_that_could_not_be_opened_from_work_or_done_is_over_the_limits(
    inbox: Path, sample: Path, reader: Reader
) -> None:
    below = sample
    for _ in range(11):
        below /= "d" * 249
        below.mkdir()
    (below / "whole.dcm").write_bytes(WHOLE)
    assert look(inbox, reader).doomed == ()
    (below / f"{'x' * 247}.dcm").write_bytes(WHOLE)
    (problem,) = look(inbox, reader).doomed
    assert problem == f"the path {'d' * 60}... is longer than 3000 bytes: shorten its names"


def test_a_sample_keeps_its_manifest_when_its_folder_is_renamed(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "deep").mkdir()
    (sample / "deep" / "a.dcm").write_bytes(WHOLE)
    watching = scanner(inbox, reader)
    (before,) = watching.scan().folders
    taken = inbox.with_name("A123")
    sample.rename(taken)
    assert watching.scan_folder(taken).manifest == before.manifest
    reader.read.clear()
    assert watching.scan_folder(taken, known=before) is before
    assert reader.read == []
    (taken / "deep" / "a.dcm").write_bytes(b"")
    assert watching.scan_folder(taken, known=before).manifest != before.manifest


def test_a_taken_sample_that_is_gone_is_said(inbox: Path, reader: Reader) -> None:
    seen = scanner(inbox, reader).scan_folder(inbox / "absent")
    assert seen.unreadable == "the folder cannot be read (No such file or directory)"


def test_scans_leave_no_descriptors_open(inbox: Path, sample: Path, reader: Reader) -> None:
    (sample / "deep").mkdir()
    (sample / "deep" / "a.dcm").write_bytes(WHOLE)
    os.mkfifo(sample / "pipe")
    watching = scanner(inbox, reader)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        watching.scan()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("filesystem", "same"),
    [("cifs", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False), ("nfs4", False), (None, False)],
)
def test_where_inodes_are_made_up_another_inode_is_not_another_file(
    inbox: Path, sample: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch, filesystem: str | None, same: bool
) -> None:
    (sample / "one.dcm").write_bytes(WHOLE)
    watching = Scanner(inbox, WatchRules(), reader, lambda _: True, lambda _: filesystem)
    (before,) = watching.scan().folders
    number_anew(monkeypatch)
    (after,) = watching.scan().folders
    assert (before.manifest == after.manifest) is same
    assert (watching.scan_folder(sample).manifest == before.manifest) is same
    assert len(reader.read) == (2 if same else 3)


def number_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a client that has forgotten its files and counts on."""
    scandir = os.scandir

    @contextmanager
    def renumbered(descriptor: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(descriptor) as entries:
            yield (Renumbered(entry) for entry in entries)  # type: ignore[misc]

    monkeypatch.setattr("moichord.inbox.scanner.os.scandir", renumbered)


class Renumbered:
    """A directory entry whose file has got another inode."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry = entry

    def __getattr__(self, name: str):
        return getattr(self._entry, name)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        found = self._entry.stat(follow_symlinks=follow_symlinks)
        numbers = {name: getattr(found, name) for name in ("st_mtime_ns", "st_ctime_ns")}
        return os.stat_result([found.st_mode, found.st_ino + 1000, *found[2:]], numbers)
