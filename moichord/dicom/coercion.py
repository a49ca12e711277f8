"""From the wanted tags and what is there to the edits, and the record of them.

Owns the decision what changes and what may not change; `switching` decides in which character set. Pure: it reads
nothing and writes nothing, and the same input gives the same bytes. If nothing changes, there are no edits at all, so
that coercing a coerced image is stable. It must not know files.

Errors: `Unfit`, naming the attribute and the source of the wanted value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from moichord.dicom import charset
from moichord.dicom.encoding import DIGITAL_SIGNATURES, MAC_PARAMETERS, TEXT_VRS, Edit, Encoding
from moichord.dicom.errors import DicomError, Unfit
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE, Previous, Signature, append
from moichord.dicom.species import (
    PATIENT_SPECIES_CODE_SEQUENCE,
    PATIENT_SPECIES_DESCRIPTION,
    coded_species,
    contradicts,
)
from moichord.dicom.switching import (
    chosen_set,
    declaration_change,
    earlier_records,
    switch_note,
)
from moichord.dicom.validation import FREE_TEXT_VRS, require_valid
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, encode_number, significant, text_of
from moichord.dicom.wanted import Change, Coercion, Decision, OnMismatch, Present, Provenance, Signed, Wanted

INSTANCE_COERCION_DATETIME = 0x00080015
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
_BINARY = frozenset(["US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"])


def coerce(
    present: Present,
    wanted: Sequence[Wanted],
    provenance: Provenance,
    *,
    record_changes: bool = True,
    signed: str = Signed.FAIL,
) -> Coercion:
    """The edits that make the image what is wanted, recorded in OriginalAttributesSequence (0400,0561).

    Raises `Unfit` for a value that cannot be written, one that must not differ (`on_mismatch: fail`), a species that
    contradicts the coded one, present bytes that cannot be read but would have to be compared, and for signed objects
    unless `signed` is strip.
    """
    decisions = [decision for one in wanted if (decision := _decide(present, one)) is not None]
    notes = _species_notes(present, wanted, decisions)
    if not decisions:
        return Coercion(notes=notes)
    stripped = _strip_signatures(present, signed)
    record = (provenance.modifying_system, provenance.source_of_previous_values) if record_changes else ()
    terms, recoded = chosen_set(present, decisions, record)
    edits = {d.wanted.attribute.tag: _edit(d.wanted, d.text, terms, present.encoding) for d in decisions}
    if len(edits) < len(decisions):
        raise Unfit("one attribute is wanted twice")
    changes = [Change(d.wanted.attribute.keyword, d.before, d.text) for d in decisions]
    earlier = earlier_records(present, terms)
    if terms != present.terms:
        edits[SPECIFIC_CHARACTER_SET] = Edit(SPECIFIC_CHARACTER_SET, "CS", _padded(charset.UTF8, "CS", terms))
        changes.append(declaration_change(present))
        notes += (switch_note(recoded),)
    if record_changes:
        edits |= _record(present, edits, earlier, provenance, terms)
    elif earlier is not None and earlier != present.values[ORIGINAL_ATTRIBUTES_SEQUENCE]:
        edits[ORIGINAL_ATTRIBUTES_SEQUENCE] = Edit(ORIGINAL_ATTRIBUTES_SEQUENCE, *astuple(earlier))
    if stripped:
        notes += ("digital signatures were removed, since the changes make them invalid",)
    edits |= stripped | {edit.tag: edit for edit in recoded}
    return Coercion(tuple(edits[tag] for tag in sorted(edits)), tuple(changes), notes)


def _decide(present: Present, wanted: Wanted) -> Decision | None:
    """Whether the attribute changes; None if it stays as it is."""
    attribute = wanted.attribute
    free = attribute.vr in FREE_TEXT_VRS
    require_valid(attribute, wanted.value.rstrip(" ") if free else wanted.value.strip(" "), wanted.source)
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
        raise wanted.unfit(problem, brief=f"{attribute.keyword} of the image differs from {origin}")
    return Decision(wanted, text, before)


def _readable(found: Raw, wanted: Wanted, present: Present) -> str:
    attribute = wanted.attribute
    try:
        return text_of(found, attribute.tag, present.encoding, present.terms)
    except DicomError as error:
        problem = f"{attribute.keyword} of the image cannot be compared or replaced: {error.problem}"
        # No source: what is wrong is in the image, and nobody can mend it where the new value comes from.
        raise Unfit(problem, keyword=attribute.keyword, tag=attribute.tag) from error


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


def _species_notes(present: Present, wanted: Sequence[Wanted], decisions: Sequence[Decision]) -> tuple[str, ...]:
    """Refuse a species in words that contradicts the coded one; say so where the two cannot be compared."""
    codes = present.values.get(PATIENT_SPECIES_CODE_SEQUENCE)
    text, source = _species_text(present, wanted, decisions)
    if codes is None or not text:
        return ()
    unknown = ("the species is given in words and as a code, and whether they agree is not known here",)
    try:
        coded = coded_species(codes, present.encoding, present.terms)
    except DicomError:
        return unknown
    verdict = contradicts(text, coded) if coded is not None else None
    if coded is None or not verdict:
        return () if verdict is False else unknown
    code = f"{coded.meaning!r} ({coded.value!r}, {coded.scheme!r})"
    origin = f"according to {source}" if source else "in words"
    raise Unfit(
        f"the species is {text!r} {origin}, but the image's PatientSpeciesCodeSequence says {code}",
        keyword="PatientSpeciesDescription",
        source=source,
        tag=PATIENT_SPECIES_CODE_SEQUENCE,
        brief="the species in words contradicts PatientSpeciesCodeSequence",
    )


def _species_text(present: Present, wanted: Sequence[Wanted], decisions: Sequence[Decision]) -> tuple[str, str]:
    """The species in words as it will be, and the source of the one that is wanted."""
    for decision in decisions:
        if decision.wanted.attribute.tag == PATIENT_SPECIES_DESCRIPTION:
            return decision.text, decision.wanted.source
    found = present.values.get(PATIENT_SPECIES_DESCRIPTION)
    if found is None:
        return "", ""
    source = next((one.source for one in wanted if one.attribute.tag == PATIENT_SPECIES_DESCRIPTION), "")
    try:
        return text_of(found, PATIENT_SPECIES_DESCRIPTION, present.encoding, present.terms), source
    except DicomError:
        return "", ""


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


def _edit(wanted: Wanted, text: str, terms: tuple[str, ...], encoding: Encoding) -> Edit:
    attribute = wanted.attribute
    if not text or attribute.vr not in _BINARY:
        return Edit(attribute.tag, attribute.vr, _padded(text, attribute.vr, terms))
    try:
        return Edit(attribute.tag, attribute.vr, encode_number(text, attribute.vr, encoding))
    except ValueError as error:
        raise wanted.unfit(f"{wanted.origin} {error}") from error


def _padded(text: str, vr: str, terms: tuple[str, ...]) -> bytes:
    """Encoded text of even length: UIDs are padded with a zero byte, all else with a space (PS3.5 6.2)."""
    value = charset.encode(text, terms if vr in TEXT_VRS else charset.DEFAULT, vr)
    return value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)


def _record(
    present: Present, edits: Mapping[int, Edit], earlier: Raw | None, provenance: Provenance, terms: tuple[str, ...]
) -> dict[int, Edit]:
    """InstanceCoercionDateTime and one more item of OriginalAttributesSequence.

    If the character set changes, the item of previous values holds the old SpecificCharacterSet among them, which is
    what makes their bytes legible (PS3.5 7.5.3).
    """
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
    moment = Edit(INSTANCE_COERCION_DATETIME, "DT", signature.modification_datetime)
    sequence = append(earlier, previous, signature, present.encoding)
    return {moment.tag: moment, sequence.tag: sequence}


def _previous(tag: int, vr: str, found: Raw | None) -> Previous:
    return Previous(tag, vr, b"") if found is None else Previous(tag, found.vr or vr, found.value)
