"""The kinds of values in the configuration: durations, sizes, addresses, patterns, secrets, templates.

Owns how each is written and what it becomes. It must not know which keys there are. Errors are ValueErrors (and
`Unusable`, where a part of the value is to blame), which pydantic collects.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from moichord import tag_rules
from moichord.config.paths import full_path, nameable
from moichord.config.secret import Secret, read_secret
from moichord.config.wording import shown
from moichord.dicom.dictionary import find
from moichord.tag_rules import Expression, TagRule
from moichord.templates import REPLY_NAMES, SAMPLE_NAMES, JsonTemplate, KeyPath, Names, Template, Unusable

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
QUANTITY = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?) ?(?P<unit>[A-Za-z]+)")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
MADE_BY_MOICHORD = frozenset({"content-length", "transfer-encoding", "host", "connection", "idempotency-key"})


def duration(value: object) -> float:
    """`500ms 10s 5m 2h 30d` as seconds."""
    return _quantity(value, DURATION_UNITS, "a duration such as 500ms, 10s, 5m, 2h or 30d")


def size(value: object) -> int:
    """`512B 20KiB 5MiB 1GiB` as bytes."""
    return int(_quantity(value, SIZE_UNITS, "a size such as 512B, 20KiB, 5MiB or 1GiB"))


def _quantity(value: object, units: Mapping[str, float], kind: str) -> float:
    match = QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match and match["unit"] in units:
        return float(match["number"]) * units[match["unit"]]
    if str(value).startswith("-"):
        raise ValueError(f"must not be negative, but {shown(value)} is")
    raise ValueError(f"must be {kind}, not {shown(value)}")


def _positive(seconds: float) -> float:
    if not seconds:
        raise ValueError("must be more than nothing")
    return seconds


def _some(size: int) -> int:
    if not size:
        raise ValueError("must be more than nothing")
    return size


def existing_file(value: object) -> Path:
    path = full_path(value)
    if not path.is_file():
        raise ValueError(f"{path} does not exist, or is not a file")
    return path


def _not_empty(entries: tuple[int, ...]) -> tuple[int, ...]:
    if not entries:
        raise ValueError("must not be empty")
    return entries


def url(value: object) -> str:
    """An http:// or https:// address without user, fragment or gaps. It is never shown: it may hold a secret."""
    address = _split(value)
    if "{" in str(value) or "}" in str(value):
        raise ValueError("must not contain { or }: what differs between samples belongs into params, json or headers")
    if address.username is not None or address.password is not None:
        raise ValueError("must not contain a user or password: configure them as key")
    if address.fragment:
        raise ValueError("must not contain a fragment (#)")
    return str(value)


def proxy(value: object) -> str:
    """An http:// or https:// address; it may contain a user and a password."""
    _split(value)
    return str(value)


def _split(value: object) -> SplitResult:
    wrong = "must be an address that begins with http:// or https://"
    if not isinstance(value, str):
        raise ValueError(f"{wrong}, not {shown(value)}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{wrong} and contains neither spaces nor letters beyond ASCII")
    try:
        address = urlsplit(value)
        valid = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from error
    if not valid:
        raise ValueError(f"{wrong} and a host")
    return address


def name_pattern(value: str) -> str:
    """A file name, or a pattern of file names (`*`, `?`, `[...]`)."""
    if not value or "/" in value:
        raise ValueError(f"must be a file name or a pattern of file names, without folders, not {shown(value)}")
    return nameable(value)


def sample_id_pattern(value: object) -> re.Pattern[str]:
    """A regular expression with the group `sample_id`."""
    if not isinstance(value, str):
        raise ValueError(f"must be a regular expression in quotes, not {shown(value)}")
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    except RecursionError as error:
        raise ValueError("is a regular expression that is nested too deeply") from error
    if "sample_id" not in pattern.groupindex:
        raise ValueError("must contain the group (?P<sample_id>...)")
    return pattern


def header_name(value: str) -> str:
    """A header's name (RFC 9110, 5.1) that moichord does not set itself."""
    if not TOKEN.fullmatch(value):
        raise ValueError(f"must be the name of a header, not {shown(value)}")
    if value.lower() in MADE_BY_MOICHORD:
        raise ValueError(f"the header {value} is made by moichord itself")
    return value


def media_type(value: str) -> str:
    """A media type (RFC 9110, 8.3.1), with parameters or without."""
    if not re.fullmatch(rf"{TOKEN.pattern}/{TOKEN.pattern}(?: ?;[ -~]*)?", value):
        raise ValueError(f"must be a media type such as application/dicom, not {shown(value)}")
    return value


def field_name(value: str) -> str:
    """The name of a form's field."""
    if not value or not value.isprintable():
        raise ValueError(f"must be the name of a form's field, not {shown(value)}")
    return value


def success_status(value: int) -> int:
    if not 200 <= value <= 299:
        raise ValueError(f"must be a status from 200 to 299, not {value}")
    return value


def secret(value: object, info: ValidationInfo) -> Secret | None:
    """A secret, read; None where none is wanted: `null`, or an API that is not enabled."""
    if value is None or info.data.get("enabled") is False:
        return None
    environ = (info.context or {}).get("environ", {})
    return read_secret(value, environ)


def _templates(check_name: Callable[[str], object]) -> Callable[[object], Mapping[str, Template]]:
    """A validator of a block of names and templates."""

    def validate(value: object) -> Mapping[str, Template]:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a block of names and texts, not {shown(value)}")
        problems: list[tuple[KeyPath, str]] = []
        templates = dict(_valid_templates(value, check_name, problems))
        if problems:
            raise Unusable(problems)
        return MappingProxyType(templates)

    return validate


def _valid_templates(
    block: Mapping[str, object], check_name: Callable[[str], object], problems: list[tuple[KeyPath, str]]
) -> Iterator[tuple[str, Template]]:
    for name, text in block.items():
        try:
            check_name(name)
            if isinstance(text, bool) or not isinstance(text, str | int | float):
                raise ValueError(f"must be a text, not {shown(text)}")
            if not str(text).isprintable():
                raise ValueError("must be one line without control characters")
            yield name, Template(str(text), SAMPLE_NAMES)
        except ValueError as error:
            problems.append(((name,), str(error)))


def _json(names: Names) -> Callable[[object], JsonTemplate | None]:
    def validate(value: object) -> JsonTemplate | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a block of names and values, or null, not {shown(value)}")
        return JsonTemplate(value, names)

    return validate


def _expression(value: object) -> Expression | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"must be a JMESPath in quotes, not {shown(value)}")
    return Expression(value)


def keyword(value: str) -> str:
    """The keyword of a DICOM attribute with a text to compare, given as keyword or `(gggg,eeee)`."""
    attribute = find(value)
    if attribute.vr == "SQ" or attribute.vr.startswith("O"):
        raise ValueError(f"{attribute.keyword} has no text that could be compared")
    return attribute.keyword


def _any_name(name: str) -> str:
    return name


Duration = Annotated[float, BeforeValidator(duration)]
PositiveDuration = Annotated[float, BeforeValidator(duration), AfterValidator(_positive)]
Size = Annotated[int, BeforeValidator(size)]
PositiveSize = Annotated[int, BeforeValidator(size), AfterValidator(_some)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Workers = Annotated[int, Field(ge=1, le=256)]
ExistingFile = Annotated[Path, BeforeValidator(existing_file)]
Url = Annotated[str, BeforeValidator(url)]
Proxy = Annotated[str, BeforeValidator(proxy)]
NamePattern = Annotated[str, AfterValidator(name_pattern)]
NamePatterns = Annotated[tuple[NamePattern, ...], Field(strict=False)]
Keywords = Annotated[tuple[Annotated[str, AfterValidator(keyword)], ...], Field(strict=False)]
SampleIdPattern = Annotated[re.Pattern[str], PlainValidator(sample_id_pattern)]
HeaderName = Annotated[str, AfterValidator(header_name)]
FieldName = Annotated[str, AfterValidator(field_name)]
MediaType = Annotated[str, AfterValidator(media_type)]
SuccessStatuses = Annotated[
    tuple[Annotated[int, AfterValidator(success_status)], ...], Field(strict=False), AfterValidator(_not_empty)
]
OptionalSecret = Annotated[Secret | None, PlainValidator(secret)]
Headers = Annotated[Mapping[str, Template], PlainValidator(_templates(header_name))]
Params = Annotated[Mapping[str, Template], PlainValidator(_templates(_any_name))]
Fields = Annotated[Mapping[str, Template], PlainValidator(_templates(field_name))]
SampleJson = Annotated[JsonTemplate | None, PlainValidator(_json(SAMPLE_NAMES))]
ReplyJson = Annotated[JsonTemplate | None, PlainValidator(_json(REPLY_NAMES))]
OptionalExpression = Annotated[Expression | None, PlainValidator(_expression)]
TagRules = Annotated[tuple[TagRule, ...], PlainValidator(tag_rules.parse)]
