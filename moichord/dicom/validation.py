"""What a new value must be like before it may be written (PS3.5 6.2, table 6.2-1).

Owns length, repertoire and form for each VR. Pure. It must not know what is in the file. Errors: `Unfit`, naming the
attribute and where the value comes from. Lengths are characters, not bytes.
"""

import re
import unicodedata
from datetime import datetime
from math import isinf

from moichord.dicom.dictionary import Attribute
from moichord.dicom.errors import Unfit

_MOST = {"LO": 64, "SH": 16, "ST": 1024, "LT": 10240, "AE": 16, "CS": 16, "DS": 16, "IS": 12, "UI": 64, "DT": 26}
FREE_TEXT_VRS = frozenset(["ST", "LT", "UT"])
_LAYOUT = "\r\n\f\t"
_TIME = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_DATE_PARTS = r"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])"
_DECIMAL = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
_FORMS = {
    "AE": (r"[ -\[\]-~]+", "ASCII letters, digits and signs"),
    "AS": (r"\d{3}[DWMY]", "three digits and D, W, M or Y"),
    "CS": (r"[A-Z0-9 _]+", "capital letters, digits, spaces and underscores"),
    "DA": (r"\d{8}", "a date as YYYYMMDD"),
    "DS": (_DECIMAL, "a decimal number"),
    "DT": (rf"{_DATE_PARTS}({_TIME})?)?)?([+-]\d{{4}})?", "a date and time as YYYYMMDDHHMMSS.FFFFFF+ZZZZ"),
    "IS": (r"[+-]?\d+", "a whole number"),
    "TM": (_TIME, "a time as HHMMSS.FFFFFF"),
    "UI": (r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*", "a UID: numbers separated by dots"),
    "UR": (r"[!-\[\]-~]+", "a URI in ASCII"),
    **dict.fromkeys(("FL", "FD"), (_DECIMAL, "a decimal number")),
    **dict.fromkeys(("SS", "SL", "SV", "US", "UL", "UV"), (r"[+-]?\d{1,20}", "a whole number")),
}


def require_valid(attribute: Attribute, text: str, source: str) -> None:
    """Raise `Unfit` if `text` cannot be a single value of `attribute`. Empty is always valid: a zero length."""
    problem = _problem(attribute.vr, text) if text else None
    if problem:
        origin = f"the value from {source}" if source else "the value"
        raise Unfit(
            f"{attribute.keyword}: {origin} {problem}", keyword=attribute.keyword, source=source, tag=attribute.tag
        )


def _problem(vr: str, text: str) -> str | None:
    """What is wrong with `text`, as the end of a sentence; the text itself is not repeated."""
    for character in text:
        layout = vr in FREE_TEXT_VRS and character in _LAYOUT
        if not layout and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"holds a control character (U+{ord(character):04X})"
    if "\\" in text and vr not in FREE_TEXT_VRS:
        return "holds a backslash, which would make two values of it"
    if len(text) > _MOST.get(vr, len(text)):
        return f"has {len(text)} characters, and VR {vr} takes {_MOST[vr]} at most"
    if vr == "PN":
        return _name_problem(text)
    pattern, form = _FORMS.get(vr, (".*", ""))
    if not re.fullmatch(pattern, text, re.DOTALL | re.ASCII):
        return f"is not {form}, as VR {vr} wants"
    return _range_problem(vr, text)


def _name_problem(text: str) -> str | None:
    """A name has up to 3 groups of 64 characters (alphabetic, ideographic, phonetic), each of up to 5 components."""
    groups = text.split("=")
    if len(groups) > 3:
        return "has more than three groups separated by '='"
    for group in groups:
        if len(group) > 64:
            return f"has {len(group)} characters, and a person's name takes 64 at most"
        if group.count("^") > 4:
            return "has more than five components separated by '^'"
    return None


def _range_problem(vr: str, text: str) -> str | None:
    if vr == "IS" and not -(2**31) <= int(text) < 2**31:
        return "is a number out of the range of VR IS"
    if vr in ("DS", "FL", "FD") and isinf(float(text)):
        return f"is a number out of the range of VR {vr}"
    if vr in ("DA", "DT") and re.match(r"\d{8}", text):
        try:
            datetime.strptime(text[:8], "%Y%m%d")
        except ValueError:
            return "is not a date that exists"
    offset = re.search(r"[+-](\d{2})(\d{2})$", text) if vr == "DT" else None
    if offset and (int(offset[1]) > 14 or int(offset[2]) > 59):
        return "has an offset from UTC that does not exist"
    return None
