"""Read the few small values that are needed, as text.

Owns the decoding of single top-level values (PS3.5 6.2). It must not know what they are for. Errors: `Unfit` for bytes
that are not of the declared character set, `Malformed` for a value too long or of the wrong size, `Incomplete` if the
file ends early.
"""

import struct
from dataclasses import dataclass

from moichord.dicom import charset
from moichord.dicom.encoding import IMPLICIT_LITTLE, TEXT_VRS, UNDEFINED, Encoding
from moichord.dicom.errors import Incomplete, Malformed, Unfit
from moichord.dicom.part10 import Part10
from moichord.dicom.reading import PositionedFile

SPECIFIC_CHARACTER_SET = 0x00080005
SMALL = 64 * 1024
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_SINGLE = frozenset(["ST", "LT", "UT", "UR"])


@dataclass(frozen=True, slots=True)
class Raw:
    """A value as it lies in the file: `vr` as stated there ("" in implicit VR), `value` with its padding.

    `delimited`: its length is undefined, which makes it a sequence; the delimiter at its end is not in `value`.
    """

    vr: str
    value: bytes
    delimited: bool = False


def raw(file: PositionedFile, part10: Part10, tag: int, limit: int = SMALL) -> Raw | None:
    """The bytes of a top-level value; None if the element is absent."""
    element = part10.find(tag)
    if element is None:
        return None
    length = element.end - element.value_offset
    if length > limit:
        raise Malformed("the value is too long to be read", tag=tag, offset=element.offset, need=length, limit=limit)
    value = file.read_at(element.value_offset, length)
    if len(value) < length:
        raise Incomplete("the file ends inside a value", tag=tag, offset=element.offset, need=length, have=len(value))
    if element.length == UNDEFINED:
        return Raw(element.vr, value[:-8], delimited=True)
    return Raw(element.vr, value)


def character_set(file: PositionedFile, part10: Part10) -> tuple[str, ...]:
    """The terms of SpecificCharacterSet (0008,0005) that hold for the top level."""
    found = raw(file, part10, SPECIFIC_CHARACTER_SET)
    return charset.declared(found.value) if found else charset.DEFAULT


def value(file: PositionedFile, part10: Part10, tag: int) -> str | list[str] | None:
    """One value as text, several as a list; "" if it is empty, None if the element is absent."""
    found = raw(file, part10, tag)
    if found is None:
        return None
    encoding, vr = part10.encoding if tag >> 16 != 2 else Encoding(), effective_vr(found.vr, tag)
    terms = character_set(file, part10) if vr in TEXT_VRS else charset.DEFAULT
    texts = split(text_of(found, tag, encoding, terms), vr)
    return texts[0] if len(texts) == 1 else texts


def number(file: PositionedFile, part10: Part10, tag: int) -> int | None:
    """The first value as a whole number; None if it is absent, empty or no number."""
    found = value(file, part10, tag)
    first = found[0] if isinstance(found, list) else found
    try:
        return int(first) if first else None
    except ValueError:
        return None


def effective_vr(vr: str, tag: int) -> str:
    """The VR by which a value is read: the dictionary's where the file does not say (implicit VR, UN)."""
    if vr not in ("", "UN"):
        return vr
    from moichord.dicom import dictionary

    return dictionary.vr_of(tag)


def text_of(found: Raw, tag: int, encoding: Encoding, terms: tuple[str, ...]) -> str:
    """A value as text, padding removed; several values stay joined by backslashes."""
    if found.delimited:
        raise Malformed("a value of undefined length is no text", tag=tag)
    vr = effective_vr(found.vr, tag)
    if vr in _NUMBERS:
        return _numbers(found, tag, vr, IMPLICIT_LITTLE if found.vr == "UN" else encoding)
    try:
        text = charset.decode(found.value, terms if vr in TEXT_VRS else charset.DEFAULT, vr)
    except ValueError as error:
        sets = charset.spelled(terms) if vr in TEXT_VRS else "the default repertoire"
        raise Unfit(f"its bytes are not text of the declared character set, {sets}", tag=tag) from error
    return significant(text, vr)


def significant(text: str, vr: str) -> str:
    """What of a text counts: leading spaces do in ST, LT, UT; a name's trailing empty components do not."""
    if vr in ("ST", "LT", "UT"):
        return text.rstrip(" \0")
    parts = [part.strip(" \0") for part in text.split("\\")] if vr != "UR" else [text.strip(" \0")]
    if vr == "PN":
        parts = ["=".join(group.rstrip("^ ") for group in part.split("=")).rstrip("=") for part in parts]
    return "\\".join(parts)


def split(text: str, vr: str) -> list[str]:
    """The values of a text: a backslash separates them where the VR allows several."""
    return [text] if vr in _SINGLE else text.split("\\")


def encode_number(text: str, vr: str, encoding: Encoding) -> bytes:
    """A number in binary. Raises `ValueError` if it is none, or out of the range of its VR."""
    try:
        number = float(text) if vr in ("FL", "FD") else int(text)
        return struct.pack(encoding.order + _NUMBERS[vr], number)
    except (ValueError, OverflowError, struct.error) as error:
        raise ValueError(f"is no number that VR {vr} can hold") from error


def _numbers(found: Raw, tag: int, vr: str, encoding: Encoding) -> str:
    code = _NUMBERS[vr]
    count, rest = divmod(len(found.value), struct.calcsize("=" + code))
    if rest:
        raise Malformed(f"the length of the value does not suit VR {vr}", tag=tag)
    return "\\".join(str(number) for number in struct.unpack(f"{encoding.order}{count}{code}", found.value))
