"""The demonstration as it is seen: live on a terminal, as lines elsewhere, and the summary on both.

Owns its layout. It must not know the story or the facts. No error of its own leaves it.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from operator import itemgetter

from moichord.clock import Clock
from moichord.queue.views import Views
from moichord.sample import Event, State, printable
from moichord.sandbox.demo.verdict import Trip
from moichord.status.phrases import count
from moichord.status.standing import Standing
from moichord.status.terminal import HEADING, OF_STATE, QUIET, console_for, grid, indented, of_state, watch

LINES_SECONDS = 0.2
WIDEST = 110


class Screen:
    """Standard output, whatever it is."""

    def __init__(self, *, colour: bool = True) -> None:
        self._console = console_for(sys.stdout, colour=colour)
        # Text wider than this is hard to read, and a file has no width of its own.
        self._console.width = min(self._console.width, WIDEST)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal

    def heading(self, text: str, *, of: State | None = None) -> None:
        """A line that begins a part; in the colour of a state, if it tells of one."""
        self._console.print(text, style=HEADING if of is None else f"{HEADING} {OF_STATE[of]}")

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(indented(line))

    def gap(self) -> None:
        self._console.print()

    def verbatim(self, lines: Iterable[str]) -> None:
        """Lines as they are: to be copied, never broken."""
        for line in lines:
            self._console.print(f"  {printable(line)}", soft_wrap=True)

    def stories(self, told: Iterable[tuple[Trip, list[str]]]) -> None:
        """One paragraph for each sample."""
        table = grid()
        table.add_column(no_wrap=True, style=HEADING)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for trip, story in told:
            state = of_state(trip.submission) if trip.submission else "Not taken"
            table.add_row(trip.role.sample_id, state, "\n".join(story))
        self._console.print(indented(table))

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """What to look at or to type, and what it is for."""
        table = grid()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", style=QUIET)
        for left, right in pairs:
            table.add_row(printable(left), right)
        self._console.print(indented(table))

    def follow(self, look: Callable[[], Standing], views: Views, stop: threading.Event, clock: Clock) -> None:
        """Show what `look` sees until `stop` is set."""
        self.gap()
        if self._live:
            watch(look, self._console, stop, clock, screen=False, transient=True)
            return
        changes = Changes(clock.now())
        while True:
            last = stop.is_set()
            for line in changes.since_last_time(look(), views):
                self._console.print(line, soft_wrap=True)
            if last:
                self.gap()
                return
            clock.wait(stop, LINES_SECONDS)


class Changes:
    """What changes, as lines: one for every change of a sample's state, with the seconds since the beginning."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._told = 0
        self._received: set[str] = set()

    def since_last_time(self, standing: Standing, views: Views) -> list[str]:
        """The lines of what is new, in the order in which it happened."""
        found = []
        for arrival in standing.overview.receiving:
            if arrival.folder_name not in self._received:
                self._received.add(arrival.folder_name)
                found.append((arrival.first_seen_at, arrival.folder_name, State.RECEIVING, "its folder is there"))
        events = views.history(None, self._began)
        for event in events[self._told :]:
            if event.state is not None:
                found.append((event.at, event.sample_id, event.state, _text(event)))
        self._told = len(events)
        return [self._line(*change) for change in sorted(found, key=itemgetter(0))]

    def _line(self, at: float, sample: str, state: State, text: str) -> str:
        return f"{at - self._began:5.1f} s  {printable(sample):<8} {state!s:<11} {printable(text)}"


def _text(event: Event) -> str:
    """An event's own words, completed where they would leave a question."""
    match event.state:
        case State.PROCESSING:
            return f"at the step {event.step}"
        case State.READY:
            return f"complete: {event.text}, {count(event.detail.get('images', 0), 'image')}"
        case State.WAITING if event.detail.get("until"):
            return f"{event.text} Next try in {event.detail['until'] - event.at:.0f} s."
        case State.DONE:
            return "all images stored, analytics triggered, filed"
    return event.text
