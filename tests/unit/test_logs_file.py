"""A log file that is rotated, by itself or by others, and a disk that takes nothing."""

import logging
import os
import resource
from pathlib import Path

import pytest

from moichord import logs

log = logging.getLogger("moichord.test")

LINE = 100


def begin(file: Path, size: int = 0, keep: int = 1) -> None:
    logs.setup(file=file, rotation=logs.Rotation(size, keep))


def said(file: Path) -> list[str]:
    """The last word of each line."""
    return [line.split()[-1] for line in file.read_text("utf-8").splitlines()]


def write(*words: str) -> None:
    for word in words:
        log.info("%s %s", "x" * LINE, word)


def test_a_large_file_is_rotated_and_as_many_elder_ones_stay_as_are_wanted(tmp_path: Path) -> None:
    file = tmp_path / "m.log"
    begin(file, size=2 * LINE, keep=2)
    write("one", "two", "three", "four", "five")
    assert {path.name: said(path) for path in tmp_path.iterdir()} == {
        "m.log": ["five"],
        "m.log.1": ["four"],
        "m.log.2": ["three"],
    }


def test_a_file_is_not_rotated_by_itself_where_that_is_not_wanted(tmp_path: Path) -> None:
    begin(tmp_path / "m.log", size=0)
    write(*"abcdef")
    assert [path.name for path in tmp_path.iterdir()] == ["m.log"]


def test_a_file_that_another_tool_moved_or_removed_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "m.log"
    begin(file, size=1 << 20)
    write("one")
    file.rename(tmp_path / "elsewhere")
    write("two")
    file.unlink()
    write("three")
    file.rename(tmp_path / "later")
    file.touch()
    write("four")
    assert said(tmp_path / "elsewhere") == ["one"]
    assert said(tmp_path / "later") == ["three"]
    assert said(file) == ["four"]


def test_a_file_that_another_tool_copied_and_cut_short_goes_on_at_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "m.log"
    begin(file, size=1 << 20)
    write("one", "two")
    os.truncate(file, 0)
    write("three")
    assert b"\0" not in file.read_bytes()
    assert said(file) == ["three"]


def test_a_folder_that_allows_no_rotation_costs_no_line(tmp_path: Path) -> None:
    file = tmp_path / "m.log"
    begin(file, size=4 * LINE)
    (tmp_path / "m.log.1").mkdir()
    (tmp_path / "m.log.1" / "in the way").touch()
    words = [f"line-{number}" for number in range(20)]
    write(*words)
    text = file.read_text("utf-8")
    assert [line for line in said(file) if line in words] == words
    assert 0 < text.count("this file cannot be rotated") < 8
    assert len(text) > 20 * LINE


def test_a_full_disk_disturbs_nobody_and_is_told_once_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.log"
    file.symlink_to("/dev/full")
    begin(file, size=1 << 20)
    write("one", "two", "three")
    file.unlink()
    write("after")
    first, last = file.read_text("utf-8").splitlines()
    assert "WARNING before this, 3 lines were lost" in first
    assert last.endswith("after")
    assert capsys.readouterr() == ("", "")


def test_what_did_not_fit_is_not_written_half_or_later(tmp_path: Path) -> None:
    file = tmp_path / "m.log"
    begin(file, size=1 << 20)
    write("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        write("one", "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    write("after")
    assert said(file) == ["before", "written", "after"]
    assert "2 lines were lost" in file.read_text("utf-8")


def test_a_folder_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    begin(folder / "m.log", size=1 << 20)
    write("one")
    folder.rename(tmp_path / "gone")
    write("two")
    folder.mkdir()
    write("three")
    assert said(folder / "m.log")[-1] == "three"
    assert said(tmp_path / "gone" / "m.log") == ["one"]


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        begin(tmp_path / "nowhere" / "m.log")
