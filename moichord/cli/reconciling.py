"""The command that compares a list of samples with what came: reconcile.

Owns its options and output. It changes nothing and needs no daemon. Errors: those of the entrance, `ListUnavailable`
and `ListUnreadable`; MoichordError where the server refuses the list for good.
"""

from typing import IO, TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance, print_json
from moichord.cli.looking import seconds_of
from moichord.errors import ApiFailure, ApiRefusal, ApiTransient, ListUnavailable, MoichordError, UsageRefused

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moichord.status.reconcile import Reconciliation

SOME_MISSING = 3
RETRY_IT = "retry the sample."
STYLE = {"missing": "bold red", "failed": "red", "waiting": "yellow", "done": "green", "unexpected": "magenta"}


@click.command()
@click.argument("file", type=click.File("rb"), metavar="[FILE|-]", required=False)
@click.option("--since", metavar="TIME", help="Count only samples that came in the last 12h, 7d, ...")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.pass_obj
def reconcile(entrance: Entrance, file: IO[bytes] | None, since: str | None, as_json: bool) -> int:
    """Which samples of a list came: those that are missing, failed, waiting, done, or came unexpected.

    FILE holds one sample ID a line, or is a CSV file with the IDs in its first column. Without FILE the metadata server
    is asked for the list, at metadata.list_url. Exit code 3 if any is missing.
    """
    from moichord.status.reconcile import expected_ids, reconcile, report

    seconds = None if since is None else seconds_of(since)
    if file is None:
        expected = _asked_for(entrance)
    elif not (expected := expected_ids(file.read())):
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


def _asked_for(entrance: Entrance) -> list[str]:
    """The sample IDs that the laboratory's system lists."""
    from contextlib import closing

    from moichord.apis.sample_list import SampleList
    from moichord.clock import SystemClock
    from moichord.status.reconcile import listed_ids
    from moichord.templates import ValueUnsuitable
    from moichord.wiring import list_client

    settings = entrance.settings()
    client = list_client(settings, SystemClock())
    if client is None:
        raise UsageRefused(
            "No list of expected samples is given.",
            remedy="Name a file, or - for standard input; or set metadata.list_url, where the list is asked for.",
        )
    path = settings.metadata.list_ids
    try:
        with closing(client):
            reply = SampleList(client).fetch()
        return listed_ids(reply if path is None else path.search(reply))
    except ApiFailure as failure:
        raise _not_had(failure) from failure
    except ValueUnsuitable:
        return listed_ids(None)


def _not_had(failure: ApiFailure) -> MoichordError:
    """The same, for somebody who waits at a terminal: nobody tries again by himself."""
    kind = MoichordError if isinstance(failure, ApiRefusal) else ListUnavailable
    wrote = f" It wrote: {failure.detail}" if failure.detail else ""
    remedy = "Try again later. If it goes on, look at that server's own log, and check metadata.list_url."
    if not isinstance(failure, ApiTransient) and failure.remedy is not None:
        remedy = failure.remedy.replace("metadata.url", "metadata.list_url").replace(RETRY_IT, "try again.")
    return kind(f"{failure.problem}{wrote}", remedy=remedy)


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
