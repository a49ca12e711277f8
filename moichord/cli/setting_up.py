"""The commands before the first sample: init, check.

Owns their options and output. Errors: those of the entrance, UsageRefused where `init` would overwrite.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moichord.cli.entrance import LOCAL, SYSTEM, VARIABLE, Entrance, print_json
from moichord.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from moichord.checks import Finding
    from moichord.first_setup import Made

STYLE = {"ok": "green", "warning": "bold yellow", "failed": "bold red"}
SIGN = {"ok": "ok", "warning": "warn", "failed": "FAIL"}


@click.command()
@click.option(
    "--folders",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Make inbox, work, done and failed below DIR, and the state in DIR/state (default: /srv/moichord).",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The database, on a local disk (default: /var/lib/moichord/state.db).",
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"The configuration to write (default: {SYSTEM}; with --folders: ./{LOCAL}).",
)
@click.option(
    "--service-user",
    metavar="USER",
    help="For the systemd unit (needs root): what is made belongs to USER, and the keys are systemd credentials.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where the page is: several daemons on one machine need a port each (default: 127.0.0.1:8642).",
)
@click.pass_obj
def init(
    entrance: Entrance,
    folders: Path | None,
    state: Path | None,
    config: Path | None,
    service_user: str | None,
    listen: str | None,
) -> None:
    """Write a commented configuration and create the folders. Nothing is overwritten."""
    from moichord.first_setup import set_up

    named = config or entrance.config or entrance.environ.get(VARIABLE)
    path = Path(named) if named else LOCAL if folders else SYSTEM
    root = None if folders is None else folders.absolute()
    if state is None and root is not None:
        state = root / "state" / "state.db"
    made = set_up(path.absolute(), root, None if state is None else state.absolute(), service_user, listen)
    click.echo(f"Written  {made.config}")
    for folder in made.created:
        click.echo(f"Created  {folder}")
    for line in () if service_user else _next(made, entrance):
        click.echo(line)


def _next(made: "Made", entrance: Entrance) -> Iterable[str]:
    whereabouts = made.whereabouts
    yield ""
    if os.name == "posix" and os.geteuid() == 0:
        yield "What was created belongs to root: if moichord is to run as a user of its own, give it to that user."
    yield f"Samples are dropped into {whereabouts.folders.inbox}; the state is {whereabouts.state}."
    command = "moichord" if entrance.found_without_naming(made.config) else f"moichord -c {made.config}"
    yield ""
    yield "Next:"
    yield "  1. Name the three APIs: set MD_URL, MD_KEY, U_URL, U_KEY, A_URL and A_KEY, or edit the file."
    yield "     (None at hand? In another terminal, `moichord sandbox` starts stand-ins and prints these settings.)"
    yield f"  2. {command} check"
    yield f"  3. {command} run"


@click.command()
@click.option("--offline", is_flag=True, help="Leave the three APIs alone.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.option(
    "--accept-folders", is_flag=True, help="Done and failed have moved to another file system: here they belong now."
)
@click.option("--notify", is_flag=True, help="Send a test message to each of notify.urls, and a heartbeat.")
@click.pass_obj
def check(entrance: Entrance, offline: bool, as_json: bool, accept_folders: bool, notify: bool) -> int:
    """Test the configuration and everything that will be used, without causing work.

    Exit code 78 if the configuration or the state cannot be used, 1 if something else would fail.
    """
    from moichord import checks, logs
    from moichord.checks import Finding, Result
    from moichord.clock import SystemClock

    path = entrance.config_path()
    try:
        settings = entrance.settings()
    except ConfigurationInvalid as invalid:
        if not as_json:
            raise
        findings = [Finding("configuration", Result.FAILED, problem, invalid.remedy) for problem in invalid.problems]
        print_json(_report(findings))
        return invalid.exit_code
    logs.setup(level="error", stream=sys.stderr, secrets=settings.secrets())
    findings = [Finding("configuration", Result.OK, f"{path} is valid.")]
    if accept_folders:
        findings += checks.accept_folders(settings)
    findings += checks.check_places(settings)
    findings += checks.check_receivers(settings, SystemClock(), send=notify)
    if not offline:
        findings += checks.check_servers(settings, SystemClock())
    if as_json:
        print_json(_report(findings))
    else:
        _print(findings, entrance, offline=offline)
    return max((finding.exit_code for finding in findings if finding.result is Result.FAILED), default=0)


def _report(findings: "list[Finding]") -> dict[str, object]:
    rows = [{"name": one.name, "result": str(one.result), "text": one.text, "remedy": one.remedy} for one in findings]
    return {"version": 1, "ok": all(one.result != "failed" for one in findings), "findings": rows}


def _print(findings: "list[Finding]", entrance: Entrance, *, offline: bool) -> None:
    from rich.console import Group
    from rich.text import Text

    from moichord.status.terminal import grid

    table = grid()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for one in findings:
        said = [Text(one.text)] + ([Text(entrance.in_words(one.remedy), style="dim")] if one.remedy else [])
        table.add_row(Text(SIGN[one.result], style=STYLE[one.result]), Text(one.name), Group(*said))
    console = entrance.console()
    console.print(table)
    failures = sum(one.result == "failed" for one in findings)
    warnings = sum(one.result == "warning" for one in findings)
    console.print(Text(f"\n{_verdict(failures, warnings)}", style=STYLE["failed" if failures else "ok"]))
    if offline:
        console.print(Text("The three servers were not asked (--offline).", style=STYLE["warning"]))


def _verdict(failures: int, warnings: int) -> str:
    from moichord.status.phrases import count

    if failures:
        return f"{count(failures, 'thing')} must be mended first."
    return f"Ready to run, with {count(warnings, 'warning')}." if warnings else "Ready to run."


COMMANDS = (init, check)
