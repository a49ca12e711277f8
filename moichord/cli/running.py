"""The commands that process samples: run, process.

Owns their options. Errors: those of the service and of the one-shot.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance

if TYPE_CHECKING:
    from moichord.config import Settings
    from moichord.durable import Lock


@click.command()
@click.option(
    "--adopt-work", is_flag=True, help="Return the samples in another, lost state's work folder to the inbox first."
)
@click.pass_obj
def run(entrance: Entrance, adopt_work: bool) -> None:
    """The daemon, in the foreground, until SIGTERM or Ctrl-C."""
    settings = entrance.settings()
    serve_with(entrance, settings, settings.logging.file, adopt_work=adopt_work)


def serve_with(
    entrance: Entrance,
    settings: "Settings",
    log_file: Path | None,
    *,
    adopt_work: bool = False,
    lock: "Lock | None" = None,
) -> None:
    """The daemon until it is stopped; `lock` is that of its state, if it is held already."""
    from moichord.config import load
    from moichord.reload import Source
    from moichord.service import serve

    path = entrance.config_path().absolute()
    otherwise = log_file if settings.logging.file is None else None

    def set_up_anew(changed: "Settings", secrets: Iterable[str]) -> None:
        set_up_logs(entrance, changed, changed.logging.file or otherwise, secrets)

    set_up_logs(entrance, settings, log_file)
    source = Source(lambda: load(path, entrance.environ), set_up_anew)
    serve(settings, adopt_work=adopt_work, lock=lock, source=source)


def set_up_logs(entrance: Entrance, settings: "Settings", file: Path | None, secrets: Iterable[str] = ()) -> None:
    """As the configuration says, into `file`; None: to standard error, or to the journal. Raises OSError.

    Not only the settings' own secrets are masked, but these `secrets` too.
    """
    from moichord import logs

    wanted = settings.logging
    logs.setup(
        level="debug" if entrance.verbose else "warning" if entrance.quiet else wanted.level,
        format=wanted.format,
        file=file,
        rotation=logs.Rotation(wanted.rotate, wanted.keep),
        stream=sys.stderr if file is None else None,
        journal_stream=entrance.environ.get("JOURNAL_STREAM"),
        secrets=(*settings.secrets(), *secrets),
        colour=entrance.colour and not entrance.environ.get("NO_COLOR"),
    )


@click.command()
@click.option("--sample_id", "--sample-id", required=True, help="The sample's ID.")
@click.option(
    "--directory",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with its images (*.dcm, at any depth).",
)
@click.option(
    "--backoff_attempts",
    "--backoff-attempts",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Retries after a first try that failed for a passing reason.",
)
@click.option(
    "--attempt_number",
    "--attempt-number",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="1 for the sample's first submission, 2 for its next, ...",
)
@click.option(
    "--console_logs",
    "--console-logs",
    type=click.BOOL,
    default=False,
    show_default=True,
    metavar="True|False",
    help="Log to the terminal too, not only to moichor.log.",
)
@click.pass_obj
def process(
    entrance: Entrance,
    sample_id: str,
    directory: Path,
    backoff_attempts: int,
    attempt_number: int,
    console_logs: bool,
) -> int:
    """One directory, once: tags its images where they lie, sends them and triggers analytics.

    Needs no configuration file but MD_URL, MD_KEY, U_URL, U_KEY, A_URL and A_KEY, in the environment or in ./.env.
    """
    from moichord.oneshot import OneShot, run_once

    options = OneShot(sample_id, directory, backoff_attempts, attempt_number, console_logs)
    return run_once(options, entrance.environ)


COMMANDS = (run, process)
