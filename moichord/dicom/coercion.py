"""From the wanted tags and what is there to the edits, and the record of them.

Owns the decision what changes, in which character set, and what may not change. Pure: it reads nothing and writes
nothing, and the same input gives the same bytes. If nothing changes, there are no edits at all, so that coercing a
coerced image is stable. It must not know files.

Errors: `Unfit`, naming the attribute and the source of the wanted value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from moichord.dicom import charset
from moichord.dicom.dictionary import Attribute
from moichord.dicom.encoding import DIGITAL_SIGNATURES, MAC_PARAMETERS, TEXT_VRS, Edit, Encoding
from moichord.dicom.errors import DicomError, Unfit
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE, Previous, Signature, append
from moichord.dicom.validation import require_valid
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, encode_number, significant, text_of

INSTANCE_COERCION_DATETIME = 0x00080015
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
_BINARY = frozenset(["US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"])


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
class Present:
    """What an image holds, as far as coercion needs it.

    `values` are the top-level elements by tag; the items of OriginalAttributesSequence come without a delimiter.
    `plain`: all text of the image, nested included, is provably ASCII. `signed`: it bears a digital signature.
    """

    encoding: Encoding
    terms: tuple[str, ...] = charset.DEFAULT
    values: Mapping[int, Raw] = field(default_factory=dict)
    plain: bool = False
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


class _Decision(NamedTuple):
    wanted: Wanted
    text: str
    before: str | None


def coerce(
    present: Present,
    wanted: Sequence[Wanted],
    provenance: Provenance,
    *,
    record_changes: bool = True,
    signed: str = Signed.FAIL,
) -> Coercion:
    """The edits that make the image what is wanted, recorded in OriginalAttributesSequence (0400,0561).

    Raises `Unfit` for a value that cannot be written, one that must not differ (`on_mismatch: fail`), present bytes
    that cannot be read but would have to be compared, and for signed objects unless `signed` is strip.
    """
    decisions = [decision for one in wanted if (decision := _decide(present, one)) is not None]
    if not decisions:
        return Coercion()
    stripped = _strip_signatures(present, signed)
    record = (provenance.modifying_system, provenance.source_of_previous_values) if record_changes else ()
    terms = _choose_set(present, decisions, record)
    edits = {d.wanted.attribute.tag: _edit(d.wanted, d.text, terms, present.encoding) for d in decisions}
    if len(edits) < len(decisions):
        raise Unfit("one attribute is wanted twice")
    changes = [Change(d.wanted.attribute.keyword, d.before, d.text) for d in decisions]
    notes = ["digital signatures were removed, since the changes make them invalid"] if stripped else []
    if terms != present.terms:
        edits[SPECIFIC_CHARACTER_SET] = Edit(SPECIFIC_CHARACTER_SET, "CS", _padded(charset.UTF8, "CS", terms))
        changes.append(Change("SpecificCharacterSet", _declaration(present), charset.UTF8))
        notes.append("the character set is now ISO_IR 192; all other text of the image is ASCII")
    if record_changes:
        edits |= _record(present, edits, provenance, terms)
    edits |= stripped
    return Coercion(tuple(edits[tag] for tag in sorted(edits)), tuple(changes), tuple(notes))


def _decide(present: Present, wanted: Wanted) -> _Decision | None:
    """Whether the attribute changes; None if it stays as it is."""
    attribute = wanted.attribute
    require_valid(attribute, wanted.value.strip(" "), wanted.source)
    text = significant(wanted.value, attribute.vr)
    found = present.values.get(attribute.tag)
    if found is not None and wanted.on_mismatch == OnMismatch.KEEP and found.value.strip(b" \0"):
        return None
    before = None if found is None else _readable(found, wanted, present)
    if _same(attribute.vr, before or "", text):
        return None
    if before and wanted.on_mismatch == OnMismatch.FAIL:
        origin = wanted.source or "what is wanted"
        problem = f"{attribute.keyword} is {before!r} in the image, but {text!r} according to {origin}"
        raise _unfit(wanted, problem, brief=f"{attribute.keyword} of the image differs from {origin}")
    return _Decision(wanted, text, before)


def _readable(found: Raw, wanted: Wanted, present: Present) -> str:
    attribute = wanted.attribute
    try:
        return text_of(found, attribute.tag, present.encoding, present.terms)
    except DicomError as error:
        problem = f"{attribute.keyword} of the image cannot be compared or replaced: {error.problem}"
        raise _unfit(wanted, problem) from error


def _declaration(present: Present) -> str | None:
    """SpecificCharacterSet as it was, for the record."""
    return "\\".join(present.terms) if SPECIFIC_CHARACTER_SET in present.values else None


def _same(vr: str, before: str, text: str) -> bool:
    """Equal in meaning: numbers by their value, all else by their significant characters."""
    if before == text:
        return True
    if vr in ("DS", "IS") or vr in _BINARY:
        try:
            return float(before) == float(text)
        except ValueError:
            return False
    return False


def _strip_signatures(present: Present, signed: str) -> dict[int, Edit]:
    if not present.signed:
        return {}
    if signed != Signed.STRIP:
        raise Unfit(
            "the image is digitally signed, and changing a tag would make its signature invalid",
            keyword="DigitalSignaturesSequence",
            tag=DIGITAL_SIGNATURES,
        )
    return {tag: Edit(tag, "SQ", None) for tag in (MAC_PARAMETERS, DIGITAL_SIGNATURES)}


def _choose_set(present: Present, decisions: Sequence[_Decision], record: Sequence[str]) -> tuple[str, ...]:
    """The declared character set if it has all new text, else UTF-8 if no other text can be harmed by the switch."""
    try:
        for text in record:
            charset.encode(text, present.terms)
        unfit = next((d for d in decisions if not _encodable(d, present.terms)), None)
        if unfit is None:
            return present.terms
    except ValueError:
        unfit = None
    if present.plain:
        return (charset.UTF8,)
    beginning = _origin(unfit.wanted) if unfit else "the record of the changes"
    problem = (
        f"{beginning} has characters that the image's character set ({charset.spelled(present.terms)}) lacks, "
        "and the set cannot be changed, because other text of the image is not plain ASCII"
    )
    raise _unfit(unfit.wanted, problem) if unfit else Unfit(problem)


def _origin(wanted: Wanted) -> str:
    return f"{wanted.attribute.keyword}: the value" + (f" from {wanted.source}" if wanted.source else "")


def _unfit(wanted: Wanted, problem: str, brief: str | None = None) -> Unfit:
    attribute = wanted.attribute
    return Unfit(problem, keyword=attribute.keyword, source=wanted.source, tag=attribute.tag, brief=brief)


def _encodable(decision: _Decision, terms: tuple[str, ...]) -> bool:
    if decision.wanted.attribute.vr not in TEXT_VRS:
        return True
    try:
        charset.encode(decision.text, terms)
    except ValueError:
        return False
    return True


def _edit(wanted: Wanted, text: str, terms: tuple[str, ...], encoding: Encoding) -> Edit:
    attribute = wanted.attribute
    if not text or attribute.vr not in _BINARY:
        return Edit(attribute.tag, attribute.vr, _padded(text, attribute.vr, terms))
    try:
        return Edit(attribute.tag, attribute.vr, encode_number(text, attribute.vr, encoding))
    except ValueError as error:
        raise _unfit(wanted, f"{_origin(wanted)} {error}") from error


def _padded(text: str, vr: str, terms: tuple[str, ...]) -> bytes:
    """Encoded text of even length: UIDs are padded with a zero byte, all else with a space (PS3.5 6.2)."""
    value = charset.encode(text, terms if vr in TEXT_VRS else charset.DEFAULT)
    return value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)


def _record(
    present: Present, edits: Mapping[int, Edit], provenance: Provenance, terms: tuple[str, ...]
) -> dict[int, Edit]:
    """InstanceCoercionDateTime and one more item of OriginalAttributesSequence."""
    recorded = {tag: edit.vr for tag, edit in edits.items()}
    if PATIENT_ID in recorded:
        recorded[ISSUER_OF_PATIENT_ID] = "LO"
    if INSTANCE_COERCION_DATETIME in present.values:
        recorded[INSTANCE_COERCION_DATETIME] = "DT"
    previous = [_previous(tag, vr, present.values.get(tag)) for tag, vr in recorded.items()]
    signature = Signature(
        _padded(provenance.coercion_datetime, "DT", terms),
        _padded(provenance.modifying_system, "LO", terms),
        _padded(provenance.source_of_previous_values, "LO", terms),
        _padded(provenance.reason, "CS", terms),
    )
    earlier = present.values.get(ORIGINAL_ATTRIBUTES_SEQUENCE)
    moment = Edit(INSTANCE_COERCION_DATETIME, "DT", signature.modification_datetime)
    sequence = append(earlier, previous, signature, present.encoding)
    return {moment.tag: moment, sequence.tag: sequence}


def _previous(tag: int, vr: str, found: Raw | None) -> Previous:
    return Previous(tag, vr, b"") if found is None else Previous(tag, found.vr or vr, found.value)
