"""What durable promises: nothing strange is opened, nothing is replaced unasked, nothing half-made is seen."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moichord import durable
from moichord.durable import files as durable_files


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.dcm"
    path.write_bytes(b"content")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Opening


def test_a_plain_file_is_opened_by_path_and_relative_to_its_folder(plain: Path) -> None:
    with durable.open_regular(plain) as file:
        assert file.read() == b"content"
    folder = os.open(plain.parent, os.O_RDONLY)
    try:
        with durable.open_regular(plain.name, dir_fd=folder) as file:
            assert file.read() == b"content"
    finally:
        os.close(folder)


def make_symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is at most 108 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def make_hard_link(path: Path) -> None:
    path.with_name("first").write_bytes(b"x")
    path.hardlink_to(path.with_name("first"))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (make_symlink, "a symbolic link"),
        (os.mkfifo, "a named pipe (FIFO)"),
        (make_socket, "a socket"),
        (Path.mkdir, "a folder"),
        (make_hard_link, "a hard link"),
    ],
)
def test_anything_but_a_plain_file_is_named_and_not_opened(tmp_path: Path, make, what: str) -> None:
    path = tmp_path / "strange.dcm"
    make(path)
    with pytest.raises(durable.NotRegular, match=r"strange.dcm is a ") as caught:
        durable.open_regular(path)
    assert caught.value.what.startswith(what)


def test_a_symlink_is_refused_where_the_system_has_no_nofollow(tmp_path: Path, monkeypatch) -> None:
    make_symlink(tmp_path / "link")
    monkeypatch.delattr(os, "O_NOFOLLOW")
    with pytest.raises(durable.NotRegular):
        durable.open_regular(tmp_path / "link")


def test_a_file_on_another_device_is_refused_and_a_hard_link_allowed_on_request(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(durable.NotRegular, match="another file system"):
        durable.open_regular(plain, device=plain.stat().st_dev + 1)
    make_hard_link(tmp_path / "second")
    durable.open_regular(tmp_path / "second", single_link=False).close()


def test_a_missing_file_is_missing_and_not_strange(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.open_regular(tmp_path / "absent")


def test_refusals_leave_no_descriptor_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(names(Path("/proc/self/fd")))
    for _ in range(5):
        with pytest.raises(durable.NotRegular):
            durable.open_regular(tmp_path / "pipe")
    assert len(names(Path("/proc/self/fd"))) == before


# Renaming


def refuse_renameat2(monkeypatch, code: int) -> None:
    def refuse(source, destination) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable_files, "_renameat2", lambda: refuse)


@pytest.fixture(params=["renameat2", "refused by the file system", "absent from the C library"])
def every_way_to_rename(request, monkeypatch) -> None:
    if request.param == "refused by the file system":
        refuse_renameat2(monkeypatch, errno.EINVAL)
    elif request.param == "absent from the C library":
        monkeypatch.setattr(durable_files, "_renameat2", lambda: None)


@pytest.mark.usefixtures("every_way_to_rename")
class TestRenameNoreplace:
    def test_a_folder_and_a_file_move(self, tmp_path: Path, plain: Path) -> None:
        (tmp_path / "a").mkdir()
        durable.rename_noreplace(tmp_path / "a", tmp_path / "b")
        durable.rename_noreplace(plain, tmp_path / "b" / "file")
        assert (tmp_path / "b" / "file").read_bytes() == b"content"
        assert not (tmp_path / "a").exists()
        assert not plain.exists()

    def test_an_existing_name_is_never_replaced(self, tmp_path: Path, plain: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileExistsError):
            durable.rename_noreplace(tmp_path / "a", tmp_path / "empty")
        (tmp_path / "other").write_bytes(b"other")
        with pytest.raises(FileExistsError):
            durable.rename_noreplace(plain, tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == b"other"
        assert plain.exists()

    def test_a_missing_source_is_said_and_leaves_no_placeholder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            durable.rename_noreplace(tmp_path / "absent", tmp_path / "b")
        assert not (tmp_path / "b").exists()


def test_a_rename_whose_answer_was_lost_counts_as_done(tmp_path: Path, plain: Path, monkeypatch) -> None:
    def carried_out_but_repeated(source: Path, destination: Path) -> None:
        os.rename(source, destination)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(durable_files, "_renameat2", lambda: carried_out_but_repeated)
    durable.rename_noreplace(plain, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"


def test_a_lost_answer_is_not_believed_when_a_stranger_lies_there(tmp_path: Path, plain: Path, monkeypatch) -> None:
    (tmp_path / "b").write_bytes(b"stranger")

    def vanished(source: Path, destination: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(durable_files, "_renameat2", lambda: vanished)
    with pytest.raises(FileNotFoundError):
        durable.rename_noreplace(plain, tmp_path / "b")


def test_a_failed_rename_takes_its_placeholder_away(tmp_path: Path, plain: Path, monkeypatch) -> None:
    def fails(source, destination) -> None:
        raise OSError(errno.EIO, "Input/output error")

    refuse_renameat2(monkeypatch, errno.EINVAL)
    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        durable.rename_noreplace(plain, tmp_path / "b")
    assert names(tmp_path) == ["plain.dcm"]


def test_other_errors_of_a_rename_are_passed_on_with_both_names(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(NotADirectoryError) as caught:
        durable.rename_noreplace(plain, plain / "below")
    assert caught.value.filename == str(plain)
    assert caught.value.filename2 == str(plain / "below")


# Replacing


def test_a_replaced_file_keeps_its_permissions_and_gets_those_asked_for(plain: Path) -> None:
    plain.chmod(0o640)
    durable.replace_bytes(plain, b"new")
    assert plain.read_bytes() == b"new"
    assert plain.stat().st_mode & 0o777 == 0o640
    durable.replace_text(plain, "ä\udcff", mode=0o600)
    assert plain.read_bytes() == b"\xc3\xa4\xff"
    assert plain.stat().st_mode & 0o777 == 0o600


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(plain: Path) -> None:
    def fail_half_way(file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        durable.replace_file(plain, fail_half_way)
    assert plain.read_bytes() == b"content"
    assert names(plain.parent) == ["plain.dcm"]


def test_a_failed_fsync_leaves_the_old_file_and_is_not_tried_again(plain: Path, monkeypatch) -> None:
    calls = []

    def fails(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        durable.replace_bytes(plain, b"new")
    assert plain.read_bytes() == b"content"
    assert names(plain.parent) == ["plain.dcm"]
    assert len(calls) == 1


def test_the_file_is_synced_before_its_name_and_the_folder_after_it(tmp_path: Path, monkeypatch) -> None:
    order = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    durable.replace_bytes(tmp_path / "new", b"x")
    assert order == ["file", "rename", "folder"]


def test_a_folder_sync_that_the_file_system_does_not_know_is_no_error(tmp_path: Path, monkeypatch) -> None:
    def unknown(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unknown)
    durable.fsync_folder(tmp_path)


def test_a_folder_sync_that_fails_is_an_error(tmp_path: Path, monkeypatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        durable.fsync_folder(tmp_path)


# Trees


def sample_tree(root: Path) -> Path:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "image.dcm").write_bytes(b"\0" * 3_000_000 + b"end")
    (root / "deep" / "er" / os.fsdecode(b"notes-\xff.txt")).write_bytes(b"text")
    (root / "link").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    os.utime(root / "image.dcm", ns=(1, 1_000_000_007))
    (root / "image.dcm").chmod(0o440)
    return root


def test_a_copied_tree_equals_its_source_with_times_and_strange_names(tmp_path: Path) -> None:
    source = sample_tree(tmp_path / "source")
    make_socket(source / "socket")
    missing = durable.copy_tree_verified(source, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert missing == ("socket is a socket and was not copied",)
    assert (copy / "image.dcm").read_bytes() == (source / "image.dcm").read_bytes()
    assert (copy / "image.dcm").stat().st_mtime_ns == 1_000_000_007
    assert (copy / "image.dcm").stat().st_mode & 0o777 == 0o440
    assert (copy / "deep" / "er" / os.fsdecode(b"notes-\xff.txt")).read_bytes() == b"text"
    assert (copy / "link").readlink() == Path("/etc")
    assert (copy / "pipe").is_fifo()
    assert (copy / "empty").is_dir()
    assert (copy / "deep").stat().st_mtime_ns == (source / "deep").stat().st_mtime_ns


def test_a_copy_that_reads_back_differently_is_an_error(tmp_path: Path, monkeypatch) -> None:
    source = sample_tree(tmp_path / "source")
    fsync = os.fsync

    def corrupting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").resolve().name == "image.dcm":
            os.pwrite(descriptor, b"X", 10)

    monkeypatch.setattr(os, "fsync", corrupting_fsync)
    with pytest.raises(OSError, match="reads back differently"):
        durable.copy_tree_verified(source, tmp_path / "copy")


def test_every_file_is_synced_before_the_folders_and_those_from_the_bottom_up(tmp_path: Path, monkeypatch) -> None:
    source = sample_tree(tmp_path / "source")
    synced = []
    fsync = os.fsync

    def noted_fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    copy = tmp_path / "copy"
    durable.copy_tree_verified(source, copy)
    folders = [path for path in synced if path.is_dir()]
    assert synced[-len(folders) :] == folders
    assert folders.index(copy / "deep" / "er") < folders.index(copy / "deep") < folders.index(copy)
    assert set(folders) == {copy, copy / "deep", copy / "deep" / "er", copy / "empty"}


def test_a_tree_is_removed_and_what_its_links_point_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"x")
    tree = sample_tree(tmp_path / "tree")
    (tree / "deep" / "out").symlink_to(kept)
    durable.remove_tree(tree)
    assert names(tmp_path) == ["kept"]
    assert (kept / "file").exists()
    durable.remove_tree(tree)


def test_a_tree_that_is_itself_a_link_is_not_followed(tmp_path: Path) -> None:
    kept = sample_tree(tmp_path / "kept")
    (tmp_path / "link").symlink_to(kept)
    with pytest.raises(OSError, match="link"):
        durable.remove_tree(tmp_path / "link")
    assert (kept / "image.dcm").exists()


def test_a_tree_deeper_than_a_path_may_be_long_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("folder", dir_fd=here)
        below = os.open("folder", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    durable.remove_tree(tree)
    assert not tree.exists()


def test_leftovers_of_a_crash_are_removed_and_nothing_else(tmp_path: Path) -> None:
    tree = sample_tree(tmp_path / "tree")
    (tree / "deep" / ".moichord-0123.tmp").write_bytes(b"half")
    (tree / "deep" / ".moichord-kept").write_bytes(b"whole")
    durable.remove_leftovers(tree)
    assert names(tree / "deep") == [".moichord-kept", "er"]
    assert (tree / "image.dcm").exists()


# Locking


def test_a_lock_has_one_holder_and_is_free_after_its_release(tmp_path: Path) -> None:
    first, second = durable.Lock(tmp_path / "lock"), durable.Lock(tmp_path / "lock")
    assert not second.held_elsewhere()
    assert first.try_acquire()
    assert first.try_acquire()
    assert not first.held_elsewhere()
    assert second.held_elsewhere()
    assert not second.try_acquire()
    first.release()
    first.release()
    assert second.try_acquire()


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from moichord.durable import Lock;"
        f"lock = Lock(pathlib.Path({str(tmp_path / 'lock')!r}));"
        "print(lock.try_acquire(), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "True\n"
    lock = durable.Lock(tmp_path / "lock")
    assert not lock.try_acquire()
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert lock.try_acquire()


def test_the_package_imports_where_posix_modules_are_missing() -> None:
    code = (
        "import sys, os\n"
        "for name in ('fcntl', 'pwd', 'grp', 'resource', 'termios'): sys.modules[name] = None\n"
        "del os.O_NOFOLLOW, os.O_NONBLOCK, os.O_NOCTTY, os.O_CLOEXEC, os.O_DIRECTORY, os.posix_fadvise\n"
        "import pathlib, tempfile, moichord.durable as durable\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    path = pathlib.Path(folder, 'file')\n"
        "    durable.replace_bytes(path, b'x')\n"
        "    print(durable.open_regular(path).read())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "b'x'\n"


def test_a_copied_folder_does_without_the_setgid_bit_where_it_may_not_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's RestrictSUIDSGID refuses it, even where a folder has it already."""
    (tmp_path / "source").mkdir(0o775)
    (tmp_path / "source" / "a.dcm").write_bytes(b"a")
    (tmp_path / "there").mkdir()
    os.chmod(tmp_path / "there", 0o2700)
    real = os.chmod

    def refuses(path: object, mode: int, **options: object) -> None:
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        real(path, mode, **options)

    monkeypatch.setattr(os, "chmod", refuses)
    durable.copy_tree_verified(tmp_path / "source", tmp_path / "there" / "copy")
    assert (tmp_path / "there" / "copy" / "a.dcm").read_bytes() == b"a"


def test_a_tree_is_synced_around_what_is_no_file_and_what_is_not_ours(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.dcm").hardlink_to(plain)
    opened = durable_files.open_regular

    def forbidding(name: str, **how: bool) -> object:
        if name.endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(name, **how)

    (tmp_path / "secret").touch()
    monkeypatch.setattr("moichord.durable.trees.open_regular", forbidding)
    durable.sync_tree(tmp_path)
    below = tmp_path / "below"
    assert sorted(synced) == sorted(map(str, [tmp_path, below, below / "two.dcm", plain]))


def test_many_files_are_synced_with_their_file_system_or_else_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for number in range(20):
        (tmp_path / f"{number}.dcm").touch()
    durable.sync_tree(tmp_path)
    assert synced == [], "the file system was"
    monkeypatch.setattr("moichord.durable.trees._synced_whole", lambda _: False)  # a system without that call
    durable.sync_tree(tmp_path)
    assert len(synced) == 20 + 1


def add_a_file(source: Path) -> None:
    (source / "deep" / "two").write_bytes(b"two")


def add_a_link(source: Path) -> None:
    (source / "two").symlink_to("one")


def lengthen(source: Path) -> None:
    path = source / "deep" / "one"
    status = path.stat()
    path.write_bytes(b"longer")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def write_anew(source: Path) -> None:
    status = (source / "deep" / "one").stat()
    os.utime(source / "deep" / "one", ns=(status.st_atime_ns, status.st_mtime_ns + 3_000_000_000))


def exchange(source: Path) -> None:
    (source / "deep" / "one").unlink()
    (source / "deep" / "one").symlink_to("elsewhere")


def leave(source: Path) -> None:
    """Nothing has changed."""


def add_what_does_not_count(source: Path) -> None:
    (source / "receipt").write_text("a paper")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(source / "socket"))


def take_out(source: Path) -> None:
    (source / "deep" / "one").unlink()


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        *((leave, True), (add_what_does_not_count, True), (take_out, True)),
        *((add_a_file, False), (add_a_link, False), (lengthen, False), (write_anew, False), (exchange, False)),
    ],
)
def test_a_copy_holds_all_of_its_source_until_somebody_adds_to_that(
    tmp_path: Path, change: Callable[[Path], None], whole: bool
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "one").write_bytes(b"one")
    durable.copy_tree_verified(source, copy)
    change(source)
    assert durable.holds_all(copy, source, but=["receipt"]) is whole
