"""The settings of what people are told without looking.

Owns its keys. It must not know how they are told. Errors: pydantic's.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, PlainValidator, ValidationInfo

from moichord.config import values as kinds
from moichord.config.block import Block, Impossible, entry
from moichord.config.hours import WorkingHours, working_hours
from moichord.config.secret import Secret, read_secret

Hours = Annotated[WorkingHours, PlainValidator(working_hours)]
EventName = Literal["failed", "outage", "recovered", "disk_low", "silence"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
_TOKEN = re.compile(r"(?=.*[0-9])\S{8,}|\S{20,}")
"""What in an address may well be a key; shorter words, and those without a digit, are words of other lines too."""


def address(value: object, info: ValidationInfo) -> Secret:
    """An address of Apprise, written or named as a secret. It is never shown: it may hold one."""
    secret = Secret(value) if isinstance(value, str) else read_secret(value, (info.context or {}).get("environ", {}))
    text = secret.reveal()
    if not _SCHEME.fullmatch(text) or not text.isprintable() or " " in text:
        raise ValueError(
            "must be one address of Apprise such as mailto://... or ntfys://..., without spaces, "
            "or name a secret that is one: {file: PATH}, {credential: NAME} or {env: NAME}"
        )
    return secret


Addresses = Annotated[tuple[Annotated[Secret, PlainValidator(address)], ...], Field(strict=False)]
Events = Annotated[tuple[EventName, ...], Field(strict=False)]


class Notify(Block):
    """Who is told what."""

    urls: Addresses = entry(
        [],
        "Where messages go, as addresses of Apprise: mailto:// slack:// msteams:// ntfys:// jsons:// and many more "
        "(needs the extra `notify`: pip install 'moichord[notify]'). An entry may also name a secret.",
        hidden=True,
    )
    events: Events = entry(
        ["failed", "outage", "recovered", "disk_low", "silence"],
        "What they are about: failed samples, servers and shares that are out (outage) and back (recovered), "
        "disk_low, silence.",
    )
    window: kinds.PositiveDuration = entry(
        "1m", "What happens this long after the first news is one message; if it goes on, they become rarer."
    )
    silence_after: kinds.PositiveDuration | None = entry(
        None, "No new sample for this long: that is said by status, the page, the metrics, messages. null: never."
    )
    working_hours: Hours | None = entry(
        None, 'Silence counts only then, e.g. "Mon-Fri 07:00-19:00; Sat 8:00-12:00". null: always.'
    )
    report_url: kinds.Url | None = entry(
        None,
        "A report of every failed sample is posted here as JSON: its receipt without values of patients, and its "
        "lines of the log. null: none.",
        hidden=True,
    )
    heartbeat_url: kinds.Url | None = entry(
        None,
        "Asked for (GET) once a minute as long as all is well, with /fail behind its path while it is not, as "
        "healthchecks wants it. null: none.",
        hidden=True,
    )

    def impossible(self) -> Impossible:
        if self.working_hours is not None and self.silence_after is None:
            yield ("working_hours",), "means nothing without silence_after"
        if len(set(self.urls)) < len(self.urls):
            yield ("urls",), "names the same address twice"

    def secrets(self) -> Iterator[str]:
        """What of the addresses must never be written to a log."""
        for secret in self.urls:
            yield secret.reveal()
        for text in (*(secret.reveal() for secret in self.urls), self.report_url, self.heartbeat_url):
            if text is not None:
                yield from _keys_in(text)


def _keys_in(address: str) -> Iterator[str]:
    """The parts of an address that may let somebody in."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    if parts.password:
        yield from (parts.password, unquote(parts.password))
    host = parts.netloc.rpartition("@")[2]
    values = [value for _, value in parse_qsl(parts.query)]
    # The first part of slack://TOKEN/... stands where a host would.
    segments = [parts.username or "", *parts.path.split("/"), *values, *(() if "." in host or ":" in host else (host,))]
    for one in segments:
        if _TOKEN.fullmatch(one):
            yield from (one, unquote(one))
