"""The settings that say where the samples and the state are.

Owns these keys, apart from all others: a command that only looks needs no more, and is to answer at once. It must not
know the other settings. Errors: pydantic's, which `loading` gives their places.
"""

from pathlib import Path
from typing import Literal

from moichord.config.block import Block, Impossible, entry
from moichord.config.paths import FullPath, StatePath


class Folders(Block):
    """The four places a sample can be in."""

    inbox: FullPath = entry("/srv/moichord/inbox", "Scanners drop one folder for each sample here.")
    configured_work: FullPath | None = entry(
        None,
        "Where samples lie while they are processed; on the inbox's file system, private to the daemon. "
        'null: "work" beside the inbox.',
        alias="work",
    )
    done: FullPath = entry("/srv/moichord/done", "Where finished samples go.")
    failed: FullPath = entry("/srv/moichord/failed", "Where samples go that need a person.")

    @property
    def work(self) -> Path:
        return self.configured_work or self.inbox.parent / "work"

    def impossible(self) -> Impossible:
        places = {"inbox": self.inbox, "work": self.work, "done": self.done, "failed": self.failed}
        names = list(places)
        for index, name in enumerate(names):
            related = ((_relation(places[name], places[earlier]), earlier) for earlier in names[:index])
            relation, earlier = next((pair for pair in related if pair[0]), ("", ""))
            if relation:
                yield (name,), f"{places[name]} {relation} {earlier}: each of the four needs a place of its own"


class Whereabouts(Block):
    """Where the samples and the state are: all that a command needs that only reads the state."""

    version: Literal[1] = entry(1, "The version of this file's format.")
    folders: Folders = entry({}, "Where samples lie: inbox -> work -> done or failed.")
    state: StatePath = entry("/var/lib/moichord/state.db", "The database (SQLite), on a local disk.")

    def impossible(self) -> Impossible:
        for name in ("inbox", "work", "done", "failed"):
            if self.state.is_relative_to(getattr(self.folders, name)):
                yield ("state",), f"must not lie in {name}"


def _relation(path: Path, other: Path) -> str | None:
    if path == other:
        return "is the same as"
    if path.is_relative_to(other):
        return "lies inside"
    return "contains" if other.is_relative_to(path) else None
