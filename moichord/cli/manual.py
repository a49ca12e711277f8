"""The manual page, made from the commands themselves: man.

Owns the page in the language of man(7). It must not know single commands. No error leaves it.
"""

import re
from collections.abc import Iterator

import click

SECTION = 8
EXIT_CODES = {
    0: "All is well.",
    1: "It failed, or was refused.",
    2: "Wrong usage.",
    3: "Some of several samples failed, were refused, or are missing.",
    4: "No daemon runs.",
    75: "Temporary; try later.",
    78: "The configuration is wrong.",
    130: "Interrupted.",
}
FILES = {
    "./moichord.yaml, /etc/moichord/config.yaml": "The configuration, unless -c or MOICHORD_CONFIG names one.",
    "moichord-receipt.json": "In every finished folder: what was sent, and the proof of it.",
    "moichord-FAILED.txt": "In every failed folder: what is wrong, and what to do.",
}
COMPLETION = {
    "bash": 'eval "$(_MOICHORD_COMPLETE=bash_source moichord)"',
    "zsh": 'eval "$(_MOICHORD_COMPLETE=zsh_source moichord)"',
    "fish": "_MOICHORD_COMPLETE=fish_source moichord | source",
}


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page: moichord man | man -l -"""
    root = context.find_root()
    click.echo("\n".join(page(root.command, root)))


def page(program: click.Command, context: click.Context) -> Iterator[str]:
    """The lines of the manual page of `program` and of all its commands."""
    from moichord import __version__

    version = f"moichord {__version__}"
    yield " ".join((".TH", "MOICHORD", str(SECTION), '""', _quoted(version), _quoted("System administration")))
    yield from _section("NAME", [f"moichord {chr(92)}- {_text(_first(program))}"])
    yield from _section("SYNOPSIS", [f".B {_text(' '.join(('moichord', *program.collect_usage_pieces(context))))}"])
    yield from _section("DESCRIPTION", _paragraphs(program.help or ""))
    yield from _section("OPTIONS", _options(program, context))
    yield ".SH COMMANDS"
    for usage, command, inner in _commands(program, context):
        yield f".SS {_quoted(usage)}"
        yield from _paragraphs(command.help or "")
        yield from _options(command, inner)
    yield from _section("EXIT STATUS", _list({str(code): text for code, text in EXIT_CODES.items()}))
    yield from _section("FILES", _list(FILES))
    yield from _section("COMPLETION", _list({f"For {shell}:": command for shell, command in COMPLETION.items()}))


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that is no group, with its usage, in the order of the help."""
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is None or inner.hidden:
            continue
        below = click.Context(inner, info_name=name, parent=context)
        if isinstance(inner, click.Group):
            yield from _commands(inner, below)
        else:
            yield " ".join((below.command_path, *inner.collect_usage_pieces(below))), inner, below


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = (one.get_help_record(context) for one in command.get_params(context))
    yield from _list({record[0]: record[1] for record in records if record is not None})


def _section(name: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield f".SH {_quoted(name)}"
    yield from lines


def _list(entries: dict[str, str]) -> Iterator[str]:
    for name, text in entries.items():
        yield from (".TP", f".B {_text(name)}", _text(text))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        yield ".PP"
        yield _text(re.sub(r"\s+", " ", paragraph))


def _first(command: click.Command) -> str:
    return (command.help or "").strip().splitlines()[0].rstrip(".")


def _text(text: str) -> str:
    """`text` as one line that man(7) takes for nothing but text."""
    line = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _quoted(text: str) -> str:
    return '"' + _text(text).replace('"', "\\(dq") + '"'


COMMANDS = (man,)
