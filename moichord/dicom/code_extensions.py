"""Code extensions: several character sets in one text, switched by escape sequences (PS3.5 6.1.2.5, ISO/IEC 2022).

Owns the two halves of the code table: G0 holds what bytes below 80 mean, G1 what bytes from 80 on mean. An escape
sequence puts another set into one of them; a delimiter or a line's end brings back the sets of the first declared
term. It must not know which terms a file declares. Pure. Errors: `ValueError`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_ESC = 0x1B
_ESCAPE = re.compile(rb"\x1b(?:\$[()]?|[()-])[\x40-\x7e]")
_LINE_ENDS = "\t\n\f\r"
DELIMITERS = _LINE_ENDS + "\\"
"""What brings the first sets back in a text of several values; without the backslash in ST, LT and UT."""
NAME_DELIMITERS = DELIMITERS + "^="
FREE_TEXT_DELIMITERS = _LINE_ENDS


class GraphicSet(NamedTuple):
    """One set of characters: `width` bytes each, in G1 if `upper`; `codec` of Python has them behind `prefix`."""

    escape: bytes
    codec: str
    width: int = 1
    upper: bool = True
    prefix: bytes = b""

    def decode(self, code: bytes) -> str:
        """One character. Raises `ValueError` if the set has none of that code."""
        if len(code) < self.width or any((byte >= 0x80) is not self.upper for byte in code):
            raise ValueError("bytes that are not of the character set in force")
        if self.width == 2:
            code = self.prefix + bytes(byte | 0x80 for byte in code)
        text = code.decode(self.codec)
        if len(text) != 1:
            raise ValueError("bytes that are not of the character set in force")
        return text

    def encode(self, character: str) -> bytes | None:
        """The code of one character; None if the set does not have it."""
        try:
            code = character.encode(self.codec)
        except UnicodeEncodeError:
            return None
        if not code.startswith(self.prefix) or len(code) != self.width + len(self.prefix):
            return None
        code = code[len(self.prefix) :]
        if self.codec != "ascii" and min(code) < 0xA0:
            return None
        return code if self.upper else bytes(byte & 0x7F for byte in code)


ASCII = GraphicSet(b"\x1b(B", "ascii", upper=False)
ROMAN = GraphicSet(b"\x1b(J", "ascii", upper=False)
"""The lower half of JIS X 0201: ASCII, but that two of its codes look different (see `charset.is_plain`)."""
_SETS_BY_NUMBER = {
    "6": (ASCII,),
    "13": (ROMAN, GraphicSet(b"\x1b)I", "shift_jis")),
    "58": (GraphicSet(b"\x1b$)A", "gb2312", 2),),
    "87": (GraphicSet(b"\x1b$B", "euc_jp", 2, upper=False),),
    "100": (GraphicSet(b"\x1b-A", "latin_1"),),
    "101": (GraphicSet(b"\x1b-B", "iso8859_2"),),
    "109": (GraphicSet(b"\x1b-C", "iso8859_3"),),
    "110": (GraphicSet(b"\x1b-D", "iso8859_4"),),
    "126": (GraphicSet(b"\x1b-F", "iso8859_7"),),
    "127": (GraphicSet(b"\x1b-G", "iso8859_6"),),
    "138": (GraphicSet(b"\x1b-H", "iso8859_8"),),
    "144": (GraphicSet(b"\x1b-L", "iso8859_5"),),
    "148": (GraphicSet(b"\x1b-M", "iso8859_9"),),
    "149": (GraphicSet(b"\x1b$)C", "euc_kr", 2),),
    "159": (GraphicSet(b"\x1b$(D", "euc_jp", 2, upper=False, prefix=b"\x8f"),),
    "166": (GraphicSet(b"\x1b-T", "tis_620"),),
    "203": (GraphicSet(b"\x1b-b", "iso8859_15"),),
}
"""By ISO registration number (PS3.3 tables C.12-2 to C.12-4)."""


@dataclass(frozen=True, slots=True)
class Repertoire:
    """The sets that one declaration allows; `g0` and `g1` are in force at the beginning, and after a delimiter."""

    g0: GraphicSet
    g1: GraphicSet | None
    declared: tuple[GraphicSet, ...]

    def decode(self, value: bytes, delimiters: str = DELIMITERS) -> str:
        """The text of `value`. Raises `ValueError` for what is not of the declared sets."""
        by_escape = {one.escape: one for one in (*self.declared, ASCII)}
        g0, g1 = self.g0, self.g1
        text: list[str] = []
        position = 0
        while position < len(value):
            byte = value[position]
            character = chr(byte)
            if byte == _ESC:
                escape = _ESCAPE.match(value, position)
                chosen = by_escape.get(escape[0]) if escape else None
                if chosen is None:
                    raise ValueError("an escape sequence of a character set that is not declared")
                g0, g1 = (g0, chosen) if chosen.upper else (chosen, g1)
                position += len(chosen.escape)
                continue
            if byte <= 0x20 or (character in delimiters and g0.width == 1):
                if character in delimiters:
                    g0, g1 = self.g0, self.g1
                text.append(character)
                position += 1
                continue
            current = g1 if byte >= 0x80 else g0
            if current is None:
                raise ValueError("bytes from 80 on, and no declared character set that has them")
            text.append(current.decode(value[position : position + current.width]))
            position += current.width
        return "".join(text)

    def encode(self, text: str, delimiters: str = DELIMITERS) -> bytes:
        """The bytes of `text`, each character in a set that is in force or else in the first declared that has it.

        Before a delimiter and at the end the first sets are in force again (PS3.5 6.1.2.5.3). Raises `ValueError`.
        """
        cuts = [0, *(at + 1 for at, character in enumerate(text) if character in delimiters), len(text)]
        return b"".join(self._encode_part(text[start:end], delimiters) for start, end in pairwise(cuts))

    def _encode_part(self, part: str, delimiters: str) -> bytes:
        """A text with a delimiter at most at its end. One set for all of it is better than several."""
        end = part[-1:] if part[-1:] in delimiters else ""
        body = part.removesuffix(end)
        available = [one for one in (self.g0, self.g1, *self.declared, ASCII) if one is not None]
        available.sort(key=lambda one: not all(c.isascii() or one.encode(c) for c in body))
        g0, g1 = self.g0, self.g1
        value = b""
        for character in body:
            chosen, code = _first_with(character, [one for one in (g0, g1) if one is not None], available)
            if chosen not in (g0, g1):
                value += chosen.escape
                g0, g1 = (g0, chosen) if chosen.upper else (chosen, g1)
            value += code
        return value + (b"" if g0 == self.g0 else self.g0.escape) + end.encode("ascii")


def repertoire(numbers: Sequence[str]) -> Repertoire:
    """The sets of the registration numbers, in the order of their declaration; "" is the default repertoire.

    Raises `ValueError` for a number that DICOM does not define.
    """
    declared: list[GraphicSet] = []
    for number in numbers:
        if (number or "6") not in _SETS_BY_NUMBER:
            raise ValueError(f"unknown character set {number}")
        declared += _SETS_BY_NUMBER[number or "6"]
    first = _SETS_BY_NUMBER[numbers[0] or "6"]
    return Repertoire(
        g0=ROMAN if ROMAN in first else ASCII,
        g1=next((one for one in first if one.upper), None),
        declared=tuple(declared),
    )


def _first_with(
    character: str, in_force: Sequence[GraphicSet], available: Sequence[GraphicSet]
) -> tuple[GraphicSet, bytes]:
    if character == " ":
        return in_force[0], b" "
    for one in (*in_force, *available):
        if code := one.encode(character):
            return one, code
    raise ValueError("characters that the declared sets do not have")
