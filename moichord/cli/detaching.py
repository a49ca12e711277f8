"""The commands of the detached mode: daemon start, stop, status.

Owns their words, and where a detached daemon logs. They are for machines without systemd; there, the unit does all of
this. Errors: those of the service, told in the terminal though the daemon met them; NoDaemon, UsageRefused.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from moichord import __version__
from moichord.cli.entrance import Entrance, print_json
from moichord.errors import MoichordError, NoDaemon, UsageRefused

if TYPE_CHECKING:
    from moichord.config import Settings
    from moichord.daemonize import Launch, Process, Started
    from moichord.durable import Lock

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
MOST_NAMED = 5
IN_THE_JOURNAL = "the journal (journalctl -t moichord)"


@click.group("daemon")
def daemon() -> None:
    """The daemon detached from the terminal: start, stop, status. With systemd, use its unit instead."""


@daemon.command()
@click.pass_obj
def start(entrance: Entrance) -> None:
    """Start it, and return when it is ready, or when it has said why not.

    Exit code 78 if the configuration is wrong, 75 if a daemon runs with this state already.
    """
    from moichord.daemonize import Launch, complete_standard_streams, path_of, read
    from moichord.service import hold

    if os.name != "posix":
        raise UsageRefused("The detached mode needs Linux or another POSIX system.", remedy="Use: moichord run")
    complete_standard_streams()
    # In the daemon the working directory is another one.
    entrance = replace(entrance, config=entrance.config_path().absolute())
    settings = entrance.settings()
    lock, launch = hold(settings.state), Launch()
    child = os.fork()
    if child == 0:
        sys.exit(_be_the_daemon(entrance, settings, lock, launch))
    try:
        status = launch.wait(child)
    except MoichordError as error:
        error.remedy = error.remedy or f"Its log may say more: {_log_of(settings)}"
        raise
    except KeyboardInterrupt:
        entrance.say("It goes on starting; see: moichord daemon status")
        raise
    started = read(path_of(settings.state))
    click.echo(f"moichord runs as process {started.pid if started else '(it has ended since)'}.")
    if status:
        click.echo(f"  {status}")
    click.echo(f"  log:     {_log_of(settings)}")
    click.echo(f"  status:  moichord -c {entrance.config} status")


def _be_the_daemon(entrance: Entrance, settings: "Settings", lock: "Lock", launch: "Launch") -> int:
    """The child's whole life: leave, open everything, serve; what ends it goes into the log and to the terminal."""
    from moichord.cli.running import serve_with
    from moichord.daemonize import Started, leave_terminal, path_of, written

    sys.excepthook = _log_what_nobody_caught
    telling = launch.take_child_side()
    environ = launch.environment(entrance.environ)
    os.environ.clear()
    os.environ.update(environ)
    entrance = replace(entrance, environ=environ)
    leave_terminal([lock.fileno(), telling])
    started = Started(os.getpid(), time.time(), __version__, _log_of(settings))
    try:
        with written(path_of(settings.state), started):
            serve_with(entrance, settings, _log_file_of(settings), lock=lock)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _ended_by(MoichordError(f"{error.strerror or error}{place}"), launch)
    except MoichordError as error:
        return _ended_by(error, launch)
    return 0


def _ended_by(error: MoichordError, launch: "Launch") -> int:
    log.error("%s", " ".join(filter(None, [error.problem, error.remedy])))
    launch.tell_failure(error)
    return error.exit_code


def _log_what_nobody_caught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("moichord broke", exc_info=(kind, error, trace))


def _log_file_of(settings: "Settings") -> Path | None:
    """Nobody sees what a detached daemon says, so it needs a file; None if the journal has it."""
    if settings.logging.format == "journald":
        return None
    return settings.logging.file or settings.state.with_name(settings.state.name + ".log")


def _log_of(settings: "Settings") -> str:
    file = _log_file_of(settings)
    return IN_THE_JOURNAL if file is None else os.fspath(file)


@daemon.command()
@click.pass_obj
def stop(entrance: Entrance) -> None:
    """Stop it, and return when the requests in flight have ended.

    The first Ctrl-C breaks those off, the second one leaves the daemon to itself. Exit code 4 if no daemon runs.
    """
    from moichord.queue.holder import daemon_holds, lock_file_of

    state = entrance.whereabouts().state
    with _running(state) as process, _interrupts() as interrupts:
        process.terminate()
        entrance.say(f"Stopping process {process.pid}.{_what_it_waits_for(entrance)}")
        heeded, never = 0, threading.Event()
        while daemon_holds(state) and process.has_open(lock_file_of(state)):
            if len(interrupts) > heeded:
                heeded += 1
                if heeded > 1:
                    entrance.say("It goes on stopping.")
                    raise click.Abort
                process.terminate()
                entrance.say("The requests in flight are broken off; they are repeated after the next start.")
            never.wait(LOOK_SECONDS)
    click.echo("Stopped.")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C is only counted inside, whatever it comes in the middle of."""
    counted: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: counted.append(number))
    try:
        yield counted
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _running(state: Path) -> "Iterator[Process]":
    """The daemon that `daemon start` started. Raises NoDaemon; UsageRefused if it was started otherwise."""
    _, process = _found(state)
    if process is None:
        raise UsageRefused(
            f"A daemon runs with the state {state}, but not one that `moichord daemon start` started.",
            remedy="Stop it where it was started: `systemctl stop moichord`, or Ctrl-C in its terminal.",
        )
    with process:
        yield process


def _found(state: Path) -> "tuple[Started | None, Process | None]":
    """What runs; nothing is known of a daemon that was started otherwise. Raises NoDaemon."""
    from moichord.daemonize import path_of, process_of, read
    from moichord.queue.holder import daemon_holds, lock_file_of

    started = read(path_of(state))
    try:
        held = daemon_holds(state)
    except PermissionError as error:
        raise UsageRefused(
            f"The state {state} belongs to another user.", remedy="Ask as the user of the daemon, or as root."
        ) from error
    if not held:
        killed = f"The last one (process {started.pid}) was killed; its log: {started.log}" if started else None
        raise NoDaemon(f"No daemon runs with the state {state}.", remedy=killed)
    process = process_of(started, lock_file_of(state)) if started is not None else None
    return (started, process) if process is not None else (None, None)


def _what_it_waits_for(entrance: Entrance) -> str:
    from moichord.status.phrases import count

    try:
        with entrance.state() as state:
            standing = state.standing()
            in_flight = standing.sending
            names = [one.sample_id for one in standing.overview.processing if one.uuid in in_flight]
    except (MoichordError, OSError):
        return ""
    if not names:
        return ""
    shown = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    return f" Requests of {count(len(names), 'sample')} may still finish ({shown}); Ctrl-C breaks them off."


@daemon.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs: a stable schema, version 1.")
@click.pass_obj
def daemon_status(entrance: Entrance, as_json: bool) -> int:
    """Whether it runs, since when, and where it logs. Exit code 4 if no daemon runs."""
    state = entrance.whereabouts().state
    try:
        started, process = _found(state)
    except NoDaemon as none:
        if as_json:
            print_json(_report(state, running=False))
        else:
            click.echo("\n  ".join(filter(None, [none.problem, none.remedy])))
        return none.exit_code
    if process is not None:
        process.close()
    if as_json:
        print_json(_report(state, running=True, started=started))
        return 0
    if started is None:
        click.echo(f"A daemon runs with the state {state}; `moichord daemon start` did not start it.")
        return 0
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started.since))
    click.echo(f"moichord {started.version} runs as process {started.pid} since {since}.")
    click.echo(f"  log:  {started.log}")
    return 0


def _report(state: Path, *, running: bool, started: "Started | None" = None) -> dict[str, object]:
    from moichord.receipt import iso

    return {
        "version": 1,
        "state": os.fspath(state),
        "running": running,
        "detached": started is not None,
        "pid": started.pid if started else None,
        "since": iso(started.since) if started else None,
        "moichord": started.version if started else None,
        "log": started.log if started else None,
    }


COMMANDS = (daemon,)
