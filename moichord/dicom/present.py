"""Reads from a file what coercion needs to know of it.

Owns the reading that precedes the decision. It must not decide. Errors: those of `values`.
"""

from collections.abc import Sequence

from moichord.dicom import charset
from moichord.dicom.coercion import INSTANCE_COERCION_DATETIME, ISSUER_OF_PATIENT_ID, Present, Wanted
from moichord.dicom.encoding import (
    DIGITAL_SIGNATURES,
    PIXEL_DATA,
    TEXT_VRS,
    TRAILING_PADDING,
    UNDEFINED,
)
from moichord.dicom.errors import DicomError
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE
from moichord.dicom.part10 import Part10
from moichord.dicom.reading import PositionedFile, Window
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, character_set, effective_vr, raw
from moichord.dicom.walker import Budget, Walker

_RECORD_LIMIT = 16 * 1024 * 1024


def read_present(file: PositionedFile, part10: Part10, wanted: Sequence[Wanted], record: str = "") -> Present:
    """The values that `wanted` touches, the character set, and signatures; `part10` must have been walked to its end.

    Whether all text is plain ASCII is looked up only if a wanted value, or `record`, is not.
    """
    tags = [one.attribute.tag for one in wanted]
    tags += [SPECIFIC_CHARACTER_SET, INSTANCE_COERCION_DATETIME, ISSUER_OF_PATIENT_ID]
    values = {tag: found for tag in tags if (found := raw(file, part10, tag)) is not None}
    earlier = _original_attributes(file, part10)
    if earlier is not None:
        values[ORIGINAL_ATTRIBUTES_SEQUENCE] = earlier
    terms = character_set(file, part10)
    needs_set = not (record.isascii() and all(one.value.isascii() for one in wanted))
    return Present(
        encoding=part10.encoding,
        terms=terms,
        values=values,
        plain=needs_set and text_is_plain(file, part10, terms),
        signed=part10.find(DIGITAL_SIGNATURES) is not None,
    )


def text_is_plain(file: PositionedFile, part10: Part10, terms: tuple[str, ...], budget: Budget | None = None) -> bool:
    """Whether every text of the image, at any depth, is provably ASCII; False where that cannot be known."""
    walker = Walker(Window(file), part10.encoding, budget or Budget())
    ranges = [(part10.dataset_offset, part10.tail_offset)]
    ranges += [(e.offset, e.end) for e in part10.tail or () if e.tag not in (PIXEL_DATA, TRAILING_PADDING)]
    try:
        return all(_range_is_plain(walker, start, end, terms) for start, end in ranges)
    except DicomError:
        return False


def _range_is_plain(walker: Walker, offset: int, end: int, terms: tuple[str, ...]) -> bool:
    """Sequences are entered simply by going on behind their headers: what they hold lies flat in the file."""
    left = walker.budget.nested
    while offset + 8 <= end:
        left -= 1
        tag = walker.tag_at(offset)
        if tag >> 16 == 0xFFFE:
            offset += 8
            continue
        stated, length, value_offset = walker.header_at(offset, tag)
        vr = effective_vr(stated, tag)
        if vr == "SQ" and stated != "UN":
            offset = value_offset
            continue
        if length == UNDEFINED or left < 0:
            return False
        if vr in TEXT_VRS or vr == "UN" or stated == "UN":
            text = walker.window.bytes_at(value_offset, length) if length <= _RECORD_LIMIT else b"\x80"
            if not charset.is_plain(text, terms):
                return False
        offset = value_offset + length
    return True


def _original_attributes(file: PositionedFile, part10: Part10) -> Raw | None:
    """The present items, without the delimiter that ends a sequence of undefined length."""
    found = raw(file, part10, ORIGINAL_ATTRIBUTES_SEQUENCE, _RECORD_LIMIT)
    element = part10.find(ORIGINAL_ATTRIBUTES_SEQUENCE)
    if found is None or element is None or element.length != UNDEFINED:
        return found
    return Raw(found.vr, found.value[:-8])
