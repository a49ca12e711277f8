"""The settings that say where the samples and the state are.

Owns these keys; `paths` has their rules and defaults. It must not know the other settings, which many a command does
without. Errors: pydantic's, which `loading` gives their places.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from moichord.config import paths
from moichord.config.block import Block, Impossible, entry

FullPath = Annotated[Path, BeforeValidator(paths.full_path)]
StatePath = Annotated[Path, BeforeValidator(paths.state_path)]


class Folders(Block):
    """The four places a sample can be in."""

    inbox: FullPath = entry(paths.INBOX, "Scanners drop one folder for each sample here.")
    configured_work: FullPath | None = entry(
        None,
        "Where samples lie while they are processed; on the inbox's file system, private to the daemon. "
        'null: "work" beside the inbox.',
        alias="work",
    )
    done: FullPath = entry(paths.DONE, "Where finished samples go.")
    failed: FullPath = entry(paths.FAILED, "Where samples go that need a person.")

    @property
    def work(self) -> Path:
        return self.configured_work or paths.work_beside(self.inbox)

    def named(self) -> dict[str, Path]:
        """All four, by name."""
        return {"inbox": self.inbox, "work": self.work, "done": self.done, "failed": self.failed}

    def impossible(self) -> Impossible:
        for name, problem in paths.clashes(self.named()):
            yield (name,), problem


class Whereabouts(Block):
    """Where the samples and the state are: all that a command needs that only reads the state."""

    version: Literal[1] = entry(1, "The version of this file's format.")
    folders: Folders = entry({}, "Where samples lie: inbox -> work -> done or failed.")
    state: StatePath = entry(paths.STATE, "The database (SQLite), on a local disk.")

    def places(self) -> paths.Places:
        """The paths alone."""
        return paths.Places(**self.folders.named(), state=self.state)

    def impossible(self) -> Impossible:
        for name in paths.holding(self.state, self.folders.named()):
            yield ("state",), f"must not lie in {name}"
