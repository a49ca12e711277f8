"""A configuration as it may be given to others: which keys are set and to what, without secrets.

Owns what of it may be seen. What stands where a secret, an address or a part of a request belongs is masked, and so is
every key that does not exist. `${NAME}` stays as it is written. No error leaves it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from moichord.config.block import Block, block_at
from moichord.config.document import parse
from moichord.config.secret import read_secret
from moichord.config.settings import Settings
from moichord.templates import KeyPath, Unusable

MASK = "***"
SHORTEST = 4
"""What is shorter is a word of every other line."""
_HIDDEN = frozenset({"key", "proxy", "headers", "params", "fields", "json", "value", "urls"})
_ADDRESS = "url"
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_ONLY_VARIABLES = re.compile(r"(?:\$\{[A-Za-z_]\w*\}|[/:])+")


class _AsWritten(dict[str, str]):
    """Variables stand for themselves."""

    def get(self, name: str, _default: object = None) -> str:
        return f"${{{name}}}"


def shareable(text: str) -> object:
    """What a configuration file says, as plain data for JSON; the problems of what is no YAML are left out."""
    return _seen(parse(text, _AsWritten()).data, ())


def hidden(text: str, environ: Mapping[str, str]) -> set[str]:
    """What must not be seen of that file: the secrets that it names, if they can be read, and what is masked in it."""
    found: set[str] = set()
    for path, value in _leaves(parse(text, environ).data, ()):
        if _may_be_seen(path):
            continue
        if _names_a_secret(path):
            with suppress(Unusable):
                found.add(read_secret({path[-1]: value}, environ).reveal())
            continue
        found.add(str(value))
        found.update(_private(str(value)))
    return {one for one in found if len(one) >= SHORTEST}


def _names_a_secret(path: KeyPath) -> bool:
    return len(path) > 1 and (path[-2] == "key" or (path[0] == "notify" and path[-1] in {"file", "credential", "env"}))


def _leaves(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, (*path, key))
    elif value is not None:
        yield path, value


def _private(address: str) -> Iterator[str]:
    """The parts of an address that may let somebody in."""
    with suppress(ValueError):
        parts = urlsplit(address)
        for value in (parts.username, parts.password, parts.query, parts.fragment, parts.path.strip("/")):
            if value:
                yield value
                yield unquote(value)
        yield from (value for _, value in parse_qsl(parts.query))


def _seen(value: object, path: KeyPath) -> object:
    if isinstance(value, Mapping):
        if path and path[-1] == "key":
            return dict(_origin(value))
        return {
            str(key) if _is_known((*path, key)) else MASK: _seen(inner, (*path, key)) for key, inner in value.items()
        }
    if isinstance(value, list) and _may_be_seen(path):
        return [inner if not isinstance(inner, Mapping | list) else MASK for inner in value]
    if value is None or (not isinstance(value, list) and _may_be_seen(path)):
        return value
    if path and str(path[-1]).endswith(_ADDRESS) and isinstance(value, str):
        return _address(value)
    return MASK


def _may_be_seen(path: KeyPath) -> bool:
    names = [str(name) for name in path]
    return _is_known(path) and not any(name in _HIDDEN or name.endswith(_ADDRESS) for name in names)


def _is_known(path: KeyPath) -> bool:
    """Whether a key exists; those below a key that is no block of keys are free."""
    block: type[Block] = Settings
    for number, name in enumerate(path):
        keys = block.keys()
        if str(name) not in keys:
            return False
        try:
            block = block_at(Settings, path[: number + 1])
        except TypeError:
            return True
    return True


def _origin(secret: Mapping[object, object]) -> Iterator[tuple[str, str]]:
    """Where a secret is said to be, if that is no secret itself."""
    for origin, name in secret.items():
        text = str(name)
        shown = (origin == "env" and _NAME.fullmatch(text)) or (origin == "file" and text.startswith("/"))
        yield str(origin) if origin in {"env", "file", "credential"} else MASK, text if shown else MASK


def _address(text: str) -> str:
    """The server that an address names, without who is to be let in and what is asked."""
    if _ONLY_VARIABLES.fullmatch(text):
        return text
    try:
        parts = urlsplit(text)
        server = parts.hostname or MASK
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    return f"{parts.scheme}://{server}{port}/{MASK}" if parts.scheme in {"http", "https"} else MASK
