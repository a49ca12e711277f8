"""An inbox on an overlay whose layers lie on several disks: there files and their folders differ in st_dev."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moichord import watching
from moichord.durable import NotRegular, open_flags, open_regular
from tests.builders import write_image
from tests.house import House

pytestmark = pytest.mark.needs("root", "mount")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder on an overlay; lower and upper layer are file systems of their own."""
    with ExitStack() as stack:
        for name in ("lower", "upper", "merged"):
            (tmp_path / name).mkdir()
            if name != "merged":
                mount(stack, tmp_path / name, "-t", "tmpfs", "-o", "size=16m", "tmpfs")
        for name in ("lower/site", "upper/layer", "upper/work"):
            (tmp_path / name).mkdir()
        layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper/layer,workdir={tmp_path}/upper/work,xino=off"
        mount(stack, tmp_path / "merged", "-t", "overlay", "-o", layers, "overlay")
        yield tmp_path / "merged" / "site"


def mount(stack: ExitStack, where: Path, *what: str) -> None:
    subprocess.run(["mount", *what, where], check=True)
    stack.callback(subprocess.run, ["umount", where], check=True)


def test_a_sample_is_an_ordinary_one_though_its_files_have_a_device_of_their_own(root: Path) -> None:
    lab = House(root, settings={"watch": {"settle_time": "1s", "min_free_space": "0B"}}).start()
    try:
        folder = root / "inbox" / "A123"
        folder.mkdir()
        write_image(folder / "0.dcm")
        assert folder.stat().st_dev != (folder / "0.dcm").stat().st_dev, "the overlay that this is about"
        (seen,) = watching.scanner(lab.settings).scan().folders
        assert (seen.image_count, seen.doomed, seen.waiting_for) == (1, (), ())
        lab.drop("B456")
        lab.run()
        assert lab.state("B456") == "done"
    finally:
        lab.close()


def test_a_file_that_is_mounted_into_a_sample_is_still_on_another_file_system(root: Path, tmp_path: Path) -> None:
    folder = root / "A123"
    folder.mkdir()
    (folder / "0.dcm").touch()
    elsewhere = tmp_path / "elsewhere.dcm"
    elsewhere.touch()
    with ExitStack() as stack:
        mount(stack, folder / "0.dcm", "--bind", str(elsewhere))
        descriptor = os.open(folder, open_flags(folder=True))
        stack.callback(os.close, descriptor)
        with pytest.raises(NotRegular, match="on another file system"):
            open_regular("0.dcm", dir_fd=descriptor, device=folder.stat().st_dev)
