"""What a power cut must not take away: whatever the state showed to a reader before it is there, and true, after it.

Owns that judgement; what must hold in the end is `guarantees`. It must not know when the power was cut. Nothing leaves
it but what it read, and sentences; none means that nothing is lost.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lifecycle.site import SAMPLE, Site, Snapshot

_LIES_SOMEWHERE = "SELECT state FROM submissions WHERE intent IS NULL AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class Committed:
    """What the state shows to a reader while the daemon stands still."""

    history: frozenset[int] = frozenset()
    acknowledged: frozenset[str] = frozenset()
    attempts: int = 0
    states: tuple[str, ...] = ()  # of submissions that no move is decided for, and that retention has not deleted
    analytics: bool = False


def committed(site: Site) -> Committed:
    """What the state shows to a reader; nothing while it is being made or opened."""
    if not _is_open(site.state):
        return Committed()
    # No lock is waited for: whoever holds one stands still.
    reader = sqlite3.connect(f"file:{site.state}?mode=ro", uri=True, timeout=0)
    with suppress(sqlite3.OperationalError), closing(reader) as state:
        history = frozenset(row[0] for row in state.execute("SELECT number FROM history"))
        images = state.execute("SELECT sop_instance_uid FROM images WHERE acknowledged_at IS NOT NULL")
        steps = state.execute("SELECT 1 FROM steps WHERE step = 'analytics' AND finished_at IS NOT NULL")
        return Committed(
            history,
            frozenset(row[0] for row in images),
            state.execute("SELECT coalesce(sum(last_attempt), 0) FROM attempts").fetchone()[0],
            tuple(row[0] for row in state.execute(_LIES_SOMEWHERE)),
            steps.fetchone() is not None,
        )
    return Committed()


def _is_open(state: Path) -> bool:
    """Whether the index of the log is made (SQLite, walformat 2.1): a reader would wait ten seconds for it."""
    index = state.with_name(f"{state.name}-shm")
    header = index.read_bytes()[:96] if index.exists() else b""
    return len(header) == 96 and header[:48] == header[48:] and header[12] == 1


def lost(before: Committed, site: Site, after: Snapshot) -> Iterator[str]:
    """What was committed before the cut and is not there, or not true, after it."""
    if missing := before.history - {row["number"] for row in site.rows("history")}:
        yield f"{len(missing)} committed rows of history are lost"
    if missing_images := before.acknowledged - after.acknowledged:
        yield f"{len(missing_images)} acknowledgements are lost"
    if sum(row["last_attempt"] for row in site.rows("attempts")) < before.attempts:
        yield "an attempt number is lost"
    for state in before.states:
        place = {"done": "done", "failed": "failed", "cancelled": "failed"}.get(state, "work")
        if f"{place}/{SAMPLE}" not in after.places:
            yield f"it was committed as {state}, and lies in {after.places or 'no place'}"
