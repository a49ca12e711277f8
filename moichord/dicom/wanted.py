"""The words of coercion as plain data: what is wanted, what is present, what comes of it.

Owns the vocabulary that `coercion`, `switching` and `present` share. It must not know files. No error leaves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from moichord.dicom import charset
from moichord.dicom.dictionary import Attribute
from moichord.dicom.encoding import Edit, Encoding
from moichord.dicom.errors import Unfit
from moichord.dicom.values import Raw


class OnMismatch(StrEnum):
    """What to do where the image has another, non-empty value."""

    UPDATE = "update"
    FAIL = "fail"
    KEEP = "keep"


class Signed(StrEnum):
    """What to do with an object whose digital signature a change would break (PS3.15 C)."""

    FAIL = "fail"
    STRIP = "strip"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One attribute as it shall be; `source` says where the value comes from, for messages."""

    attribute: Attribute
    value: str
    on_mismatch: str = OnMismatch.UPDATE
    source: str = ""

    @property
    def origin(self) -> str:
        """The value and where it comes from, as the beginning of a sentence."""
        return f"{self.attribute.keyword}: the value" + (f" from {self.source}" if self.source else "")

    def unfit(self, problem: str, brief: str | None = None) -> Unfit:
        """The error that names this attribute and where its value comes from."""
        attribute = self.attribute
        return Unfit(problem, keyword=attribute.keyword, source=self.source, tag=attribute.tag, brief=brief)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who changes, when (`coercion_datetime`: a DICOM DT with offset) and why (COERCE or CORRECT).

    Chosen once and persisted by the caller: a repetition must give identical bytes.
    """

    coercion_datetime: str
    modifying_system: str
    source_of_previous_values: str = ""
    reason: str = "COERCE"


@dataclass(frozen=True, slots=True)
class OtherText:
    """The top-level elements that hold text, at any depth, which is not provably ASCII.

    `out_of_reach` says which element cannot be re-encoded, and why; "" if all can be tried.
    """

    elements: Mapping[int, Raw] = field(default_factory=dict)
    out_of_reach: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """What an image holds, as far as coercion needs it.

    `values` are the top-level elements by tag. `other_text` is only looked up where the character set may have to
    change. `signed`: the image bears a digital signature.
    """

    encoding: Encoding
    terms: tuple[str, ...] = charset.DEFAULT
    values: Mapping[int, Raw] = field(default_factory=dict)
    other_text: OtherText = field(default_factory=OtherText)
    signed: bool = False


class Change(NamedTuple):
    """One attribute before and after; None where it was absent."""

    keyword: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Coercion:
    """What to write (ascending tags), what that changes, and what is worth saying about it."""

    edits: tuple[Edit, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


class Decision(NamedTuple):
    """A wanted value that differs from the present one, which is `before`."""

    wanted: Wanted
    text: str
    before: str | None
