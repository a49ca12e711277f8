"""The command for those who guard the page: web-password.

Owns its options. Errors: those of the entrance, UsageRefused for a name or password that cannot be taken, OSError told
as a usage error where the file cannot be written.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from moichord.cli.entrance import Entrance
from moichord.errors import ConfigurationInvalid, UsageRefused


@click.command("web-password")
@click.argument("name")
@click.option(
    "--file",
    "given",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The password file (default: web.password_file of the configuration).",
)
@click.pass_obj
def web_password(entrance: Entrance, name: str, given: Path | None) -> None:
    """Let NAME see the page: asks for a password, and keeps it as a scrypt hash.

    Without a terminal, the password is the first line of the standard input. To shut somebody out, delete their line.
    """
    from moichord.durable import replace_text
    from moichord.status.web.passwords import read_people, stored, with_person

    file = given if given is not None else _configured(entrance)
    text = ""
    if file.exists():
        read_people(file)  # nothing is added to a file that cannot be used
        text = file.read_text("utf-8")
    made = stored(_asked())
    try:
        replace_text(file, with_person(text, name, made), mode=None if text else 0o600)
        _give_to_the_daemon(entrance, file, new=not text)
    except OSError as error:
        raise UsageRefused(
            f"{file} cannot be written: {error.strerror}",
            remedy="Run the command with sudo, or as a user who may write there.",
        ) from error
    click.echo(f"{name} may sign in now; the daemon notices by itself.")
    if given is not None:
        entrance.say(f"The configuration names it so: web: {{password_file: {file.absolute()}}}")


def _configured(entrance: Entrance) -> Path:
    from moichord.config import load_page

    file = load_page(entrance.config_path(), entrance.environ).web.password_file
    if file is None:
        raise UsageRefused(
            "The configuration names no web.password_file.",
            remedy="Name one there, or with --file.",
        )
    return file


def _asked() -> str:
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n")


def _give_to_the_daemon(entrance: Entrance, file: Path, *, new: bool) -> None:
    """Who is root makes the file for the daemon's user, who owns the state's folder."""
    if not new or os.name != "posix" or os.geteuid() != 0:
        return
    with suppress(ConfigurationInvalid, FileNotFoundError):
        status = entrance.whereabouts().state.parent.stat()
        os.chown(file, status.st_uid, status.st_gid)


COMMANDS = (web_password,)
