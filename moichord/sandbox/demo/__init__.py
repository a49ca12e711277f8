"""The demonstration: everything on this machine in one command, and a summary that explains itself.

    cast      who appears, and what goes wrong on purpose
    stage     the folder, the configuration, the scanner, the daemon's process
    screen    what is seen of it
    browsing  its page, in a browser
    verdict   what became of each sample, as both sides know it
    telling   the words

Owns the order of events. It must not know how the daemon works: it starts it like anybody, and reads its state.
Errors: `UsageRefused` for a folder that is in use, `OSError` where something cannot be written or started.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from moichord.clock import Clock, SystemClock
from moichord.queue.database import Database
from moichord.queue.views import Views
from moichord.sample import FINISHED, State
from moichord.sandbox.demo import browsing, telling
from moichord.sandbox.demo.cast import BUSY_SECONDS, CAST, BusyServer, Part
from moichord.sandbox.demo.screen import Screen
from moichord.sandbox.demo.stage import Daemon, Scanner, Stage, free_port, set_up, write_configuration
from moichord.sandbox.demo.verdict import Trip, trip_of
from moichord.sandbox.faults import Rehearsal
from moichord.sandbox.stand_in import StandInApis
from moichord.status.standing import Standing, look

LONGEST_SECONDS = 50.0
LATENCY_SECONDS = 0.3
HEED_SECONDS = 0.2
INTERRUPTED = 130
AS_PLANNED, OTHERWISE = 0, 1


def run_demo(folder: Path | None = None, *, colour: bool = True, keep: bool = False, browser: bool = True) -> int:
    """Show moichord at work in `folder`, new or empty (None: `moichord-demo` here); the exit code.

    0 if everything went as planned, 1 if not, 130 if it was interrupted. Whatever was started has ended by then; with
    `keep` it goes on after the summary, until Ctrl-C. With `browser` its page is opened where there is a screen.
    """
    stage = set_up(folder)
    screen = Screen(colour=colour)
    shown = _shown(stage.root)
    screen.heading(telling.TITLE)
    screen.lines(telling.introduction(shown))
    clock = SystemClock()
    opens = browser and browsing.can_be_opened(os.environ, terminal=sys.stdout.isatty())
    with interruptions() as interrupted, _played(stage, screen, clock, interrupted, opens=opens) as trips:
        if keep and not interrupted.noticed:
            code = _summarise(stage, screen, trips)
            screen.gap()
            screen.lines([telling.KEPT])
            _until(interrupted, clock)
            return code
    if interrupted.noticed:
        screen.heading(telling.INTERRUPTED)
        screen.lines([f"What there is so far lies in {shown}."])
        return INTERRUPTED
    return _summarise(stage, screen, trips)


def _until(interrupted: "Interruptions", clock: Clock) -> None:
    never = threading.Event()
    while not interrupted.noticed:
        clock.wait(never, HEED_SECONDS)


@contextmanager
def _played(
    stage: Stage, screen: Screen, clock: Clock, interrupted: "Interruptions", *, opens: bool
) -> Iterator[list[Trip]]:
    """Start everything and show it until the last sample has ended; what became of the samples. Everything stops with
    the context."""
    apis = StandInApis(
        keep_files=stage.image_server,
        record=stage.image_server.with_name("requests.jsonl"),
        rehearsal=Rehearsal(latency=LATENCY_SECONDS),
    )
    with apis, _state(stage) as views:
        busy = BusyServer(next(role.sample_id for role in CAST if role.part is Part.RETRIED))
        apis.fail_for(busy, status=503, headers={"Retry-After": str(BUSY_SECONDS)})
        port = free_port()
        write_configuration(stage, apis.environment(), port)
        screen.lines([telling.page(port, opens=opens)])
        with Daemon(stage, apis.environment()) as daemon, Scanner(stage, CAST) as scanner:
            over = threading.Event()
            deadline = clock.monotonic() + LONGEST_SECONDS
            if opens:
                browsing.open_soon(port, clock, over)

            def watched() -> Standing:
                scanner.raise_trouble()
                standing = look(views, stage.failed, daemon.runs, clock)
                if ended(standing) or interrupted.noticed or not daemon.runs() or clock.monotonic() > deadline:
                    over.set()
                return standing

            screen.follow(watched, views, over, clock)
            yield [trip_of(role, views, apis, stage) for role in CAST]


def ended(standing: Standing) -> bool:
    """Whether every sample has come to its end."""
    return sum(standing.overview.counts.get(state, 0) for state in FINISHED) >= len(CAST)


def _summarise(stage: Stage, screen: Screen, trips: list[Trip]) -> int:
    folder, command = _shown(stage.root), _command()
    good = all(trip.went_well for trip in trips)
    screen.heading(telling.AS_PLANNED if good else telling.OTHERWISE, of=State.DONE if good else State.FAILED)
    screen.stories([(trip, telling.story(trip)) for trip in telling.in_order(trips)])
    if not good:
        screen.gap()
        screen.heading(f"The end of the daemon's log, {folder}/{stage.log.name}")
        screen.verbatim(stage.last_of_log())
        return OTHERWISE
    screen.gap()
    screen.lines([telling.proof(trips)])
    screen.gap()
    screen.heading(f"To look at, in {folder}")
    screen.pairs(telling.places(trips))
    screen.gap()
    screen.verbatim([telling.question(folder, command, trips)])
    screen.gap()
    screen.heading("To set up a real one")
    screen.pairs(telling.next_commands(command))
    return AS_PLANNED


@contextmanager
def _state(stage: Stage) -> Iterator[Views]:
    """The daemon's state, to be read. It is made here, so that there is something to read from the first moment."""
    database = Database(stage.state)
    try:
        database.open()
        yield Views(database)
    finally:
        database.close()


class Interruptions:
    """Whether somebody wants this to end: noticed by a signal, acted upon between two looks.

    A flag and no event: a handler may run while the main thread holds an event's own lock.
    """

    def __init__(self) -> None:
        self.noticed = False

    def notice(self, _number: int, _frame: FrameType | None) -> None:
        self.noticed = True


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Inside, Ctrl-C and its kin do not break off what is being cleaned up."""
    interrupted = Interruptions()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {name: signal.signal(getattr(signal, name), interrupted.notice) for name in names}
    try:
        yield interrupted
    finally:
        for name, handler in previous.items():
            signal.signal(getattr(signal, name), handler)


def _shown(root: Path) -> str:
    """A folder as a person would type it from here."""
    here = Path.cwd()
    return str(root.relative_to(here) if root.is_relative_to(here) else root)


def _command() -> str:
    """How this moichord is called, so that what is shown can be typed."""
    called = Path(sys.argv[0])
    if called.stem != "moichord":
        return f"{sys.executable} -m moichord"
    found = shutil.which("moichord")
    return "moichord" if found and called.exists() and called.samefile(found) else str(called)
