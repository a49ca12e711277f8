"""Why samples cannot go their way on this machine: disks, folders, and the share that a start waits for.

Owns the one place that knows all of it, for the page (/readyz), the heartbeat and `status`. It must not know servers
(`readiness` adds those), nor who reads it. Errors: StateUnwritable where the state cannot be read.
"""

from moichord.inbox.intake import Intake
from moichord.queue.endings import Endings
from moichord.spool import Spool
from moichord.storage import Storage

STARTING = "moichord is starting, and has not seen its folders yet"


class Hindrances:
    """What one daemon's rooms know of it. Until `look_for_share` comes back for the first time, the start hinders."""

    def __init__(self, storage: Storage, intake: Intake, spool: Spool, endings: Endings) -> None:
        self._storage = storage
        self._intake = intake
        self._spool = spool
        self._endings = endings
        self._awaited: str | None = STARTING

    @property
    def sentences(self) -> list[str]:
        """As of the last look; they name no sample."""
        awaited = [] if self._awaited is None else [self._awaited]
        return [*awaited, *self._storage.notices, *self._intake.problems]

    def look_for_share(self) -> str | None:
        """The share to wait for before anything is made of what is not there, as it is now.

        That of done or failed is waited for only where a sample is on its way back from there: all else can go on.
        """
        problem = self._intake.absence() or self._spool.absence() or self._storage.unmounted("work")
        if problem is None and self._endings.half_brought_back():
            problem = self._storage.unmounted("done", "failed")
        self._awaited = problem
        return problem
