"""The digest of what is being sent: at once, or in a thread of its own while the same bytes go out.

Owns who computes it, and that it is of the very bytes of the buffer it was given. It must not know where these come
from or go. It raises nothing of its own.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from blake3 import blake3


class Digest(Protocol):
    """BLAKE3 of blocks, in their order."""

    def update(self, block: memoryview) -> None:
        """The next block. It must not change before `settle`, or the return of the next `update`."""
        ...

    def settle(self) -> None:
        """Return when all blocks have been read, so that they may change."""
        ...

    def hexdigest(self) -> str: ...

    def close(self) -> None: ...


class DigestAtOnce:
    """Blocks are read before `update` returns."""

    def __init__(self) -> None:
        self._digest = blake3()

    def update(self, block: memoryview) -> None:
        self._digest.update(block)

    def settle(self) -> None:
        """Nothing is left to be read."""

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        """Nothing to let go of."""


class DigestAside:
    """One block is read in another thread while whoever gave it goes on; the one before it has been read by then."""

    def __init__(self) -> None:
        self._digest = blake3()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest")
        self._under_way: Future[object] | None = None

    def update(self, block: memoryview) -> None:
        self.settle()
        self._under_way = self._thread.submit(self._digest.update, block)

    def settle(self) -> None:
        if self._under_way is not None:
            self._under_way.result()

    def hexdigest(self) -> str:
        self.settle()
        return self._digest.hexdigest()

    def close(self) -> None:
        self._thread.shutdown()
