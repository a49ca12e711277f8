"""The record of a change inside the image: OriginalAttributesSequence (PS3.3 C.12.1.1.9, PS3.18 10.5.3).

Owns the encoding of one more item behind the earlier ones, which stay byte for byte. Pure. It must not decide what
changes. Errors: `Malformed`, `Unfit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from moichord.dicom.encoding import IMPLICIT_LITTLE, Edit, Encoding, encode_element, encode_item
from moichord.dicom.errors import Unfit
from moichord.dicom.values import Raw

ORIGINAL_ATTRIBUTES_SEQUENCE = 0x04000561
_MODIFIED_ATTRIBUTES_SEQUENCE = 0x04000550
_ATTRIBUTE_MODIFICATION_DATETIME = 0x04000562
_MODIFYING_SYSTEM = 0x04000563
_SOURCE_OF_PREVIOUS_VALUES = 0x04000564
_REASON = 0x04000565


@dataclass(frozen=True, slots=True)
class Previous:
    """A value before the change: `vr` as it is to be written, `value` the original bytes (b"" where absent)."""

    tag: int
    vr: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """Who changed it, when and why: encoded and padded values of (0400,0562) to (0400,0565)."""

    modification_datetime: bytes
    modifying_system: bytes
    source_of_previous_values: bytes
    reason: bytes


def append(earlier: Raw | None, previous: Sequence[Previous], signature: Signature, encoding: Encoding) -> Edit:
    """The sequence with one item more, behind the `earlier` ones.

    A sequence that a sender wrote as UN stays UN, whose content is implicit VR little endian (PS3.5 6.2.2 note 4).
    """
    vr = "UN" if earlier is not None and earlier.vr == "UN" else "SQ"
    if vr == "UN":
        if encoding.big_endian:
            problem = "OriginalAttributesSequence is of VR UN in a big-endian file; no item can be added to it"
            raise Unfit(problem, keyword="OriginalAttributesSequence", tag=ORIGINAL_ATTRIBUTES_SEQUENCE)
        encoding = IMPLICIT_LITTLE
    modified = b"".join(encode_element(p.tag, p.vr, p.value, encoding) for p in sorted(previous, key=lambda p: p.tag))
    content = (
        encode_element(_MODIFIED_ATTRIBUTES_SEQUENCE, "SQ", encode_item(modified, encoding), encoding)
        + encode_element(_ATTRIBUTE_MODIFICATION_DATETIME, "DT", signature.modification_datetime, encoding)
        + encode_element(_MODIFYING_SYSTEM, "LO", signature.modifying_system, encoding)
        + encode_element(_SOURCE_OF_PREVIOUS_VALUES, "LO", signature.source_of_previous_values, encoding)
        + encode_element(_REASON, "CS", signature.reason, encoding)
    )
    items = (earlier.value if earlier is not None else b"") + encode_item(content, encoding)
    return Edit(ORIGINAL_ATTRIBUTES_SEQUENCE, vr, items)
