"""The variables that configure the one-shot: those of the environment, and of a .env file where there is one.

Owns the small language of .env files. It must not know what a variable means. No error leaves it: what cannot be
understood or read is said in the result.

One variable a line: `NAME=VALUE`, also `export NAME=VALUE`. Within double quotes `\\"`, `\\\\`, `\\n` and `\\$` mean
what they do in a shell; within single quotes every character means itself; without quotes the value ends at ` #`.
`$NAME` is not expanded. A value cannot go on in the next line.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENV_FILE = ".env"

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_ESCAPE = re.compile(r'\\(["\\$n])')


@dataclass(frozen=True, slots=True)
class Variables:
    """What is set; the lines of the .env file that could not be understood, and what else is amiss: a sentence each."""

    values: Mapping[str, str] = field(repr=False)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def variables(environ: Mapping[str, str], file: Path) -> Variables:
    """`environ` and, for what is not set there, `file`, which need not exist."""
    if not file.is_file():  # a folder of that name is somebody's virtual environment
        return Variables(environ)
    try:
        text = file.read_text("utf-8-sig", "surrogateescape")
        exposed = os.name == "posix" and bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError as error:
        return Variables(environ, (f"{file.name}: cannot be read: {error.strerror}",))
    found = parse(text, file.name)
    keys = exposed and any(name.endswith("_KEY") for name in found.values)
    warnings = (f"{file.name} holds keys and can be read by others: run chmod 600 {file.name}.",) if keys else ()
    return Variables({**found.values, **environ}, found.problems, warnings)


def parse(text: str, name: str = ENV_FILE) -> Variables:
    """The variables that a text sets; of two lines for one variable the later one counts."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        value = None if match is None else _value(match["value"])
        if match is None:
            problems.append(f"{name}:{number}: is not NAME=VALUE")
        elif value is None:
            problems.append(f"{name}:{number}: {match['name']}: the quotes do not match")
        else:
            values[match["name"]] = value
    return Variables(values, tuple(problems))


def _value(written: str) -> str | None:
    """What stands for a value; None if its quotes do not match."""
    if written.startswith("'"):
        single = _SINGLE.fullmatch(written)
        return None if single is None else single["text"]
    if written.startswith('"'):
        double = _DOUBLE.fullmatch(written)
        return None if double is None else _ESCAPE.sub(_unescaped, double["text"])
    if written.startswith("#"):
        return ""
    return re.split(r"\s#", written, maxsplit=1)[0].rstrip()


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
