"""The same text in another character set: whole elements, sequences included.

Owns what a change of SpecificCharacterSet (0008,0005) asks of the text that nobody wanted to change: text VRs become
UTF-8 at every depth (PS3.5 6.1.2.2, 7.5.3), and items that are kept byte for byte say themselves which set they are
in. Pure. It must not decide whether the set changes. Errors: `Unfit` for what cannot be understood with certainty,
naming its element; nothing is guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from moichord.dicom import charset
from moichord.dicom.dictionary import vr_of
from moichord.dicom.encoding import (
    DIGITAL_SIGNATURES,
    IMPLICIT_LITTLE,
    KNOWN_VRS,
    SHORT_VRS,
    TEXT_VRS,
    Encoding,
    encode_element,
)
from moichord.dicom.errors import Malformed, Unfit, tag_text
from moichord.dicom.nested import Nested, Piece
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw

_DEPTH = 32
_FREE_TEXT = frozenset(["ST", "LT", "UT"])
_UTF8 = (charset.UTF8,)
_GROUP = 0xFFFF0000


def in_utf8(tag: int, found: Raw, encoding: Encoding, terms: tuple[str, ...]) -> bytes | None:
    """The value of a top-level element in UTF-8, of even length; None if it holds no text but ASCII.

    Items, and the sequences in them, keep their form: defined or undefined length.
    """
    try:
        return _Recoder(terms, tag).value(tag, found.vr, memoryview(found.value), encoding, 0, found.delimited)
    except Malformed as error:
        raise Unfit(f"element {tag_text(tag)} cannot be read: {error.problem}", tag=tag) from error


def declared_in_items(
    tag: int, found: Raw, encoding: Encoding, terms: tuple[str, ...], declaration: bytes
) -> bytes | None:
    """The items of a sequence byte for byte, but that each says in (0008,0005) which set it is in.

    None if no item needs it: what declares a set of its own, or is in ASCII, is left as it is.
    """
    recoder = _Recoder(terms, tag)
    nested = Nested(tag, IMPLICIT_LITTLE if found.vr == "UN" else encoding)
    try:
        items = list(nested.items(memoryview(found.value)))
        new = {
            i: _declared(nested, one, declaration) for i, one in enumerate(items) if _needs_set(recoder, one, nested)
        }
    except Malformed as error:
        raise Unfit(f"element {tag_text(tag)} cannot be read: {error.problem}", tag=tag) from error
    return _joined(items, new)


def _needs_set(recoder: "_Recoder", item: Piece, nested: Nested) -> bool:
    try:
        return recoder.item(item, nested, 1) is not None
    except Unfit:
        return True  # what cannot be understood must all the more keep the set that it was written in


def _declared(nested: Nested, item: Piece, declaration: bytes) -> bytes:
    pieces = [one for one in nested.elements(item.value) if one.tag != SPECIFIC_CHARACTER_SET & _GROUP]
    content = [one.whole for one in pieces if one.tag < SPECIFIC_CHARACTER_SET]
    content.append(memoryview(encode_element(SPECIFIC_CHARACTER_SET, "CS", declaration, nested.encoding)))
    content += [one.whole for one in pieces if one.tag > SPECIFIC_CHARACTER_SET]
    return nested.encode(item, b"".join(content))


@dataclass(frozen=True, slots=True)
class _Recoder:
    """Goes through one top-level element `top`, whose text is of the sets `terms`. None stands for: unchanged."""

    terms: tuple[str, ...]
    top: int

    def value(
        self, tag: int, stated: str, value: memoryview, encoding: Encoding, depth: int, delimited: bool = False
    ) -> bytes | None:
        """The new value of one element. What is `delimited` has undefined length, as only sequences have here."""
        vr = stated if stated not in ("", "UN") else vr_of(tag)
        if vr == "SQ" or delimited:
            nested = Nested(self.top, IMPLICIT_LITTLE if stated == "UN" else encoding)
            items = list(nested.items(value))
            new = {i: changed for i, one in enumerate(items) if (changed := self.item(one, nested, depth + 1))}
            return _joined(items, new)
        if vr in TEXT_VRS:
            return self._text(tag, vr, bytes(value))
        if (vr == "UN" or vr not in KNOWN_VRS) and not charset.is_plain(bytes(value), self.terms):
            raise self._unfit(tag, "is of no known value representation and may hold text")
        return None

    def item(self, item: Piece, nested: Nested, depth: int) -> bytes | None:
        """One item in the new set. What declares a set of its own keeps it, and all that lies in it (PS3.5 7.5.3)."""
        if depth > _DEPTH:
            raise self._unfit(self.top, f"holds sequences nested deeper than {_DEPTH}")
        pieces = list(nested.elements(item.value))
        if any(one.tag == SPECIFIC_CHARACTER_SET for one in pieces):
            return None
        new: dict[int, bytes] = {}
        for index, one in enumerate(pieces):
            changed = self.value(one.tag, one.vr, one.value, nested.encoding, depth, one.delimited)
            if changed is not None:
                new[index] = nested.encode(one, changed)
        if not new:
            return None
        if any(one.tag == DIGITAL_SIGNATURES for one in pieces):
            raise self._unfit(self.top, "holds text that is digitally signed")
        touched = {pieces[index].tag & _GROUP for index in new}
        new |= dict.fromkeys((index for index, one in enumerate(pieces) if one.tag in touched), b"")  # group lengths
        return nested.encode(item, _joined(pieces, new) or b"")

    def _text(self, tag: int, vr: str, value: bytes) -> bytes | None:
        if charset.is_plain(value, self.terms):
            return None
        try:
            text = charset.decode(value, self.terms, vr)
        except ValueError as error:
            raise self._unfit(tag, f"is not text of {charset.spelled(self.terms)}") from error
        ambiguous = "~\\" if vr in _FREE_TEXT else "~"
        if charset.looks_different(self.terms) and any(character in text for character in ambiguous):
            raise self._unfit(tag, "has a character that is a yen sign or an overline in JIS X 0201")
        if any("\x80" <= character <= "\x9f" for character in text):
            raise self._unfit(tag, f"has control characters, and is hardly text of {charset.spelled(self.terms)}")
        new = charset.encode(text.rstrip(" \0"), _UTF8)
        new += b" " * (len(new) % 2)
        if vr in SHORT_VRS and len(new) > 0xFFFF:
            raise self._unfit(tag, "would become too long for its value representation")
        return new

    def _unfit(self, tag: int, problem: str) -> Unfit:
        inside = f" inside {tag_text(self.top)}" if tag != self.top else ""
        return Unfit(f"element {tag_text(tag)}{inside} {problem}", tag=self.top)


def _joined(pieces: list[Piece], new: Mapping[int, bytes]) -> bytes | None:
    """All pieces one behind the other, some of them new; None if none is."""
    if not new:
        return None
    return b"".join(new.get(index, one.whole) for index, one in enumerate(pieces))
