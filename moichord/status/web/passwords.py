"""The password file: who may see the page.

Owns its form, one line for each person: `NAME:scrypt:N:R:P:SALT:HASH`, the last two in base64, `#` before remarks. It
must not know HTTP. Errors: ConfigurationInvalid if the file cannot be used, UsageRefused for a name or password that
cannot be taken.

scrypt is RFC 7914; N, R and P are those that OWASP recommends where a quarter of a second is too long to wait.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from moichord.errors import ConfigurationInvalid, UsageRefused

COST, BLOCK, PARALLEL = 2**15, 8, 3
MEMORY = 256 * 2**20
LENGTH = 32
SHORTEST = 8
LONGEST = 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LARGEST_FILE = 2**20
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Stored:
    """One person's password as it is stored."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(one).decode() for one in (self.salt, self.digest))
        return f"scrypt:{self.cost}:{self.block}:{self.parallel}:{salt}:{digest}"

    def fits(self, password: str) -> bool:
        """Whether this is the password. Takes a good part of a tenth of a second, and 32 MiB."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt, self.cost, self.block, self.parallel))


def stored(password: str) -> Stored:
    """A password as it is to be stored. Raises UsageRefused if it is too short, or too long to be hashed in time."""
    if len(password) < SHORTEST:
        raise UsageRefused(f"A password needs {SHORTEST} characters at least.")
    if len(password) > LONGEST:
        raise UsageRefused(f"A password has {LONGEST} characters at most.")
    salt = secrets.token_bytes(16)
    return Stored(COST, BLOCK, PARALLEL, salt, _scrypt(password, salt, COST, BLOCK, PARALLEL))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    text = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(text, salt=salt, n=cost, r=block, p=parallel, maxmem=MEMORY, dklen=LENGTH)


def read_people(path: Path) -> Mapping[str, Stored]:
    """Everybody in the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _require_private(path, status.st_mode)
            text = file.read(LARGEST_FILE).decode("utf-8")
    except OSError as error:
        remedy = f"Make it: moichord web-password --file {path} NAME"
        raise ConfigurationInvalid(
            [f"web.password_file: {path} cannot be read: {error.strerror}"], remedy=remedy
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(
            [f"web.password_file: {path} is not a text in UTF-8"],
            remedy=f"Move it away, and make it anew: moichord web-password --file {path} NAME",
        ) from error
    lines = enumerate(text.splitlines(), start=1)
    return dict(_person(path, number, line) for number, line in lines if line.strip() and not line.startswith("#"))


def _require_private(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ConfigurationInvalid(
            [f"web.password_file: {path} is not a file"], remedy="Name another one: moichord web-password makes it."
        )
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        remedy = f"Run: chmod 640 {path}"
        raise ConfigurationInvalid([f"web.password_file: {path} can be read by others, or changed"], remedy=remedy)


def _person(path: Path, number: int, line: str) -> tuple[str, Stored]:
    try:
        name, kind, cost, block, parallel, salt, digest = line.split(":")
        made = Stored(
            int(cost), int(block), int(parallel), base64.b64decode(salt, validate=True), base64.b64decode(digest)
        )
        small = 128 * made.cost * made.block * made.parallel <= MEMORY
        if kind != "scrypt" or not NAME.fullmatch(name) or not small or len(made.digest) != LENGTH:
            raise ValueError(line)
    except (ValueError, binascii.Error) as error:
        remedy = "Make the line anew: moichord web-password NAME"
        raise ConfigurationInvalid([f"{path}:{number}: this is no person with a password"], remedy=remedy) from error
    return name, made


def with_person(text: str, name: str, made: Stored) -> str:
    """The text of a password file in which `name` has this password; all other lines stay as they are."""
    if not NAME.fullmatch(name):
        raise UsageRefused("A name has letters, digits and . _ @ - only, 64 at most; the first is a letter or digit.")
    lines = [line for line in text.splitlines() if line.partition(":")[0] != name]
    return "\n".join([*lines, f"{name}:{made}"]) + "\n"


class People:
    """Who may see the page, as the file says now: it is read again when it has changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._known: Mapping[str, Stored] = MappingProxyType({})
        self._hashing = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = Stored(COST, BLOCK, PARALLEL, bytes(16), bytes(LENGTH))

    @property
    def are_asked(self) -> bool:
        """Whether a password is needed at all."""
        return self._path is not None

    def known(self) -> Mapping[str, Stored]:
        """Everybody. Raises ConfigurationInvalid."""
        if self._path is None:
            return MappingProxyType({})
        with self._lock:
            seen = _version(self._path)
            if seen is None or seen != self._seen:
                self._known = read_people(self._path)
                self._seen = seen
            return self._known

    def stored(self, name: str) -> str | None:
        """What the file says of this person."""
        found = self.known().get(name)
        return None if found is None else str(found)

    def are(self, name: str, password: str) -> bool:
        """Whether this is that person's password. An unknown name takes as long as a known one."""
        found = self.known().get(name)
        with self._hashing:  # each takes memory, and a processor
            fits = (found or self._nobody).fits(password[:LONGEST])
        return fits and found is not None


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
