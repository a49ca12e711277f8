"""The state drawn on a terminal: at a glance, and live.

Owns the layout of the overview. It must not know what the words mean (`sentences`) or where the state is. No error
of its own leaves it. Names of folders and files are drawn as text, never as markup.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TextIO, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from moichord.clock import Clock
from moichord.sample import Arrival, State, Submission, printable
from moichord.status.line import sent_now
from moichord.status.pace import Pace
from moichord.status.phrases import ago, called, count, moment, size
from moichord.status.sentences import (
    Level,
    Sentence,
    figures,
    goes_on,
    holding_api,
    plain_state,
    sentences,
    share_sent,
)
from moichord.status.standing import Standing

STYLE = {Level.GOOD: "bold green", Level.NEWS: "bold cyan", Level.WARNING: "bold yellow", Level.PROBLEM: "bold red"}
OF_STATE = {
    State.RECEIVING: "cyan",
    State.READY: "cyan",
    State.PROCESSING: "cyan",
    State.WAITING: "yellow",
    State.DONE: "green",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
}
Seen = TypeVar("Seen")
Drawn = TypeVar("Drawn")
REFRESH_SECONDS = 0.5
ROWS = 40
"""So many of each part are drawn once; all of them are in the JSON."""
UNBOUNDED = 1000
BAR = 20
ROOMY = 100
NAME = 40
HEADING = "bold"
QUIET = "dim"


def console_for(stream: TextIO, *, colour: bool = True) -> Console:
    """A console on `stream`. Where that is no terminal, lines are as long as they need be and nothing is coloured."""
    console = Console(file=stream, no_color=None if colour else True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def draw(standing: Standing, console: Console, *, most: int | None = None) -> RenderableType:
    """The state at a glance; with `most`, each part has that many rows at most."""
    overview = standing.overview
    needing: list[Submission | Arrival] = [*standing.attention, *standing.misnamed]
    recent = [one for one in overview.recent if one not in standing.attention]
    on_the_way, width = overview.unfinished, console.width
    not_read = overview.number_unfinished - len(on_the_way)
    parts = [
        banner(sentences(standing)),
        _part("Arriving", standing.arriving, _arriving, most, width),
        _part("On the way", on_the_way, lambda one: _on_the_way(one, standing, console), most, width, not_read),
        _part("Needs attention", needing, lambda one: _needing(one, standing), most, width),
        _advice(standing),
        _part("Finished lately", recent, lambda one: _finished(one, standing.at), most, width),
        _footer(standing),
    ]
    return Group(*(part for part in parts if part is not None))


def watch(
    look: Callable[[], Standing],
    console: Console,
    stop: threading.Event,
    clock: Clock,
    *,
    screen: bool = True,
    transient: bool = False,
) -> Standing:
    """Draw what `look` sees, again and again, until `stop` is set; what it saw last.

    With `screen` the whole terminal is used, and is afterwards as it was before; without it, `transient` takes the
    last picture away.
    """

    def picture(standing: Standing) -> RenderableType:
        return draw(standing, console, most=max(3, (console.height - 12) // 4))

    pace = Pace()

    def seen_anew() -> Standing:
        """With the pace of the last minute, which tells more of now than the whole upload does."""
        standing = look()
        pace.note(clock.monotonic(), sent_now(standing))
        seconds = pace.seconds_for(1)
        return standing if seconds is None else replace(standing, rate=1 / seconds)

    return follow(seen_anew, picture, console, stop, clock, screen=screen, transient=transient)


def follow(
    look: Callable[[], Seen],
    picture: Callable[[Seen], RenderableType],
    console: Console,
    stop: threading.Event,
    clock: Clock,
    *,
    screen: bool = True,
    transient: bool = False,
) -> Seen:
    """Draw the picture of what `look` sees, as `watch` does; what it saw last."""
    seen = look()
    with Live(picture(seen), console=console, screen=screen, transient=transient, auto_refresh=False) as live:
        live.refresh()
        while not clock.wait(stop, REFRESH_SECONDS):
            seen = look()
            live.update(picture(seen), refresh=True)
        seen = look()
        live.update(picture(seen), refresh=True)
    return seen


def banner(said: Iterable[Sentence]) -> RenderableType:
    """The sentences, the first one to be seen first."""
    lines: list[RenderableType] = []
    for sentence in said:
        lines.append(Text(sentence.text, style=STYLE[sentence.level]))
        lines += [indented(Text(more)) for more in (sentence.reason, sentence.remedy) if more]
    return Group(*lines)


def indented(inner: RenderableType, by: int = 2) -> Padding:
    return Padding(inner, (0, 0, 0, by), expand=False)


def grid() -> Table:
    """Columns without lines, as wide as what they hold."""
    return Table.grid(padding=(0, 2, 0, 0), pad_edge=False)


def of_state(submission: Submission, share: float | None = None, *, daemon: bool = True) -> Text:
    """The plain state in its colour."""
    return Text(plain_state(submission, share, daemon=daemon), style=OF_STATE[submission.state])


@dataclass(frozen=True, slots=True)
class Row:
    """One sample on a line, and what there is to say of it below that line, in all the width there is."""

    name: Text
    state: Text
    rest: Text | Table
    below: tuple[Text, ...] = ()


def _part(
    heading: str,
    samples: Sequence[Drawn],
    row_of: Callable[[Drawn], Row],
    most: int | None,
    width: int,
    not_read: int = 0,
) -> RenderableType | None:
    """`not_read` are those that there are besides `samples`."""
    if not samples:
        return None
    shown = [row_of(one) for one in samples[:most]]
    # A name is to be found again with the eye: it is the last to be broken.
    name = min(NAME, max(row.name.cell_len for row in shown))
    state = max(row.state.cell_len for row in shown)
    lines = [line for row in shown for line in _lines(row, name, state, width)]
    left = len(samples) - len(shown) + not_read
    more = [indented(Text(f"and {left} more", style=QUIET))] if left else []
    return Group(Text(), Text(heading, style=HEADING), *lines, *more)


def _lines(row: Row, name: int, state: int, width: int) -> Iterator[RenderableType]:
    yield _short(_on_one_line(row, name, state), 2, width) or indented(_in_columns(row, name, state))
    yield from (_short(line, 6, width) or indented(line, 6) for line in row.below)


def _short(line: Text | None, by: int, width: int) -> Text | None:
    """The line moved in, if it then fits: what needs no second line needs no table either, which takes far longer."""
    fits = line is not None and by + line.cell_len <= width and "\n" not in line.plain
    return Text.assemble(" " * by, line, no_wrap=True) if line is not None and fits else None


def _on_one_line(row: Row, name: int, state: int) -> Text | None:
    if not isinstance(row.rest, Text) or row.name.cell_len > name:
        return None
    after_name, after_state = (
        " " * (2 + wide - cell.cell_len) for wide, cell in ((name, row.name), (state, row.state))
    )
    return Text.assemble(row.name, after_name, row.state, after_state, row.rest)


def _in_columns(row: Row, name: int, state: int) -> Table:
    table = grid()
    table.add_column(overflow="fold", width=name)
    table.add_column(no_wrap=True, width=state)
    table.add_column(overflow="fold")
    table.add_row(row.name, row.state, row.rest)
    return table


def _arriving(arrival: Arrival) -> Row:
    name = Text(printable(arrival.sample_id or arrival.folder_name))
    held = f"{count(arrival.file_count, 'file')}, {size(arrival.size)}: {arrival.reason}"
    return Row(name, Text("Receiving", style=OF_STATE[State.RECEIVING]), Text(held, style=QUIET))


def _on_the_way(submission: Submission, standing: Standing, console: Console) -> Row:
    progress = standing.overview.progress.get(submission.uuid)
    in_flight = standing.sending.get(submission.uuid, 0)
    share = share_sent(progress, in_flight)
    if progress is None:
        held = f"{count(submission.image_count, 'image')}, {size(submission.size)}"
    else:
        sent = min(progress.size, progress.size_acknowledged + in_flight)
        images = f"{progress.images_acknowledged} of {count(progress.images, 'image')}"
        held = f"{images}, {size(sent)} of {size(progress.size)}"
    rest: Text | Table = Text(held, style=QUIET)
    if share is not None and submission.state is State.PROCESSING and console.is_terminal:
        width = BAR if console.width >= ROOMY else BAR // 2
        bar = ProgressBar(1.0, share, width=width, complete_style="cyan", finished_style="green")
        rest = grid()
        rest.add_row(bar, Text(held, style=QUIET))
    state = of_state(submission, share, daemon=standing.daemon)
    return Row(_name(submission), state, rest, _why(submission, standing))


def _why(submission: Submission, standing: Standing) -> tuple[Text, ...]:
    """Why it waits, unless the banner has said so already, and when it goes on."""
    api = holding_api(submission)
    circuit = None if api is None else standing.circuit(api)
    said_above = circuit is not None and circuit.is_open
    when = goes_on(submission, circuit, standing.at, paused=standing.paused)
    then = None if when is None else called(f"{when[:1].upper()}{when[1:]}", standing.command)
    return _explained(None if said_above else submission.reason, then)


def _needing(one: Submission | Arrival, standing: Standing) -> Row:
    now = standing.at
    if isinstance(one, Submission):
        mend = None if one.remedy is None else called(one.remedy, standing.command)
        return Row(_name(one), of_state(one), _when(one, now), _explained(one.reason or "It failed.", mend))
    since = Text(f"in the inbox since {moment(one.first_seen_at, now)}", style=QUIET)
    state = Text("Needs attention", style=OF_STATE[State.FAILED])
    return Row(Text(printable(one.folder_name)), state, since, _explained(_sentence(one.reason), None))


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."


def _explained(reason: str | None, then: str | None) -> tuple[Text, ...]:
    return tuple(Text(line, style=style) for line, style in ((reason, ""), (then, QUIET)) if line)


def _finished(submission: Submission, now: float) -> Row:
    held = Text(f", {count(submission.image_count, 'image')}, {size(submission.size)}", style=QUIET)
    return Row(_name(submission), of_state(submission), _when(submission, now).append_text(held))


def _advice(standing: Standing) -> RenderableType | None:
    may_go_on = next((one for one in standing.attention if not one.is_lost), None)
    if may_go_on is None:
        return None
    name = printable(may_go_on.sample_id)
    words = f"The story of one: moichord status {name}. When it is mended: moichord retry {name}"
    return indented(Text(called(words, standing.command)), 4)


def _when(submission: Submission, now: float) -> Text:
    at = submission.finished_at or submission.taken_at
    return Text(ago(at, now) if now - at < 3600 else moment(at, now), style=QUIET)


def _name(submission: Submission) -> Text:
    name = Text(printable(submission.sample_id))
    if submission.attempt_number > 1:
        name.append(f" (attempt {submission.attempt_number})", style=QUIET)
    return name


def _footer(standing: Standing) -> RenderableType | None:
    said = [*figures(standing), *_so_far(standing)]
    return Group(Text(), *(Text(line, style=QUIET) for line in said)) if said else None


def _so_far(standing: Standing) -> Iterator[str]:
    counts = standing.overview.counts
    ended = {"sent": State.DONE, "failed": State.FAILED, "cancelled": State.CANCELLED}
    so_far = ", ".join(f"{counts[state]} {word}" for word, state in ended.items() if counts.get(state))
    said = ["The daemon is running."] if standing.daemon else []
    said += [f"So far {so_far}."] if so_far else []
    if said:
        yield " ".join(said)
