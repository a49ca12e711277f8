"""Character sets of text values (PS3.5 6.1, PS3.3 C.12.1.1.2).

Owns which bytes stand for which text under a declared SpecificCharacterSet. It must not know files. A text that does
not survive the way there and back is refused, never replaced by question marks. Errors: `ValueError` (of which
`UnicodeError` is one) from `encode` and `decode`, for the caller to put into its own words.
"""

import re

UTF8 = "ISO_IR 192"
DEFAULT = ("",)
_STAND_ALONE = {UTF8: "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
_BY_NUMBER = {
    "6": "ascii",
    "13": "shift_jis",
    "58": "gb2312",
    "87": "iso2022_jp",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "iso2022_jp_1",
    "166": "tis_620",
    "203": "iso8859_15",
}
_ESCAPES = {
    b"\x1b(B": "ascii",
    b"\x1b-A": "latin_1",
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-F": "iso8859_7",
    b"\x1b-G": "iso8859_6",
    b"\x1b-H": "iso8859_8",
    b"\x1b-L": "iso8859_5",
    b"\x1b-M": "iso8859_9",
    b"\x1b-T": "tis_620",
    b"\x1b-b": "iso8859_15",
    b"\x1b(J": "shift_jis",
    b"\x1b)I": "shift_jis",
    b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gb2312",
    b"\x1b$B": "iso2022_jp",
    b"\x1b$(D": "iso2022_jp_1",
}
_ESCAPE_OF = {codec: escape for escape, codec in _ESCAPES.items()}
_TERM = re.compile(r"ISO(?:_IR| 2022 IR) (\d+)")
_FRAGMENT = re.compile(rb"[^\x1b]+|\x1b(?:\$[()]?[\x40-\x7e]|[()-][\x40-\x7e])[^\x1b]*|\x1b")
_ESCAPE = re.compile(rb"\x1b(?:\$[()]?|[()-])[\x40-\x7e]")
_DELIMITERS = re.compile(rb"[\\^=\r\n\f\t]")
_COMPONENTS = re.compile(r"([\\^=\r\n\f\t])")


def declared(value: bytes) -> tuple[str, ...]:
    """The terms in the value of SpecificCharacterSet; absent and empty mean the default repertoire."""
    terms = tuple(term.strip(" \0") for term in value.decode("ascii", "replace").split("\\"))
    return terms if any(terms) else DEFAULT


def decode(value: bytes, terms: tuple[str, ...]) -> str:
    """The text of `value`, padding included. Raises `ValueError` if its bytes are not of the declared sets."""
    if b"\x1b" not in value:
        return value.decode("ascii") if value.isascii() else _decode_with(_codecs(terms)[0], value)
    codecs = _codecs(terms)
    return "".join(_decode_fragment(fragment, codecs) for fragment in _FRAGMENT.findall(value))


def encode(text: str, terms: tuple[str, ...]) -> bytes:
    """The bytes of `text` in the declared sets. Raises `ValueError` if they do not have all its characters."""
    if text.isascii():
        return text.encode("ascii")
    codecs = _codecs(terms)
    value = b"".join(_encode_component(part, codecs) for part in _COMPONENTS.split(text))
    if decode(value, terms) != text:
        raise ValueError("the text does not survive being encoded")
    return value


def is_plain(value: bytes, terms: tuple[str, ...]) -> bool:
    """Whether `value` provably holds nothing but ASCII, so that any other set may be declared instead."""
    if not value.isascii() or b"\x1b" in value:
        return False
    # In JIS X 0201 these two bytes are a yen sign and an overline.
    return "shift_jis" not in _codecs_or_none(terms) or not (b"\\" in value or b"~" in value)


def spelled(terms: tuple[str, ...]) -> str:
    """The declared sets, for messages."""
    return " and ".join(term or "the default repertoire" for term in terms)


def _codecs(terms: tuple[str, ...]) -> tuple[str, ...]:
    """The codec of each term, the first being in force where no escape sequence says otherwise (PS3.5 6.1.2.5.3)."""
    if terms[0] in _STAND_ALONE:
        return (_STAND_ALONE[terms[0]],)
    return tuple(_codec(term) for term in terms if term not in _STAND_ALONE)


def _codecs_or_none(terms: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return _codecs(terms)
    except ValueError:
        return ("shift_jis",)


def _codec(term: str) -> str:
    match = _TERM.fullmatch(term)
    codec = _BY_NUMBER.get(match[1]) if match else None
    if term and codec is None:
        raise ValueError(f"unknown character set {term!r}")
    return codec or "ascii"


def _decode_with(codec: str, value: bytes) -> str:
    text = value.decode(codec)
    if codec == "shift_jis" and len(text) != len(value):
        raise ValueError("bytes that are not of JIS X 0201")
    return text


def _decode_fragment(fragment: bytes, codecs: tuple[str, ...]) -> str:
    """What stands between two escape sequences; a delimiter brings the first set back."""
    escape = _ESCAPE.match(fragment)
    if not fragment.startswith(b"\x1b"):
        return _decode_with(codecs[0], fragment)
    codec = _ESCAPES.get(escape[0]) if escape else None
    if escape is None or codec is None or codec not in (*codecs, "ascii"):
        raise ValueError("an escape sequence of a character set that is not declared")
    if codec.startswith("iso2022"):
        return fragment.decode(codec)
    content = fragment[escape.end() :]
    delimiter = _DELIMITERS.search(content)
    split = delimiter.start() if delimiter else len(content)
    return _decode_with(codec, content[:split]) + _decode_with(codecs[0], content[split:])


def _encode_component(text: str, codecs: tuple[str, ...]) -> bytes:
    """One component in the first of the declared sets that has all its characters, escape sequence included."""
    for codec in codecs:
        try:
            value = text.encode(codec)
        except UnicodeEncodeError:
            continue
        if codec == "shift_jis" and len(value) != len(text):
            continue
        if codec == codecs[0] or text.isascii():
            return value
        if codec.startswith("iso2022"):
            # The codec returns to ASCII; a value must end in the set it began with (PS3.5 6.1.2.5.3).
            return value.removesuffix(b"\x1b(B") + b"\x1b(J" if codecs[0] == "shift_jis" else value
        return _ESCAPE_OF[codec] + value
    raise ValueError("characters that the declared sets do not have")
