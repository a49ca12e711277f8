"""The commands that try things out on loopback: sandbox, demo.

Owns their options. Errors: those of the sandbox.
"""

import signal
from pathlib import Path

import click

from moichord.cli.entrance import Entrance


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port (default: a free one).")
@click.option("--any-sample", is_flag=True, help="Know every sample ID, not only the catalogue's.")
@click.option("--fail-rate", type=click.FloatRange(0, 1), default=0.0, help="Share of requests that fail, 0 to 1.")
@click.option("--latency", metavar="TIME", help="Let every answer wait: 200ms, 2s, ...")
@click.option(
    "--reject",
    multiple=True,
    metavar="WHAT",
    help="Refuse SAMPLE, SAMPLE:STATUS, metadata:STATUS, upload:STATUS, analytics:STATUS or STATUS; may be repeated.",
)
@click.option("--seed", type=int, help="Repeat the same chances.")
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write every request to FILE."
)
@click.option(
    "--keep-files",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the received images in DIR.",
)
def sandbox(
    port: int,
    any_sample: bool,
    fail_rate: float,
    latency: str | None,
    reject: tuple[str, ...],
    seed: int | None,
    record: Path | None,
    keep_files: Path | None,
) -> None:
    """Only the stand-in APIs, on loopback, for rehearsals; until Ctrl-C."""
    import threading

    from moichord.sandbox.faults import Rehearsal, parse_rejection
    from moichord.sandbox.rehearsal import run_sandbox

    rehearsal = Rehearsal(fail_rate, _seconds(latency), tuple(parse_rejection(text) for text in reject), seed)
    # Both ends are alike: the stand-ins close their port and their files.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_sandbox(
            stop=threading.Event(),
            say=click.echo,
            port=port,
            any_sample=any_sample,
            rehearsal=rehearsal,
            record=record,
            keep_files=keep_files,
        )
    except KeyboardInterrupt:
        click.echo("The stand-in APIs have stopped.", err=True)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _seconds(text: str | None) -> float:
    from moichord.config.values import duration

    try:
        return 0.0 if text is None else duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--latency") from error


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where it takes place: a new or empty folder (default: ./moichord-demo).",
)
@click.option("--keep", is_flag=True, help="Let everything run on after the summary, until Ctrl-C.")
@click.option("--no-browser", is_flag=True, help="Only name the page's address, and open no browser with it.")
@click.pass_obj
def demo(entrance: Entrance, folder: Path | None, keep: bool, no_browser: bool) -> int:
    """Everything on loopback: stand-in APIs, drawn samples, the daemon with its page, a live view. Ends by itself."""
    from moichord.sandbox.demo import run_demo

    return run_demo(folder, colour=entrance.colour, keep=keep, browser=not no_browser)


COMMANDS = (sandbox, demo)
