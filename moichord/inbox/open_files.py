"""Whether a program on this machine still has a file open for writing.

Owns the question, asked of the kernel by a read lease: one is refused while somebody has the file open for writing.
That is a veto. A lease that is granted says nothing, since the kernel knows no writer on another machine; and it gives
leases only to a file's owner or to root. It must not know samples. No error leaves it: without leases nothing is known.

Source: fcntl(2), "Leases".
"""

import errno
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

from moichord.durable import NotRegular, open_flags, open_regular


def first_open_for_writing(folder: Path, relative_paths: Iterable[str]) -> str | None:
    """The first of these files (relative to `folder`, with "/") that is known to be open for writing, or None."""
    for parent, paths in groupby(sorted(relative_paths, key=_parent), key=_parent):
        with suppress(OSError), _entered(folder, parent) as descriptor:
            for path in paths:
                if _is_open_for_writing(path.rpartition("/")[2], descriptor):
                    return path
    return None


def lease_refused(descriptor: int) -> bool:
    """Whether a read lease on this descriptor, opened for reading, is refused because of a writer."""
    try:
        import fcntl

        set_signal, set_lease = fcntl.F_SETSIG, fcntl.F_SETLEASE
    except (ImportError, AttributeError):
        return False
    try:
        # Whoever opens the file for writing meanwhile makes the kernel send a signal. Its own choice, SIGIO, would end
        # this process; SIGURG is ignored by default.
        fcntl.fcntl(descriptor, set_signal, signal.SIGURG)
        fcntl.fcntl(descriptor, set_lease, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    with suppress(OSError):  # closing the descriptor gives it back all the same
        fcntl.fcntl(descriptor, set_lease, fcntl.F_UNLCK)
    return False


def _is_open_for_writing(name: str, folder: int) -> bool:
    try:
        with open_regular(name, dir_fd=folder) as file:
            return lease_refused(file.fileno())
    except (OSError, NotRegular):
        return False


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


@contextmanager
def _entered(folder: Path, below: str) -> Iterator[int]:
    """A descriptor of the folder `below`, reached without following anything."""
    descriptor = os.open(folder, open_flags(folder=True))
    try:
        for name in below.split("/") if below else ():
            deeper = os.open(name, open_flags(folder=True), dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)
