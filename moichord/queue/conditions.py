"""What ails this machine or the laboratory for a while (a disk is low, a share is gone, no sample comes), as history.

Owns the fact `conditions` (what holds), and a row of history when each begins and when it ends, written with it: a
restart tells neither twice. It must not look at disks or inboxes. Errors: StateUnwritable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from moichord.clock import Clock
from moichord.queue import migrations
from moichord.queue.database import Database
from moichord.queue.occasions import note

FACT = "conditions"
BEGAN, ENDED = "_began", "_ended"


@dataclass(frozen=True, slots=True)
class Condition:
    """`kind` is for programs (`disk_low`, `share`, `silence`); `text` and `end` are said when it begins and ends.

    It has ended once it did not hold for `patience` seconds: what goes to and fro is one condition.
    """

    kind: str
    text: str
    end: str
    patience: float = 0.0


class Conditions:
    """What holds. `now` is called by one thread at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seen_at: dict[str, float] = {}

    def known(self) -> dict[str, Condition]:
        """What holds as far as the state knows, by name."""
        with self._database.read() as connection:
            return _known(connection)

    def begins(self, name: str, condition: Condition) -> None:
        """This one holds; of the others nothing is known."""
        if name not in self.known():
            now = self._clock.now()
            self._database.write(lambda connection: _change(connection, now, {name: condition}, []))

    def now(self, holding: Mapping[str, Condition]) -> None:
        """These hold now, by names of their own, and no others."""
        monotonic = self._clock.monotonic()
        known = self.known()
        # After a start, patience begins anew.
        self._seen_at = dict.fromkeys(holding, monotonic) | {
            name: self._seen_at.get(name, monotonic) for name in known if name not in holding
        }
        over = [
            name
            for name, one in known.items()
            if name not in holding and monotonic - self._seen_at[name] >= one.patience
        ]
        began = {name: one for name, one in holding.items() if name not in known}
        if began or over:
            now = self._clock.now()
            self._database.write(lambda connection: _change(connection, now, began, over))


def _change(connection: Connection, now: float, began: Mapping[str, Condition], over: list[str]) -> None:
    known = _known(connection)
    for name in over:
        one = known.pop(name)
        note(connection, now, one.end, one.kind + ENDED)
    for name, one in began.items():
        known[name] = one
        note(connection, now, one.text, one.kind + BEGAN)
    kept = {name: [one.kind, one.text, one.end, one.patience] for name, one in known.items()}
    migrations.set_fact(connection, FACT, kept or None)


def _known(connection: Connection) -> dict[str, Condition]:
    found = migrations.fact(connection, FACT)
    return {name: Condition(*one) for name, one in found.items()} if isinstance(found, dict) else {}
