"""Units of work, and how those of one commit are carried out together.

Owns that units which differ only by their rows are one statement with many rows. It must not know what any of them
means. Errors: what a unit raises.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

Unit = Callable[[Connection], Any]
"""A function of a connection that does nothing but execute statements."""

Act = Callable[[Connection, list[Any]], None]


@dataclass(frozen=True, slots=True)
class Alike:
    """A unit that is `act` with these rows. In one commit the rows of all units of the same act are given to it
    together, in the place of the first; so those in between must not depend on the order.
    """

    act: Act
    rows: Sequence[Any]

    def __call__(self, connection: Connection) -> None:
        self.act(connection, list(self.rows))


def carried_out(connection: Connection, units: Sequence[Unit]) -> list[Any]:
    """What each unit returns; None for those that are alike."""
    together: dict[Act, list[Any]] = {}
    for unit in units:
        if isinstance(unit, Alike):
            together.setdefault(unit.act, []).extend(unit.rows)
    results = []
    for unit in units:
        if not isinstance(unit, Alike):
            results.append(unit(connection))
            continue
        if rows := together.pop(unit.act, None):
            unit.act(connection, rows)
        results.append(None)
    return results
