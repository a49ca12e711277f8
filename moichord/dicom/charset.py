"""Character sets of text values (PS3.5 6.1, PS3.3 C.12.1.1.2).

Owns which bytes stand for which text under a declared SpecificCharacterSet; several sets in one text are left to
`code_extensions`. It must not know files. A text that does not survive the way there and back is refused, never
replaced by question marks. Errors: `ValueError` (of which `UnicodeError` is one) from `encode` and `decode`, for the
caller to put into its own words.
"""

import re

from moichord.dicom import code_extensions
from moichord.dicom.code_extensions import DELIMITERS, FREE_TEXT_DELIMITERS, NAME_DELIMITERS, ROMAN, Repertoire

UTF8 = "ISO_IR 192"
DEFAULT = ("",)
_STAND_ALONE = {UTF8: "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
_TERM = re.compile(r"ISO(?:_IR| 2022 IR) (\d+)")
_DELIMITERS = dict.fromkeys(("ST", "LT", "UT"), FREE_TEXT_DELIMITERS) | {"PN": NAME_DELIMITERS}


def declared(value: bytes) -> tuple[str, ...]:
    """The terms in the value of SpecificCharacterSet; absent and empty mean the default repertoire."""
    terms = tuple(term.strip(" \0") for term in value.decode("ascii", "replace").split("\\"))
    return terms if any(terms) else DEFAULT


def decode(value: bytes, terms: tuple[str, ...], vr: str = "PN") -> str:
    """The text of `value`, padding included. Raises `ValueError` if its bytes are not of the declared sets."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if terms[0] in _STAND_ALONE:
        if b"\x1b" in value:
            raise ValueError(f"an escape sequence, which {terms[0]} does not have")
        return value.decode(_STAND_ALONE[terms[0]])
    return _repertoire(terms).decode(value, _DELIMITERS.get(vr, DELIMITERS))


def encode(text: str, terms: tuple[str, ...], vr: str = "PN") -> bytes:
    """The bytes of `text` in the declared sets. Raises `ValueError` if they do not have all its characters."""
    if text.isascii():
        return text.encode("ascii")
    if terms[0] in _STAND_ALONE:
        value = text.encode(_STAND_ALONE[terms[0]])
    else:
        value = _repertoire(terms).encode(text, _DELIMITERS.get(vr, DELIMITERS))
    if decode(value, terms, vr) != text:
        raise ValueError("the text does not survive being encoded")
    return value


def is_plain(value: bytes, terms: tuple[str, ...]) -> bool:
    """Whether `value` provably holds nothing but ASCII, so that any other set may be declared instead."""
    if not value.isascii() or b"\x1b" in value:
        return False
    return not (b"\\" in value or b"~" in value) or not looks_different(terms)


def looks_different(terms: tuple[str, ...]) -> bool:
    """Whether two codes of ASCII may be a yen sign and an overline, as in JIS X 0201, or the sets are unknown."""
    if terms[0] in _STAND_ALONE:
        return False
    try:
        return ROMAN in _repertoire(terms).declared
    except ValueError:
        return True


def spelled(terms: tuple[str, ...]) -> str:
    """The declared sets, for messages; what is no name of a set is quoted: it could be anything."""
    return " and ".join(_named(term) for term in terms)


def _named(term: str) -> str:
    if not term:
        return "the default repertoire"
    return term if term in _STAND_ALONE or _TERM.fullmatch(term) else repr(term)


def _repertoire(terms: tuple[str, ...]) -> Repertoire:
    """The sets of the terms; one that stands alone means nothing behind others (PS3.3 C.12.1.1.2)."""
    numbers = []
    for term in terms:
        if term in _STAND_ALONE:
            continue
        match = _TERM.fullmatch(term)
        if term and match is None:
            raise ValueError(f"unknown character set {term!r}")
        numbers.append(match[1] if match else "")
    return code_extensions.repertoire(numbers)
