"""Which files of a directory are its images."""

import os
from pathlib import Path

import pytest

from moichord.errors import UsageRefused
from moichord.oneshot.directory import images_of, linked_folders


def touch(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def test_every_dcm_at_any_depth_and_in_any_case_in_a_fixed_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.dcm", "A.DCM", "deep/er/c.Dcm", "deep.dcm/d.dcm", "notes.txt", "dcm", "e.dcm.bak", "._b.dcm")
    assert images_of(tmp_path).images == ("A.DCM", "b.dcm", "deep.dcm/d.dcm", "deep/er/c.Dcm")


def test_names_that_are_no_text_are_taken_too(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.dcm")
    touch(tmp_path, name)
    assert images_of(tmp_path).images == (name,)


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.dcm", "sample/a.dcm", "sample/sub/b.dcm")
    (tmp_path / "sample/sub/link").symlink_to(tmp_path / "elsewhere")
    assert images_of(tmp_path / "sample").images == ("a.dcm", "sub/b.dcm")
    assert linked_folders(tmp_path / "sample") == ["sub/link"]


def test_a_link_to_a_file_is_not_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere.dcm")
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "a.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    assert images_of(tmp_path / "sample").images == ("a.dcm",)


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "sample/a.dcm")
    (tmp_path / "link").symlink_to(tmp_path / "sample")
    assert images_of(tmp_path / "link").images == ("a.dcm",)


@pytest.mark.parametrize("name", ["missing", "file.dcm"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "file.dcm")
    with pytest.raises(UsageRefused, match=name):
        images_of(tmp_path / name)


def test_a_folder_that_cannot_be_read_is_an_error_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.dcm", "locked/b.dcm")
    real = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        images_of(tmp_path)
