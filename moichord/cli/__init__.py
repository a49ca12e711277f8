"""The commands: they parse, call and print. No logic.

    entrance     what every command starts with: which configuration, which state, which console
    setting_up   init, check
    running      run, process
    detaching    daemon start, stop, status
    looking      status, history
    reconciling  reconcile
    supporting   support
    asking       retry, cancel, pause, resume
    guarding     web-password
    rehearsing   sandbox, demo
    manual       man

Owns the words on the command line, what goes to stdout (data) and stderr (messages), and the exit codes. Modules that
take long to load are loaded by the command that needs them. No error leaves `main`.

Exit codes: 0 ok; 1 failed or refused; 2 usage; 3 some of several samples were refused; 4 no daemon runs (`daemon
stop` and `daemon status`); 75 temporary, try later; 78 configuration; 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from moichord import __version__
from moichord.cli.entrance import Entrance, tell
from moichord.errors import MoichordError

ONE_SHOT_OPTIONS = frozenset({"sample-id", "directory", "backoff-attempts", "attempt-number", "console-logs"})
INTERRUPTED = 130


COMMANDS = {
    **dict.fromkeys(("init", "check"), "setting_up"),
    **dict.fromkeys(("run", "process"), "running"),
    "daemon": "detaching",
    **dict.fromkeys(("status", "history"), "looking"),
    "reconcile": "reconciling",
    **dict.fromkeys(("retry", "cancel", "pause", "resume"), "asking"),
    "support": "supporting",
    "web-password": "guarding",
    **dict.fromkeys(("sandbox", "demo"), "rehearsing"),
    "man": "manual",
}
"""The module of each command, in the order in which one meets them."""


class InOrder(click.Group):
    """Lists the commands in that order, not by the alphabet, and loads the module of a command when it is needed."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            for command in import_module(f"{__name__}.{COMMANDS[cmd_name]}").COMMANDS:
                self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Errors leave with hints that name the configuration that was given."""
        try:
            return super().invoke(ctx)
        except MoichordError as error:
            if isinstance(ctx.obj, Entrance) and error.remedy is not None:
                error.remedy = ctx.obj.in_words(error.remedy)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration.")
@click.option("-v", "--verbose", is_flag=True, help="Say more (run: log at level debug).")
@click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong (run: log at level warning).")
@click.option("--no-color", "--no-colour", "plain", is_flag=True, help="No colours, as with NO_COLOR.")
@click.version_option(__version__, "-V", "--version", message="moichord %(version)s")
@click.pass_context
def commands(context: click.Context, config: Path | None, verbose: bool, quiet: bool, plain: bool) -> None:
    """Takes slide-scanner exports from a shared folder to an image server and its analytics.

    The configuration is -c FILE, else $MOICHORD_CONFIG, else ./moichord.yaml, else /etc/moichord/config.yaml.
    """
    if verbose and quiet:
        raise click.UsageError("-v and -q exclude each other.")
    context.obj = Entrance(config, dict(os.environ), verbose=verbose, quiet=quiet, colour=not plain)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    _show_what_cannot_be_encoded()
    try:
        code = commands.main(args=with_command(given), prog_name="moichord", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except MoichordError as error:
        tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has left; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        tell(MoichordError(f"{error.strerror or error}{place}"))
        return 1
    return code if isinstance(code, int) else 0


def with_command(given: list[str]) -> list[str]:
    """The original script had no commands: its options alone mean `process`."""
    first = given[0].partition("=")[0] if given else ""
    if first.startswith("--") and first[2:].replace("_", "-") in ONE_SHOT_OPTIONS:
        return ["process", *given]
    return given


def _show_what_cannot_be_encoded() -> None:
    """A terminal that lacks a letter gets an escape in its place, instead of a traceback."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
