"""Whether samples can go their way, and why not: what /readyz answers, and the heartbeat says.

Owns the reasons, which name no sample and quote no server. Pure, but for the local time zone; no error leaves it.
"""

from collections.abc import Iterable

from moichord.outage import Circuit
from moichord.status.phrases import moment
from moichord.status.sentences import SERVER


def reasons(hindrances: Iterable[str], outages: Iterable[Circuit], paused_at: float | None, now: float) -> list[str]:
    """Why they cannot; none if they can. `hindrances` are sentences about disks and folders."""
    found = list(hindrances)
    found += [f"the {SERVER[one.api]} cannot be used since {moment(one.open_since or now, now)}" for one in outages]
    return found if paused_at is None else [*found, f"paused since {moment(paused_at, now)}"]
