"""The pid file of a detached daemon, beside its state: who was started, since when, which version, where it logs.

Owns the file and the way from it to a process. It never decides who runs: a file outlives a killed daemon, and its
number may by now be another process's. The lock of the state decides, and a signal goes only to the process that has
the file of that lock open. It must not know what a daemon does. Errors: OSError.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from moichord.durable import replace_text

MODE = 0o644


@dataclass(frozen=True, slots=True)
class Started:
    """What `daemon start` wrote down. `since` is in seconds since the epoch; `log` is a path, or what to call."""

    pid: int
    since: float
    version: str
    log: str


def path_of(state: Path) -> Path:
    """Where it lies."""
    return state.with_name(state.name + ".pid")


@contextmanager
def written(path: Path, started: Started) -> Iterator[None]:
    """The file is there inside; only the holder of the state's lock may do this."""
    # The number stands alone in the first line, for tools that read nothing else.
    replace_text(path, f"{started.pid}\n{started.since}\n{started.version}\n{started.log}\n", mode=MODE)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read(path: Path) -> Started | None:
    """What stands there; None if there is no such file, or not one of ours."""
    try:
        pid, since, version, log, *_ = path.read_text("utf-8", "replace").splitlines()
        started = Started(int(pid), float(since), version, log)
    except (FileNotFoundError, ValueError):
        return None
    return started if started.pid > 0 else None


def process_of(started: Started, lock: Path) -> "Process | None":
    """The process that was started, if it is the one that has the file `lock` open; None if it is another, or none."""
    try:
        process = Process(started.pid)
    except (ProcessLookupError, PermissionError):
        return None  # who may look at the lock may signal its holder
    # Asked only now: from here on the number cannot become another's unnoticed.
    if process.has_open(lock):
        return process
    process.close()
    return None


class Process:
    """One process, and never another that got its number later (pidfd_open(2), where the system has it)."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError if there is none, PermissionError if it is another user's."""
        self.pid = pid
        self._descriptor: int | None = None
        os.kill(pid, 0)
        if hasattr(os, "pidfd_open"):
            # An old kernel, or one where such calls are filtered.
            with suppress(OSError):
                self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def has_open(self, file: Path) -> bool:
        """Whether the process has `file` open; True where the system has no /proc to see that in."""
        wanted, shown = file.stat(), Path(f"/proc/{self.pid}/fd")
        if not Path("/proc/self/fd").is_dir():
            return True
        try:
            descriptors = list(shown.iterdir())
        except (FileNotFoundError, PermissionError):
            return False
        return any(_is(descriptor, wanted) for descriptor in descriptors)

    def terminate(self) -> None:
        """SIGTERM; nothing if it has ended."""
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
            else:
                os.kill(self.pid, signal.SIGTERM)


def _is(descriptor: Path, wanted: os.stat_result) -> bool:
    try:
        status = descriptor.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)
