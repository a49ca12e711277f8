"""The doorbell rings for what changes, knows when its watch is dead, and never stops the rest."""

import ctypes
import errno
import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.inbox import doorbell as doorbell_module
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.filesystem import filesystem_type, reports_no_events

PATIENCE = 10.0


class Bell:
    """Counts its rings and lets a test wait for them."""

    def __init__(self) -> None:
        self.rings = 0
        self._rung = threading.Condition()

    def __call__(self) -> None:
        with self._rung:
            self.rings += 1
            self._rung.notify_all()

    def heard(self, beyond: int = 0) -> bool:
        with self._rung:
            return self._rung.wait_for(lambda: self.rings > beyond, PATIENCE)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def new_doorbell(inbox: Path, bell: Bell) -> Iterator[Callable[..., Doorbell]]:
    made: list[Doorbell] = []

    def make(*arguments, ring: Callable[[], None] = bell, **more) -> Doorbell:
        made.append(Doorbell(inbox, ring, *arguments, **more))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def new_folder(inbox: Path) -> None:
    (inbox / "A123").mkdir()


def new_file(inbox: Path) -> None:
    (inbox / "COMPLETE").write_bytes(b"")


def moved_in_whole(inbox: Path) -> None:
    (inbox.parent / "A123").mkdir()
    (inbox.parent / "A123" / "a.dcm").write_bytes(b"x")
    (inbox.parent / "A123").rename(inbox / "A123")


@pytest.mark.parametrize("change", [new_folder, new_file, moved_in_whole])
@pytest.mark.parametrize("kind", ["native", "polling"])
def test_a_change_in_the_inbox_rings(inbox: Path, bell: Bell, new_doorbell, change, kind) -> None:
    door = new_doorbell(kind, polling_interval=0.02)
    assert (door.kind, door.alive(), door.healthy()) == (kind, True, True)
    change(inbox)
    assert bell.heard()


def test_a_sample_that_leaves_rings(inbox: Path, bell: Bell, new_doorbell) -> None:
    (inbox / "A123").mkdir()
    new_doorbell("native")
    (inbox / "A123").rename(inbox.parent / "A123")
    assert bell.heard()


def test_reading_our_own_files_rings_nothing(inbox: Path, bell: Bell, new_doorbell) -> None:
    (inbox / "loose").write_bytes(b"x")
    new_doorbell("native")
    for _ in range(10):
        (inbox / "loose").read_bytes()
        list(inbox.iterdir())
    new_folder(inbox)
    assert bell.heard()
    assert bell.rings == 1


def test_an_inbox_that_is_a_link_is_watched(inbox: Path, bell: Bell, new_doorbell) -> None:
    real = inbox.with_name("real")
    inbox.rename(real)
    inbox.symlink_to(real)
    assert new_doorbell("native").healthy()
    new_folder(real)
    assert bell.heard()


def delete_and_recreate(inbox: Path) -> None:
    inbox.rmdir()
    inbox.mkdir()


def rename_away_and_recreate(inbox: Path) -> None:
    inbox.rename(inbox.with_name("old"))
    inbox.mkdir()


@pytest.mark.parametrize("replace", [delete_and_recreate, rename_away_and_recreate])
def test_a_new_inbox_under_the_old_name_needs_a_new_watch(
    inbox: Path, bell: Bell, new_doorbell, replace: Callable[[Path], None]
) -> None:
    door = new_doorbell("native")
    replace(inbox)
    assert eventually(lambda: not door.healthy())
    door.rebuild()
    assert door.healthy()
    before = bell.rings
    new_folder(inbox)
    assert bell.heard(beyond=before)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true that a thread of watchdog's brings about."""
    pause = threading.Event()
    return any(
        condition() or pause.wait(0.01) for _ in itertools.takewhile(lambda n: n < PATIENCE * 100, itertools.count())
    )


def test_a_missing_inbox_is_unhealthy_until_it_is_back(inbox: Path, bell: Bell, new_doorbell) -> None:
    inbox.rmdir()
    door = new_doorbell()
    assert (door.kind, door.alive(), door.healthy()) == ("none", False, False)
    inbox.mkdir()
    door.rebuild()
    assert (door.kind, door.healthy()) == ("native", True)


def test_a_watch_that_the_kernel_dropped_is_noticed_though_all_threads_run(inbox: Path, new_doorbell) -> None:
    """What an unmount does: the watch goes, nothing is said."""
    door = new_doorbell("native")
    descriptor = next(d for d in Path("/proc/self/fd").iterdir() if "inotify" in os.path.realpath(d))
    line = next(x for x in Path("/proc/self/fdinfo", descriptor.name).read_text().splitlines() if "inotify wd" in x)
    watch = int(line.split("wd:")[1].split()[0], 16)
    assert ctypes.CDLL(None).inotify_rm_watch(int(descriptor.name), watch) == 0
    assert door.alive()
    assert not door.healthy()
    door.rebuild()
    assert door.healthy()


def test_a_thread_that_died_is_noticed(inbox: Path, bell: Bell, new_doorbell) -> None:
    before = set(threading.enumerate())
    door = new_doorbell("native")
    watching = [thread for thread in threading.enumerate() if thread not in before]
    assert len(watching) == 3
    for victim in range(3):
        thread = next(t for t in threading.enumerate() if type(t) is type(watching[victim]) and t not in before)
        thread.stop()  # type: ignore[attr-defined]
        thread.join(PATIENCE)
        assert not door.healthy()
        door.rebuild()
        assert door.healthy()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reader_of_events_that_fell_over_is_noticed(inbox: Path, bell: Bell, monkeypatch, new_doorbell) -> None:
    """watchdog's observer stays alive then, and the kernel's watch stands, but nobody listens to it."""
    door = new_doorbell("native")

    def falls_over(event: object) -> None:
        raise KeyError("a watch that is not known")

    reader = next(thread for thread in threading.enumerate() if type(thread).__name__ == "InotifyFD")
    monkeypatch.setattr(reader, "handle_event", falls_over)
    new_folder(inbox)
    reader.join(PATIENCE)
    assert not door.healthy()
    door.rebuild()
    new_file(inbox)
    assert bell.heard()


def test_a_bell_that_fails_does_not_end_the_watch(inbox: Path, caplog, new_doorbell) -> None:
    rung = threading.Event()

    def fails() -> None:
        rung.set()
        raise OSError(errno.EBADF, "Bad file descriptor")

    door = new_doorbell("native", ring=fails)
    for name in ("A", "B"):
        rung.clear()
        (inbox / name).mkdir()
        assert rung.wait(PATIENCE)
    assert door.healthy()
    assert "could not ring" in caplog.text


def refuse(code: int) -> Callable[..., None]:
    def no_observer(*arguments, **more) -> None:
        raise OSError(code, os.strerror(code))

    return no_observer


def test_without_watches_it_polls_and_says_so_once(monkeypatch, caplog, new_doorbell) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(doorbell_module, "Observer", refuse(errno.EMFILE))
    door = new_doorbell()
    door.rebuild()
    assert (door.kind, door.healthy()) == ("polling", True)
    assert [record.message for record in caplog.records] == [
        "The inbox is watched by polling: the limit of watchers is reached (sysctl fs.inotify.max_user_instances)"
    ]


def test_without_any_observer_the_scan_serves_and_that_is_said_once(monkeypatch, caplog, new_doorbell) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(doorbell_module, "Observer", refuse(errno.ENOSPC))
    door = new_doorbell("native")
    door.rebuild()
    assert (door.kind, door.healthy()) == ("none", False)
    monkeypatch.undo()
    door.rebuild()
    assert door.healthy()
    first, second = (record.message for record in caplog.records)
    assert first.startswith("The inbox cannot be watched, it is only scanned from time to time: the limit of watches")
    assert second == "The inbox is watched by events of the system again"


def test_attempts_that_fail_leave_no_threads_and_descriptors(inbox: Path, new_doorbell) -> None:
    door = new_doorbell("native")
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    inbox.rmdir()
    for _ in range(3):
        door.rebuild()
    inbox.mkdir()
    door.rebuild()
    assert eventually(lambda: threading.active_count() <= threads)
    assert eventually(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors)


def test_a_marker_in_a_watched_sample_rings(inbox: Path, bell: Bell, new_doorbell) -> None:
    (inbox / "A123").mkdir()
    door = new_doorbell("native")
    assert door.watch_sample("A123")
    assert door.watch_sample("A123")
    (inbox / "A123" / "COMPLETE").write_bytes(b"")
    assert bell.heard()
    assert door.samples == {"A123"}


def test_a_sample_that_is_not_watched_any_more_rings_nothing(inbox: Path, bell: Bell, new_doorbell) -> None:
    (inbox / "A123").mkdir()
    door = new_doorbell("native")
    door.watch_sample("A123")
    for _ in range(2):
        door.unwatch_sample("A123")
    (inbox / "A123" / "COMPLETE").write_bytes(b"")
    new_file(inbox)
    assert bell.heard(beyond=1)
    assert bell.rings == 2  # the inbox's own file: created, closed
    assert door.samples == frozenset()


def test_watched_samples_are_limited_survive_a_rebuild_and_may_vanish(
    inbox: Path, bell: Bell, monkeypatch, new_doorbell
) -> None:
    monkeypatch.setattr(doorbell_module, "MAX_SAMPLE_WATCHES", 2)
    for name in ("A", "B", "C"):
        (inbox / name).mkdir()
    door = new_doorbell("native")
    assert [door.watch_sample(name) for name in ("A", "B", "C")] == [True, True, False]
    shutil.rmtree(inbox / "B")
    door.unwatch_sample("B")
    assert not door.watch_sample("absent")
    assert door.healthy()
    door.rebuild()
    assert door.samples == {"A"}
    before = bell.rings
    (inbox / "A" / "COMPLETE").write_bytes(b"")
    assert bell.heard(beyond=before)


def test_a_network_share_is_polled(monkeypatch, new_doorbell) -> None:
    monkeypatch.setattr(doorbell_module, "filesystem_type", lambda path: "cifs")
    assert new_doorbell().kind == "polling"


@pytest.mark.parametrize(
    ("filesystem", "silent"),
    [("ext4", False), ("xfs", False), ("tmpfs", False), ("fuseblk", False), (None, False)]
    + [(name, True) for name in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "ceph")],
)
def test_network_file_systems_report_no_events(filesystem: str | None, silent: bool) -> None:
    assert reports_no_events(filesystem) is silent


def test_the_innermost_and_latest_mount_names_the_file_system(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\n"
        "systemd-1 /srv/share autofs rw 0 0\n"
        "//nas/scans /srv/share cifs rw 0 0\n"
        "tmpfs /srv/share\\040two\\134 tmpfs rw 0 0\n"
        "garbled\n"
    )
    assert filesystem_type(Path("/srv/share/inbox"), mounts) == "cifs"
    assert filesystem_type(Path("/srv/share"), mounts) == "cifs"
    assert filesystem_type(Path("/srv/share two\\/inbox"), mounts) == "tmpfs"
    assert filesystem_type(Path("/srv/shared"), mounts) == "ext4"
    assert filesystem_type(Path("/srv"), tmp_path / "absent") is None
