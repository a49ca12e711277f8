"""The commented example of a configuration, written from the settings' own descriptions and defaults.

Owns its layout: a comment above each key, short blocks on one line. It must not know single keys, but for the
folders that `moichord init` chooses. No error leaves it.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from moichord.config.block import Block
from moichord.config.settings import Settings

WIDTH = 100
HEAD = """\
# The configuration of moichord. Every key is here with its default; only the addresses of the three APIs
# must be written. Durations: 500ms 10s 5m 2h 30d. ${NAME} and ${NAME:-default} stand for environment variables.
# Secrets are never written here, but named: {file: PATH}, {credential: NAME} or {env: NAME}.
# `moichord check` says what is wrong, with line and column.
"""
CREDENTIALS = {"metadata": "md_key", "upload": "u_key", "analytics": "a_key"}
"""Which credential of systemd/moichord.service is the key of which API."""


def example(
    folders_root: Path | None = None, state: Path | None = None, listen: str | None = None, *, credentials: bool = False
) -> str:
    """A complete configuration with the defaults; the folders below `folders_root`, the database at `state`.

    `listen` is where the page is. With `credentials` the keys are those that the systemd unit hands over.
    """
    chosen: dict[tuple[str, ...], object] = {}
    if credentials:
        chosen |= {(api, "key"): {"credential": name} for api, name in CREDENTIALS.items()}
    if folders_root is not None:
        chosen |= {("folders", name): str(folders_root / name) for name in ("inbox", "done", "failed")}
    if state is not None:
        chosen["state",] = str(state)
    if listen is not None:
        chosen["web", "listen"] = listen
    lines = "\n".join(_block(Settings, (), chosen))
    return f"{HEAD}{lines}\n"


def _block(block: type[Block], path: tuple[str, ...], chosen: Mapping[tuple[str, ...], object]) -> Iterator[str]:
    indent = "  " * len(path)
    for key, field in block.keys().items():
        here = (*path, key)
        if not path:
            yield ""
        inner = _inner(field)
        yield from _comment(field.description or "", indent)
        if inner is None:
            yield from _entry(key, chosen.get(here, _default(field)), indent)
        elif inner.INLINE:
            yield from _explained(inner, indent)
            yield f"{indent}{key}: {_flow(_inline(inner, field))}"
        else:
            yield f"{indent}{key}:"
            yield from _block(inner, here, chosen)


def _inner(field: FieldInfo) -> type[Block] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Block) else None


def _default(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else field.default


def _inline(block: type[Block], field: FieldInfo) -> dict[str, object]:
    return {key: _default(inner) for key, inner in block.keys().items()} | dict(field.default)


def _explained(block: type[Block], indent: str) -> Iterator[str]:
    for key, field in block.keys().items():
        yield f"{indent}#   {key}: {field.description}"


def _entry(key: str, value: object, indent: str) -> Iterator[str]:
    """One key; a mapping that is too long for a line has a line for each of its keys."""
    line = f"{indent}{key}: {_flow(value)}"
    if isinstance(value, Mapping) and len(line) > WIDTH:
        yield f"{indent}{key}:"
        yield from (f"{indent}  {name}: {_flow(inner)}" for name, inner in value.items())
    else:
        yield line


def _flow(value: object) -> str:
    plain = dict(value) if isinstance(value, Mapping) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str, indent: str) -> Iterator[str]:
    return (f"{indent}# {line}" for line in textwrap.wrap(text, WIDTH - len(indent), break_on_hyphens=False))
