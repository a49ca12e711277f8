"""Disks that lose their power: ext4 file systems in files, shut down without a flush of their journals.

Owns mounting, cutting and mounting again. It must not know what lies on the disks. Errors: `CalledProcessError` of mkfs
and mount, `OSError`; RuntimeError where a cut shows nothing on this machine. Disks that lie about a flush are not part
of it. Needs root, and mounts that are this process's own.
"""

import ctypes
import fcntl
import os
import struct
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of Linux fs/ext4/ext4.h
WITHOUT_FLUSH = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH
# Nothing becomes durable by the way: no commit of the journal by time, no write-back at a rename over a file.
OPTIONS = "loop,commit=3600,noauto_da_alloc,noinit_itable"
SIZE = 24 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """An ext4 file system in a file, mounted at `where` while the context lasts."""

    def __init__(self, file: Path, where: Path) -> None:
        self._file = file
        self.where = where

    def __enter__(self) -> "Disk":
        with self._file.open("wb") as file:
            file.truncate(SIZE)
        features = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", features, self._file], check=True)
        self.where.mkdir(parents=True, exist_ok=True)
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self.where.is_mount():
            self.unmount()
        self._file.unlink()

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "ext4", "-o", OPTIONS, self._file, self.where], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.where], check=True)

    def flush(self) -> None:
        with self._opened() as descriptor:
            if _libc.syncfs(descriptor):
                raise OSError(ctypes.get_errno(), "syncfs", str(self.where))

    def cut(self) -> None:
        with self._opened() as descriptor:
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSH)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Machine:
    """Disks that lose their power together; the first holds where the others are mounted."""

    def __init__(self, disks: Sequence[Disk], boot_id: Path) -> None:
        self._disks = disks
        self._boot_id = boot_id

    def flush(self) -> None:
        for disk in self._disks:
            disk.flush()

    def cut(self) -> None:
        for disk in self._disks:
            disk.cut()

    def boot(self) -> None:
        """All disks again, as they are. Nothing may have a file of them open."""
        for disk in reversed(self._disks):
            disk.unmount()
        for disk in self._disks:
            disk.mount()
        self._boot_id.write_text(f"{uuid.uuid4()}\n")


def prove_the_cut(root: Path) -> None:
    """RuntimeError if a cut keeps what was not synced, or loses what was: then no trial would show anything."""
    with Disk(root / "proof.img", root / "proof") as disk:
        for name in ("synced", "unsynced"):
            (disk.where / name).mkdir()
        (disk.where / "synced").rename(disk.where / "synced-renamed")
        disk.flush()
        (disk.where / "unsynced").rename(disk.where / "unsynced-renamed")
        disk.cut()
        disk.unmount()
        disk.mount()
        names = {path.name for path in disk.where.iterdir()} - {"lost+found"}
    if names != {"synced-renamed", "unsynced"}:
        raise RuntimeError(f"a power cut cannot be shown on this machine: after it there are {sorted(names)}")
