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
_CHARACTER_SET = Attribute(SPECIFIC_CHARACTER_SET, "SpecificCharacterSet", "CS", "1-n")


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
    edits = {d.wanted.attribute.tag: _edit(d.wanted.attribute, d.text, terms, present.encoding) for d in decisions}
    changes = [Change(d.wanted.attribute.keyword, d.before, d.text) for d in decisions]
    notes = ["digital signatures were removed, since the changes make them invalid"] if stripped else []
    if len(edits) < len(decisions):
        raise Unfit("one attribute is wanted twice")
    if terms != present.terms:
        before = text_of(found, SPECIFIC_CHARACTER_SET, present.encoding, terms) if (
            found := present.values.get(SPECIFIC_CHARACTER_SET)
        ) else None
        edits[SPECIFIC_CHARACTER_SET] = _edit(_CHARACTER_SET, charset.UTF8, terms, present.encoding)
        changes.append(Change(_CHARACTER_SET.keyword, before, charset.UTF8))
        notes.append("the character set is now ISO_IR 192; all other text of the image is ASCII")
    if record_changes:
        edits |= _record(present, edits, provenance, terms)
    edits |= stripped
    return Coercion(tuple(edits[tag] for tag in sorted(edits)), tuple(changes), tuple(notes))


def _decide(present: Present, wanted: Wanted) -> _Decision | None:
    """Whether the attribute changes; None if it stays as it is."""
    attribute = wanted.attribute
    text = significant(wanted.value, "UR" if attribute.vr != "PN" else "PN")
    require_valid(attribute, text, wanted.source)
    found = present.values.get(attribute.tag)
    if found is not None and wanted.on_mismatch == OnMismatch.KEEP and found.value.strip(b" \0"):
        return None
    before = None if found is None else _readable(found, wanted, present)
    if _same(attribute.vr, before or "", text):
        return None
    if before and wanted.on_mismatch == OnMismatch.FAIL:
        origin = wanted.source or "what is wanted"
        raise Unfit(
            f"{attribute.keyword} is {before!r} in the image, but {text!r} according to {origin}",
            keyword=attribute.keyword,
            source=wanted.source,
            tag=attribute.tag,
            brief=f"{attribute.keyword} of the image differs from {origin}",
        )
    return _Decision(wanted, text, before)


def _readable(found: Raw, wanted: Wanted, present: Present) -> str:
    attribute = wanted.attribute
    try:
        return text_of(found, attribute.tag, present.encoding, present.terms)
    except DicomError as error:
        raise Unfit(
            f"{attribute.keyword} of the image cannot be read, so it cannot be compared or replaced: {error.problem}",
            keyword=attribute.keyword,
            source=wanted.source,
            tag=attribute.tag,
        ) from error


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
    keyword = unfit.wanted.attribute.keyword if unfit else "ModifyingSystem"
    source = unfit.wanted.source if unfit else ""
    origin = f"the value from {source}" if source else "the value"
    raise Unfit(
        f"{keyword}: {origin} has characters that the image's character set ({charset.spelled(present.terms)}) lacks, "
        "and the set cannot be changed, because other text of the image is not plain ASCII",
        keyword=keyword,
        source=source,
    )


def _encodable(decision: _Decision, terms: tuple[str, ...]) -> bool:
    if decision.wanted.attribute.vr not in TEXT_VRS:
        return True
    try:
        charset.encode(decision.text, terms)
    except ValueError:
        return False
    return True


def _edit(attribute: Attribute, text: str, terms: tuple[str, ...], encoding: Encoding) -> Edit:
    if text and attribute.vr in _BINARY:
        try:
            return Edit(attribute.tag, attribute.vr, encode_number(text, attribute.vr, encoding))
        except ValueError as error:
            raise Unfit(f"{attribute.keyword}: {error}", keyword=attribute.keyword, tag=attribute.tag) from error
    return Edit(attribute.tag, attribute.vr, _padded(text, attribute.vr, terms))


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
