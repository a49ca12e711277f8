"""What every command starts with: which configuration, which state, which console.

Owns the search for the configuration and the opening of a state from outside the daemon. It must not know single
commands. Errors: ConfigurationInvalid, UsageRefused, StateUnusable.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moichord.errors import ConfigurationInvalid, MoichordError
from moichord.status.phrases import MOICHORD, called

if TYPE_CHECKING:
    from rich.console import Console

    from moichord.clock import Clock
    from moichord.config import Settings, Whereabouts
    from moichord.config.paths import Places
    from moichord.queue.requests import Requests
    from moichord.queue.views import Views
    from moichord.status.standing import Reads, Standing

VARIABLE = "MOICHORD_CONFIG"
LOCAL = Path("moichord.yaml")
SYSTEM = Path("/etc/moichord/config.yaml")


@dataclass(frozen=True, slots=True)
class Entrance:
    """The options before the command, and the environment."""

    config: Path | None
    environ: Mapping[str, str]
    verbose: bool = False
    quiet: bool = False
    colour: bool = True

    def config_path(self) -> Path:
        """Where the configuration is. Raises ConfigurationInvalid if none is named and none is found."""
        if self.config is not None:
            return self.config
        if named := self.environ.get(VARIABLE):
            return Path(named)
        for path in (LOCAL, SYSTEM):
            if path.exists():
                return path
        raise ConfigurationInvalid(
            [f"There is no configuration: neither ./{LOCAL} nor {SYSTEM} exists, and {VARIABLE} is not set."],
            remedy="Write one with `moichord init`, or name one with `moichord -c FILE`.",
        )

    def found_without_naming(self, path: Path) -> bool:
        """Whether commands find the configuration at this full path by themselves, from here."""
        named = self.environ.get(VARIABLE)
        found = Path(named) if named else next((one for one in (LOCAL, SYSTEM) if one.exists()), None)
        return found is not None and found.absolute() == path

    def settings(self) -> "Settings":
        """All settings, secrets too."""
        from moichord.config import load

        return load(self.config_path(), self.environ)

    def whereabouts(self) -> "Whereabouts":
        """Where the folders and the state are; needs no secret."""
        from moichord.config import load_whereabouts

        return load_whereabouts(self.config_path(), self.environ)

    def console(self) -> "Console":
        """For data, on stdout."""
        from moichord.status.terminal import console_for

        return console_for(sys.stdout, colour=self.colour)

    @property
    def command(self) -> str:
        """How whoever typed this command has to begin the next one."""
        import shlex

        return MOICHORD if self.config is None else f"{MOICHORD} -c {shlex.quote(str(self.config))}"

    def in_words(self, text: str) -> str:
        """`text`, whose hints of commands name the configuration that this command was given."""
        return called(text, self.command)

    def say(self, text: str) -> None:
        """A message for people, on stderr; not with -q."""
        if not self.quiet:
            click.echo(self.in_words(text), err=True)

    @contextmanager
    def state(self, *, writing: bool = False) -> Iterator["OpenState"]:
        """The state, opened beside the daemon. Raises UsageRefused if there is none yet, StateUnusable."""
        from moichord.clock import SystemClock
        from moichord.queue.database import Database
        from moichord.queue.requests import Requests
        from moichord.queue.views import Views

        whereabouts, clock = self.whereabouts(), SystemClock()
        database = Database(whereabouts.state)
        try:
            database.attach(writing=writing)
            yield OpenState(whereabouts, Views(database), Requests(database, clock), clock, self.command)
        finally:
            database.close()

    def standing(self, most: int | None = None) -> "Standing":
        """Everything at this moment; with `most`, no more of the samples in work. Raises what `state` raises.

        Both the configuration and the state are read without what takes longer to load than to use; what is wrong with
        them the usual way finds out.
        """
        from moichord.clock import SystemClock
        from moichord.config.paths import plain_places
        from moichord.queue import aside

        places = plain_places(self.config_path(), self.environ)
        try:
            if places is not None:
                with aside.opened(places.state) as views:
                    return _standing(views, places, SystemClock(), self.command, most)
        except aside.OtherWay:
            pass
        with self.state() as state:
            return state.standing(most)


@dataclass(frozen=True, slots=True)
class OpenState:
    """What commands ask of the state, and write into it."""

    whereabouts: "Whereabouts"
    views: "Views"
    requests: "Requests"
    clock: "Clock"
    command: str = MOICHORD

    def daemon_runs(self) -> bool:
        return _daemon_runs(self.whereabouts.state)

    def standing(self, most: int | None = None) -> "Standing":
        """Everything at this moment; with `most`, no more of the samples in work."""
        return _standing(self.views, self.whereabouts.places(), self.clock, self.command, most)

    def when(self) -> str:
        """When the daemon carries out what was asked for."""
        if self.daemon_runs():
            return "The daemon carries it out within a second."
        return "No daemon is running: it is carried out when one starts."


def _daemon_runs(state: Path) -> bool:
    from moichord.queue.holder import daemon_holds

    return daemon_holds(state)


def _standing(views: "Reads", places: "Places", clock: "Clock", command: str, most: int | None) -> "Standing":
    from moichord.status.standing import look

    disks = {"work": places.work, "done": places.done, "failed": places.failed, "state": places.state.parent}
    runs = partial(_daemon_runs, places.state)
    return look(views, places.failed, runs, clock, most=most, command=command, places=disks)


def tell(error: MoichordError, command: str = MOICHORD) -> None:
    """What is wrong and what to do, on stderr; `command` is how whoever reads it calls moichord."""
    first, *more = error.problem.splitlines() or ["failed"]
    if more:
        lines = [first, *more]
        things = sum(not line.startswith(" ") for line in lines)  # what is indented explains the line above
        first, more = "This is wrong:" if things == 1 else f"{things} things are wrong:", lines
    click.echo(f"moichord: {first}", err=True)
    for line in [*more, *called(error.remedy or "", command).splitlines()]:
        click.echo(f"  {line}", err=True)


def print_json(content: Mapping[str, object]) -> None:
    """For programs: ASCII only, so that any of them reads it."""
    import json

    click.echo(json.dumps(content, indent=2))
