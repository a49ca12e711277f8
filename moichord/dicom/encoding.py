"""How elements are laid out in bytes: transfer syntaxes, value representations, element headers.

Owns PS3.5 chapters 7 and 10 as far as headers go. It must not know files. Errors: `Malformed`.
"""

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

from moichord.dicom.errors import Malformed

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
TRANSFER_SYNTAX_UID = 0x00020010
DIRECTORY_RECORD_SEQUENCE = 0x00041220
PIXEL_DATA = 0x7FE00010
DIGITAL_SIGNATURES = 0xFFFAFFFA
MAC_PARAMETERS = 0x4FFE0001
TRAILING_PADDING = 0xFFFCFFFC
TAIL = 0x7FE00000
LAST_EDITABLE = 0x2FFFFFFF
"""Up to here a header is held in memory; contours and per-frame groups of any size come behind it."""

_SHORT_TEXT_VRS = frozenset(["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"])
SHORT_VRS = _SHORT_TEXT_VRS | frozenset(["AT", "FL", "FD", "SL", "SS", "UL", "US"])
"""The VRs with a 16-bit length in explicit VR (PS3.5 7.1.2); all others have one of 32 bits."""
LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
KNOWN_VRS = SHORT_VRS | LONG_VRS
TEXT_VRS = frozenset(["LO", "LT", "PN", "SH", "ST", "UC", "UT"])
"""The VRs that SpecificCharacterSet (0008,0005) governs (PS3.5 6.1.2.2)."""

DEFLATED_SYNTAXES = frozenset(["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_PRIVATE_BIG_ENDIAN_PIXELS = "1.2.840.113619.5.2"
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class Encoding:
    """Whether elements carry their VR, and the order of their bytes."""

    implicit: bool = False
    big_endian: bool = False

    @property
    def order(self) -> str:
        """The byte order as `struct` spells it."""
        return ">" if self.big_endian else "<"


EXPLICIT_LITTLE = Encoding()
IMPLICIT_LITTLE = Encoding(implicit=True)
EXPLICIT_BIG = Encoding(big_endian=True)
NATIVE_SYNTAXES = {
    "1.2.840.10008.1.2": IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.1": EXPLICIT_LITTLE,
    "1.2.840.10008.1.2.2": EXPLICIT_BIG,
}


@dataclass(slots=True)
class Element:
    """Where one element lies: `offset` of its tag, `value_offset`, `length` as stated, `end` of all of it.

    Offsets are bytes from the beginning of the file; `length` may be UNDEFINED; `vr` is "" in implicit VR.
    """

    tag: int
    vr: str
    offset: int
    value_offset: int
    length: int
    end: int


class Edit(NamedTuple):
    """One top-level element as it shall be: the encoded, padded `value` replaces any other; None removes it.

    `delimited` gives a sequence undefined length; its delimiter is not in `value`.
    """

    tag: int
    vr: str
    value: bytes | None
    delimited: bool = False


def encoding_of(transfer_syntax: str, offset: int | None = None) -> Encoding:
    """The encoding of a transfer syntax (PS3.5 10, A); those that nobody registered are taken as explicit LE.

    Raises `Malformed`, naming `offset`, for what is no UID and for syntaxes that deflate the data set.
    """
    if not _UID.fullmatch(transfer_syntax) or len(transfer_syntax) > 64:
        raise Malformed("the TransferSyntaxUID is not a UID", tag=TRANSFER_SYNTAX_UID, offset=offset)
    if transfer_syntax in DEFLATED_SYNTAXES:
        problem = f"deflated data sets are not accepted, another transfer syntax is needed than {transfer_syntax}"
        raise Malformed(problem, tag=TRANSFER_SYNTAX_UID, offset=offset)
    if transfer_syntax == _PRIVATE_BIG_ENDIAN_PIXELS:
        problem = f"private transfer syntax {transfer_syntax} is not supported"
        raise Malformed(problem, tag=TRANSFER_SYNTAX_UID, offset=offset)
    return NATIVE_SYNTAXES.get(transfer_syntax, EXPLICIT_LITTLE)


def is_standard_encapsulated(transfer_syntax: str) -> bool:
    """Whether the standard says that pixel data of this syntax are encapsulated in fragments (PS3.5 A.4)."""
    return transfer_syntax.startswith("1.2.840.10008.1.2.4.") or transfer_syntax in (
        "1.2.840.10008.1.2.5",
        _ENCAPSULATED_UNCOMPRESSED,
    )


def header_length(vr: str, encoding: Encoding) -> int:
    """Bytes before the value: 8, or 12 for explicit VRs with a 32-bit length (PS3.5 7.1.2)."""
    return 8 if encoding.implicit or vr in SHORT_VRS else 12


def encode_element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """One element of defined length; `value` is encoded and of even length already.

    Raises `Malformed` if it is too long for its VR.
    """
    start = struct.pack(encoding.order + "HH", tag >> 16, tag & 0xFFFF)
    if encoding.implicit:
        return start + struct.pack(encoding.order + "I", len(value)) + value
    if vr in SHORT_VRS:
        if len(value) > 0xFFFF:
            raise Malformed(f"{len(value)} bytes are too many for a value of VR {vr}", tag=tag)
        return start + vr.encode("ascii") + struct.pack(encoding.order + "H", len(value)) + value
    return start + vr.encode("ascii") + b"\0\0" + struct.pack(encoding.order + "I", len(value)) + value


def encode_delimited(tag: int, vr: str, items: bytes, encoding: Encoding) -> bytes:
    """A sequence of undefined length around encoded items (PS3.5 7.5.2)."""
    start = encode_element(tag, vr, b"", encoding)[:-4] + b"\xff\xff\xff\xff"
    return start + items + struct.pack(encoding.order + "HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)


def encode_item(content: bytes, encoding: Encoding) -> bytes:
    """One item of defined length around encoded elements (PS3.5 7.5.1)."""
    return struct.pack(encoding.order + "HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content
