"""Reads from a file what coercion needs to know of it.

Owns the reading that precedes the decision. It must not decide. Errors: those of `values`.
"""

from collections.abc import Iterator, Sequence

from moichord.dicom import charset
from moichord.dicom.coercion import INSTANCE_COERCION_DATETIME, ISSUER_OF_PATIENT_ID
from moichord.dicom.encoding import (
    DIGITAL_SIGNATURES,
    KNOWN_VRS,
    PIXEL_DATA,
    TAIL,
    TEXT_VRS,
    TRAILING_PADDING,
    UNDEFINED,
    Element,
)
from moichord.dicom.errors import DicomError, tag_text
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE
from moichord.dicom.part10 import Part10
from moichord.dicom.reading import PositionedFile, Window
from moichord.dicom.species import PATIENT_SPECIES_CODE_SEQUENCE, PATIENT_SPECIES_DESCRIPTION
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, character_set, effective_vr, raw
from moichord.dicom.walker import Budget, Walker
from moichord.dicom.wanted import OtherText, Present, Wanted

_RECORD_LIMIT = 16 * 1024 * 1024
_ALWAYS = (
    SPECIFIC_CHARACTER_SET,
    INSTANCE_COERCION_DATETIME,
    ISSUER_OF_PATIENT_ID,
    PATIENT_SPECIES_DESCRIPTION,
)
_SEQUENCES = (ORIGINAL_ATTRIBUTES_SEQUENCE, PATIENT_SPECIES_CODE_SEQUENCE)


def read_present(file: PositionedFile, part10: Part10, wanted: Sequence[Wanted], record: str = "") -> Present:
    """The values that `wanted` touches, the character set, and signatures; `part10` must have been walked to its end.

    The other text of the image is looked up only if a wanted value, or `record`, is not ASCII.
    """
    tags = [*(one.attribute.tag for one in wanted), *_ALWAYS]
    values = {tag: found for tag in tags if (found := raw(file, part10, tag)) is not None}
    values |= {tag: found for tag in _SEQUENCES if (found := raw(file, part10, tag, _RECORD_LIMIT)) is not None}
    terms = character_set(file, part10)
    in_ascii = record.isascii() and all(one.value.isascii() for one in wanted)
    return Present(
        encoding=part10.encoding,
        terms=terms,
        values=values,
        other_text=OtherText() if in_ascii else other_text(file, part10, terms),
        signed=part10.find(DIGITAL_SIGNATURES) is not None,
    )


def other_text(file: PositionedFile, part10: Part10, terms: tuple[str, ...], budget: Budget | None = None) -> OtherText:
    """The elements of the top level with text, at any depth, that is not provably ASCII, or may have such text."""
    walker = Walker(Window(file), part10.encoding, budget or Budget())
    found: dict[int, Raw] = {}
    left = _RECORD_LIMIT
    for element in _with_text(part10):
        if _is_plain(walker, element, terms):
            continue
        name = f"element {tag_text(element.tag)}"
        left -= element.end - element.offset
        if element.tag > TAIL:
            return OtherText(out_of_reach=f"{name} behind the pixel data may have other text")
        if left < 0:
            return OtherText(out_of_reach=f"{name} is too long to be re-encoded")
        if (value := raw(file, part10, element.tag, _RECORD_LIMIT)) is not None:
            found[element.tag] = value
    return OtherText(found)


def _with_text(part10: Part10) -> Iterator[Element]:
    yield from part10.elements
    yield from (one for one in part10.tail or () if one.tag not in (PIXEL_DATA, TRAILING_PADDING))


def _is_plain(walker: Walker, element: Element, terms: tuple[str, ...]) -> bool:
    """Sequences are entered simply by going on behind their headers: what they hold lies flat in the file."""
    offset = element.offset
    left = walker.budget.nested
    try:
        while offset + 8 <= element.end:
            left -= 1
            tag = walker.tag_at(offset)
            if tag >> 16 == 0xFFFE:
                offset += 8
                continue
            stated, length, value_offset = walker.header_at(offset, tag)
            vr = effective_vr(stated, tag)
            if stated != "UN" and (vr == "SQ" or length == UNDEFINED):
                offset = value_offset
                continue
            if length == UNDEFINED or left < 0:
                return False
            if not _is_value_plain(walker, vr, value_offset, length, terms):
                return False
            offset = value_offset + length
    except DicomError:
        return False
    return True


def _is_value_plain(walker: Walker, vr: str, offset: int, length: int, terms: tuple[str, ...]) -> bool:
    if vr in KNOWN_VRS and vr not in TEXT_VRS and vr != "UN":
        return True
    return length <= _RECORD_LIMIT and charset.is_plain(walker.window.bytes_at(offset, length), terms)
