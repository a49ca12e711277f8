"""The command that compares a list of samples with what came: reconcile.

Owns its options and output. It changes nothing and needs no daemon. Errors: those of the entrance.
"""

from typing import IO, TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance, print_json
from moichord.cli.looking import seconds_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moichord.status.reconcile import Reconciliation

SOME_MISSING = 3
STYLE = {"missing": "bold red", "failed": "red", "waiting": "yellow", "done": "green", "unexpected": "magenta"}


@click.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--since", metavar="TIME", help="Count only samples that came in the last 12h, 7d, ...")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.pass_obj
def reconcile(entrance: Entrance, file: IO[bytes], since: str | None, as_json: bool) -> int:
    """Which samples of a list came: those that are missing, failed, waiting, done, or came unexpected.

    FILE holds one sample ID a line, or is a CSV file with the IDs in its first column. Exit code 3 if any is missing.
    """
    from moichord.status.reconcile import expected_ids, reconcile, report

    seconds = None if since is None else seconds_of(since)
    expected = expected_ids(file.read())
    if not expected:
        raise click.UsageError("The list names no sample.")
    with entrance.state() as state:
        now = state.clock.now()
        after = None if seconds is None else now - seconds
        result = reconcile(expected, state.views.newest_of_each(after), state.views.overview(recent=0).receiving)
    if as_json:
        print_json(report(result, now, after))
    else:
        entrance.console().print(_drawn(result, now))
    return SOME_MISSING if result.missing else 0


def _drawn(result: "Reconciliation", now: float) -> "RenderableType":
    """All but those that are well; then all of them in one line."""
    from rich.console import Group
    from rich.text import Text

    from moichord.sample import printable
    from moichord.status.phrases import moment
    from moichord.status.reconcile import summary
    from moichord.status.terminal import grid

    table = grid()
    for kind in ("missing", "failed", "waiting", "unexpected"):
        for found in result.of(kind):
            state = "" if found.state is None or str(found.state) == kind else str(found.state)
            since = "" if found.at is None else moment(found.at, now)
            said = printable(found.reason or "")
            table.add_row(Text(kind, style=STYLE[kind]), Text(printable(found.sample_id)), state, since, Text(said))
    last = Text(f"{summary(result)}.", style=STYLE["missing"] if result.missing else STYLE["done"])
    return Group(table, last) if table.row_count else last


COMMANDS = (reconcile,)
