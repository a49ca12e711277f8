"""The command that gathers what helps others to help: support.

Owns its options, and where the parts come from. Whatever cannot be had is named in the file. Errors: those of the
entrance, and of `status.support`.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance
from moichord.errors import MoichordError

if TYPE_CHECKING:
    from moichord.cli.entrance import OpenState
    from moichord.sample import Arrival

LOG_BYTES = 2**20
EVENTS = 1000
DETAILS = 100
JOURNAL = (
    *("journalctl", "--unit=moichord", "--unit=moichord@*"),
    *("--lines=5000", "--quiet", "--no-pager", "--output=short-iso"),
)
NO_JOURNAL = (
    "there is no log file, and this user may not read the journal, or it says nothing of moichord: run the command "
    "with sudo, or as a member of the group systemd-journal"
)
JOURNAL_SECONDS = 20.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.pass_obj
def support(entrance: Entrance, file: Path) -> None:
    """Gather in FILE (a zip) what helps others to help, without secrets and without values of patients."""
    from moichord.status import support as file_of

    hide: set[str] = set()
    parts = {
        "versions.json": lambda: file_of.as_json(file_of.versions()),
        "configuration.json": lambda: _configuration(entrance, hide),
        "log.txt": lambda: _log(entrance),
    }
    failures = (MoichordError, OSError, subprocess.SubprocessError)
    found = file_of.gathered(parts, failures)
    try:
        with entrance.state() as state:
            found |= _of_state(state, hide)
    except MoichordError as error:
        found["problems.txt"] += f"states.json: {type(error).__name__}\n"
    file_of.write(file, found, hide)
    click.echo(f"Written  {file}")
    entrance.say("It holds sample IDs and paths, but no keys and nothing about patients. Look through it all the same.")


def _configuration(entrance: Entrance, hide: set[str]) -> str:
    from moichord.config.shareable import hidden, shareable
    from moichord.status.support import as_json

    path = entrance.config_path()
    text = path.read_text("utf-8-sig", "replace")
    hide |= hidden(text, entrance.environ)
    problems: list[str] = []
    try:
        entrance.settings()
    except MoichordError as error:
        # What is wrong may quote a secret that stands in the wrong place; where it is does not.
        problems = [":".join(line.split(":")[:3]) for line in error.problem.splitlines() if not line.startswith(" ")]
    return as_json({"file": str(path), "problems_at": problems, "content": shareable(text)})


def _log(entrance: Entrance) -> str:
    """The newest of the log: of its file if there is one, else of the journal. Raises NotGathered."""
    from moichord.status.support import NotGathered

    state = entrance.whereabouts().state
    files = [state.with_name(f"{state.name}.log")]
    try:
        configured = entrance.settings().logging.file
        files = files if configured is None else [configured]
    except MoichordError:
        pass  # a key that cannot be read: the log may lie in its usual place all the same
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                stream.seek(max(0, file.stat().st_size - LOG_BYTES))
                return stream.read(LOG_BYTES).decode("utf-8", "backslashreplace")
    told = subprocess.run(JOURNAL, capture_output=True, timeout=JOURNAL_SECONDS, check=False)
    if told.returncode or not told.stdout.strip():
        raise NotGathered(NO_JOURNAL)
    return told.stdout[-LOG_BYTES:].decode("utf-8", "backslashreplace")


def _of_state(state: "OpenState", hide: set[str]) -> Mapping[str, str]:
    from moichord.status import support as file_of
    from moichord.status.metrics import render

    standing = state.standing()
    shown = [*standing.overview.unfinished, *standing.attention, *standing.overview.recent]
    hide |= file_of.values_of_patients(state.views.detail(one.uuid) for one in shown[:DETAILS])
    hide |= {_name(one) for one in standing.misnamed}
    return {
        "states.json": file_of.as_json(file_of.states(standing)),
        "history.json": file_of.as_json(file_of.changes(state.views.history(None, None, EVENTS))),
        "metrics.txt": render(standing, standing.disks).decode(),
    }


def _name(arrival: "Arrival") -> str:
    from moichord.sample import printable

    return printable(arrival.folder_name)


COMMANDS = (support,)
