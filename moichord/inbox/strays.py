"""What is said of loose files in the inbox, which belong to no sample and are left alone.

Owns the words, and how many files are named. It must not look for them. Pure; no error leaves it.
"""

from collections.abc import Sequence

from moichord.sample import printable

STRAYS_NAMED = 5


def left_alone(strays: Sequence[str]) -> list[str]:
    """Some by name, the others by number."""
    named = [f"a loose file in the inbox is left alone: {printable(name)}" for name in strays[:STRAYS_NAMED]]
    more = len(strays) - len(named)
    return [*named, f"and {more} more loose files in the inbox are left alone"] if more else named
