"""The commands that look: status, history.

Owns their options and output. They change nothing and need no daemon. Errors: those of the entrance, and UsageRefused
for a sample that the state does not know.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance, OpenState, print_json
from moichord.errors import UsageRefused

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from moichord.sample import Arrival, Submission
    from moichord.status.standing import Standing

LONGEST_HISTORY = 10_000


@click.command()
@click.argument("sample", required=False)
@click.option("--watch", is_flag=True, help="Draw it anew all the time, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.pass_obj
def status(entrance: Entrance, sample: str | None, watch: bool, as_json: bool) -> None:
    """How it stands: with everything, or with one SAMPLE.

    Needs no daemon, and says whether one runs.
    """
    if watch and as_json:
        raise click.UsageError("--watch draws, for people: give it no --json.")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal.")
    if sample is None and not watch:
        _overview(entrance, as_json=as_json)
        return
    with entrance.state() as state:
        if sample is None:
            _watch(entrance, state)
        elif watch:
            _watch_one(entrance, state, sample)
        else:
            _one(entrance, state, sample, as_json=as_json)


def _overview(entrance: Entrance, *, as_json: bool) -> None:
    if as_json:
        from moichord.status import report

        print_json(report.overview_report(entrance.standing()))
    else:
        from moichord.status import terminal

        console = entrance.console()
        console.print(terminal.draw(entrance.standing(terminal.ROWS), console, most=terminal.ROWS))


def _watch(entrance: Entrance, state: OpenState) -> None:
    import threading

    from moichord.status import terminal

    console = entrance.console()

    def seen() -> "Standing":
        return state.standing(most=terminal.ROWS)

    try:
        terminal.watch(seen, console, threading.Event(), state.clock)
    except KeyboardInterrupt:
        console.print(terminal.draw(seen(), console, most=terminal.ROWS))


def _watch_one(entrance: Entrance, state: OpenState, sample: str) -> None:
    import threading

    from moichord.status import terminal

    console = entrance.console()

    def picture() -> "RenderableType":
        return _drawn(state, sample, console, events=max(3, console.height // 3))

    try:
        terminal.follow(picture, lambda drawn: drawn, console, threading.Event(), state.clock)
    except KeyboardInterrupt:
        console.print(_drawn(state, sample, console))


def _one(entrance: Entrance, state: OpenState, sample: str, *, as_json: bool) -> None:
    from moichord.status import report

    if not as_json:
        console = entrance.console()
        console.print(_drawn(state, sample, console))
        return
    standing = state.standing()
    newest, arrival = _found(state, sample)
    if newest is not None:
        detail, others = state.views.detail(newest.uuid), state.views.submissions_of(newest.sample_id)
        print_json(report.sample_report(detail, others, standing))
    elif arrival is not None:
        print_json(report.receiving_report(arrival, standing))


def _drawn(state: OpenState, sample: str, console: "Console", *, events: int | None = None) -> "RenderableType":
    """One sample as people see it; with `events`, of its timeline only the newest so many."""
    from rich.console import Group
    from rich.text import Text

    from moichord.status import timeline

    standing = state.standing()
    newest, arrival = _found(state, sample)
    arriving = [] if arrival is None else [timeline.draw_arrival(arrival, standing.at)]
    if newest is None:
        return Group(*arriving)
    detail, others = state.views.detail(newest.uuid), state.views.submissions_of(newest.sample_id)
    folder = _folder(state, detail.submission)
    story = timeline.draw_sample(detail, others, standing, folder, console, most_events=events)
    return Group(story, *(part for one in arriving for part in (Text(), one)))


def _found(state: OpenState, sample: str) -> "tuple[Submission | None, Arrival | None]":
    """Its newest submission, and its folder in the inbox. Raises UsageRefused if there is neither."""
    newest, arrival = state.views.newest(sample), _arrival(state, sample)
    if newest is None and arrival is None:
        raise unknown(sample)
    return newest, arrival


def _arrival(state: OpenState, sample: str) -> "Arrival | None":
    """The folder in the inbox of that sample ID, or of that name."""
    found = state.views.arrival_of(sample)
    if found is not None:
        return found
    return next((one for one in state.views.receiving() if one.folder_name == sample), None)


def _folder(state: OpenState, submission: "Submission") -> Path:
    """Where the sample lies now."""
    from moichord.sample import FINISHED, State

    folders = state.whereabouts.folders
    if submission.state not in FINISHED:
        return folders.work / submission.uuid / submission.folder_name
    root = folders.done if submission.state is State.DONE else folders.failed
    return root / (submission.place or submission.folder_name)


def unknown(sample: str) -> UsageRefused:
    from moichord.sample import printable

    return UsageRefused(
        f"No sample {printable(sample)} is known.",
        remedy="`moichord status` shows what is on the way, `moichord history` everything that happened.",
    )


@click.command()
@click.argument("sample", required=False)
@click.option("--since", metavar="TIME", help="Only the last 12h, 7d, ...")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.pass_obj
def history(entrance: Entrance, sample: str | None, since: str | None, as_json: bool) -> None:
    """Everything that happened: to all samples, or to one SAMPLE."""
    from moichord.status import report, timeline

    seconds = None if since is None else seconds_of(since)
    with entrance.state() as state:
        now = state.clock.now()
        after = None if seconds is None else now - seconds
        events = state.views.history(sample, after, LONGEST_HISTORY)
        if sample is not None and not events and state.views.newest(sample) is None:
            raise unknown(sample)
    if as_json:
        print_json(report.history_report(events, now))
        return
    drawn = timeline.draw_history if sample is None else timeline.draw_attempts
    entrance.console().print(drawn(events, now))
    if len(events) == LONGEST_HISTORY:
        entrance.say(f"Only the newest {LONGEST_HISTORY} rows are shown; name a sample, or use --since.")
    elif not events:
        entrance.say("Nothing happened in that time.")


def seconds_of(text: str) -> float:
    """What `--since` means. Raises BadParameter."""
    from moichord.config.values import duration

    try:
        return duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error


COMMANDS = (status, history)
