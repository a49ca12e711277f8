"""Secrets: keys and passwords that are read from a file, a systemd credential or the environment.

Owns where they come from and who else may read them. It must not know what they open. Errors: `Unusable`.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moichord.templates import Unusable

LARGEST = 64 * 1024
SHAPES = "{file: PATH}, {credential: NAME} or {env: NAME}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that shows itself only when asked to."""

    text: str = field(repr=False)

    def reveal(self) -> str:
        return self.text

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret(***)"


def read_secret(shape: object, environ: Mapping[str, str]) -> Secret:
    """The secret that `shape` names: one of `{file: PATH}`, `{credential: NAME}`, `{env: NAME}`.

    Line ends after it are no part of it. Raises Unusable if it is missing, empty, not printable ASCII (it could
    not be sent in a header), or in a file that others may read.
    """
    if not isinstance(shape, Mapping) or len(shape) != 1:
        raise Unusable([((), f"a secret is not written here, but named: {SHAPES}")])
    ((origin, name),) = shape.items()
    if not isinstance(name, str) or not name:
        raise Unusable([((origin,), "must be a name in quotes")])
    try:
        text = _read(origin, name, environ)
    except OSError as error:
        raise Unusable([((origin,), f"{name} cannot be read: {error.strerror}")]) from error
    except ValueError as error:
        raise Unusable([((origin,), str(error))]) from error
    return Secret(_checked(origin, name, text.rstrip("\r\n")))


def _read(origin: str, name: str, environ: Mapping[str, str]) -> str:
    match origin:
        case "env":
            if name not in environ:
                raise ValueError(f"environment variable {name} is not set")
            return environ[name]
        case "file":
            path = Path(name)
            if not path.is_absolute():
                raise ValueError(f"{name} must be a full path, beginning with /")
            return _read_file(path, private=os.name == "posix")
        case "credential":
            folder = environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ValueError(f"credentials exist only under systemd: add LoadCredential={name}:PATH to the unit")
            if name != Path(name).name:
                raise ValueError(f"{name} must be a name without folders")
            # systemd grants the service access by an ACL, which shows as a group permission.
            return _read_file(Path(folder, name), private=False)
        case _:
            raise ValueError(f"is not a place for a secret: write {SHAPES}")


def _read_file(path: Path, *, private: bool) -> str:
    # A FIFO without a writer would block the start for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a file")
        if private and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise ValueError(f"{path} can be read by others: run chmod 600 {path}")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8") from error


def _checked(origin: str, name: str, text: str) -> str:
    if not text:
        raise Unusable([((origin,), f"{name} is empty")])
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise Unusable([((origin,), f"{name} must be one line of printable ASCII without spaces around it")])
    return text
