"""One holder at a time: a lock that ends with its process (flock(2)), unlike a pid file that outlives it.

POSIX only, imported when it is used. `OSError` leaves it where the file cannot be opened.
"""

import os
from pathlib import Path


class Lock:
    """An exclusive lock on a file, held until `release` or the end of the process (flock(2); POSIX only).

    The file stays when the lock is released: deleting it would let two processes hold "the" lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it; say whether this object holds it now."""
        if self._descriptor is None:
            self._descriptor = self._locked_descriptor(shared=False)
        return self._descriptor is not None

    def held_elsewhere(self) -> bool:
        """Whether another holder exists right now; an answer for people, not a claim."""
        if self._descriptor is not None or not self._path.exists():
            return False
        descriptor = self._locked_descriptor(shared=True)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def fileno(self) -> int:
        """The descriptor that holds it. Raises ValueError while it is not held."""
        if self._descriptor is None:
            raise ValueError(f"{self._path} is not locked")
        return self._descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked_descriptor(self, *, shared: bool) -> int | None:
        import fcntl

        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
