"""Who runs a state: one daemon at a time, by a lock that lies beside the database.

Owns where that lock lies. It must not know SQL. `OSError` leaves it where the lock cannot be opened.
"""

from pathlib import Path

from moichord.durable import Lock


def lock_of(state: Path) -> Lock:
    """The lock that a daemon holds as long as it runs with this state."""
    return Lock(lock_file_of(state))


def lock_file_of(state: Path) -> Path:
    """Where that lock lies; the daemon has this file open."""
    return state.with_name(state.name + ".lock")


def daemon_holds(state: Path) -> bool:
    """Whether a daemon runs with this state; never in the way of one that starts."""
    return lock_of(state).held_elsewhere()
