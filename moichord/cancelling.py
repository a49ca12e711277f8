"""Which submissions are to be stopped, and the requests in flight that this breaks off.

Owns what is known of both while the daemon runs; the request itself is a row of the queue. It must not stop or move
anything itself. Errors: Stopped, raised into a request that is to be broken off.
"""

import threading

from moichord.errors import Stopped
from moichord.sample import Step


class Cancellations:
    """Which submissions are to be stopped, and whether the whole daemon is."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping
        self._cancelled: set[str] = set()

    def cancel(self, uuid: str) -> None:
        self._cancelled.add(uuid)

    def forget(self, uuid: str) -> None:
        self._cancelled.discard(uuid)

    def is_cancelled(self, uuid: str) -> bool:
        return uuid in self._cancelled

    def ends(self, uuid: str, step: Step) -> bool:
        """Whether a submission at `step` is to end as cancelled; not in the middle of its filing, which is the last."""
        return step is not Step.ARCHIVE and self.is_cancelled(uuid)

    def check_stop(self) -> None:
        """Raise Stopped once the whole daemon is to stop."""
        if self.stopping.is_set():
            raise Stopped("the daemon is stopping")

    def why_stop(self, uuid: str, step: Step) -> str | None:
        """Why a submission at `step` is to be left now, if it is."""
        if self.ends(uuid, step):
            return "cancelled"
        return "the daemon is stopping" if self.stopping.is_set() else None


class Sending:
    """The bytes of the requests in flight; also where a cancelled one is broken off."""

    def __init__(self, cancellations: Cancellations) -> None:
        self._cancellations = cancellations
        self._lock = threading.Lock()
        self._sent: dict[tuple[str, str], int] = {}

    def __call__(self, submission: str, relative_path: str, sent: int | None) -> None:
        with self._lock:
            if sent is None:
                self._sent.pop((submission, relative_path), None)
                return
            self._sent[submission, relative_path] = sent
        if self._cancellations.is_cancelled(submission):
            raise Stopped("cancelled")

    def by_submission(self) -> dict[str, int]:
        """Bytes on their way, by submission."""
        totals: dict[str, int] = {}
        with self._lock:
            for (submission, _), sent in self._sent.items():
                totals[submission] = totals.get(submission, 0) + sent
        return totals
