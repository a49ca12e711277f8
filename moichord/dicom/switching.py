"""Which character set the new text is written in, and what another set means for the rest of the image.

Owns rule 8: ASCII needs nothing; the declared set is kept while it has all new text; otherwise the whole image goes
over to UTF-8 (ISO_IR 192), its other text included, or not at all. Pure. It must not know files. Errors: `Unfit`.
"""

from collections.abc import Collection, Iterator, Sequence

from moichord.dicom import charset
from moichord.dicom.encoding import TEXT_VRS, Edit
from moichord.dicom.errors import Unfit
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE
from moichord.dicom.recoding import declared_in_items, in_utf8
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw
from moichord.dicom.wanted import Change, Decision, Present, Wanted

_ASCII = b"ISO_IR 6"


def chosen_set(
    present: Present, decisions: Sequence[Decision], record: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Edit, ...]]:
    """The terms for all new text and the texts of the record, and the other text of the image in that set.

    These are the declared terms and nothing, or UTF-8 and the elements whose bytes change with it. Raises `Unfit` if
    the declared terms do not suffice, and some other text cannot be read with certainty.
    """
    lacking = next((d.wanted for d in decisions if not _fits(d.text, d.wanted.attribute.vr, present)), None)
    if lacking is None and all(_fits(text, "LO", present) for text in record):
        return present.terms, ()
    if present.other_text.out_of_reach:
        raise _stuck(lacking, present, present.other_text.out_of_reach)
    replaced = {d.wanted.attribute.tag for d in decisions} | {SPECIFIC_CHARACTER_SET, ORIGINAL_ATTRIBUTES_SEQUENCE}
    try:
        return (charset.UTF8,), tuple(_in_utf8(present, replaced))
    except Unfit as error:
        raise _stuck(lacking, present, error.problem) from error


def _in_utf8(present: Present, replaced: Collection[int]) -> Iterator[Edit]:
    """The text that nobody asked to change."""
    for tag, found in present.other_text.elements.items():
        value = None if tag in replaced else in_utf8(tag, found, present.encoding, present.terms)
        if value is not None:
            yield Edit(tag, found.vr, value, found.delimited)


def earlier_records(present: Present, terms: tuple[str, ...]) -> Raw | None:
    """The present items of OriginalAttributesSequence, byte for byte.

    If the set of the image changes, items that are not in ASCII say in which set they are, so that they stay legible.
    """
    earlier = present.values.get(ORIGINAL_ATTRIBUTES_SEQUENCE)
    if earlier is None or terms == present.terms:
        return earlier
    declaration = present.values.get(SPECIFIC_CHARACTER_SET)
    said = declaration.value if declaration is not None and declaration.value.strip(b" \0") else _ASCII
    items = declared_in_items(ORIGINAL_ATTRIBUTES_SEQUENCE, earlier, present.encoding, present.terms, said)
    return earlier if items is None else Raw(earlier.vr, items, earlier.delimited)


def declaration_change(present: Present) -> Change:
    """The change of SpecificCharacterSet, for the record."""
    before = "\\".join(present.terms) if SPECIFIC_CHARACTER_SET in present.values else None
    return Change("SpecificCharacterSet", before, charset.UTF8)


def switch_note(recoded: Collection[Edit]) -> str:
    """What is worth saying about a change of the set."""
    if not recoded:
        return "the character set is now ISO_IR 192; all other text of the image is ASCII"
    return f"the character set is now ISO_IR 192; other text was re-encoded, in {len(recoded)} elements"


def _fits(text: str, vr: str, present: Present) -> bool:
    if vr not in TEXT_VRS:
        return True
    try:
        charset.encode(text, present.terms, vr)
    except ValueError:
        return False
    return True


def _stuck(lacking: Wanted | None, present: Present, why: str) -> Unfit:
    """The value that the declared set lacks, or else the record of the changes, and why UTF-8 is no way out."""
    problem = (
        f"{lacking.origin if lacking else 'the record of the changes'} has characters that the image's character set "
        f"({charset.spelled(present.terms)}) lacks, and the image cannot go over to UTF-8: {why}"
    )
    return lacking.unfit(problem) if lacking else Unfit(problem, keyword="SpecificCharacterSet")
