"""Data sets that nobody has written yet: nested, private, unknown, odd, in every encoding and character set.

Owns the strategies of hypothesis. Bytes are put together by hand, texts encoded by pydicom. It must not use moichord.
"""

import struct
from typing import NamedTuple

from hypothesis import strategies as st
from pydicom.charset import convert_encodings, encode_string

from tests import builders

CHARACTER_SETS = {
    "": "",
    "ISO_IR 100": "äéñÅß",
    "ISO_IR 101": "Łężčő",
    "ISO_IR 109": "ĉĝħŝ",
    "ISO_IR 110": "āģķņ",
    "ISO_IR 126": "αβγΩ",
    "ISO_IR 127": "ابتث",
    "ISO_IR 138": "אבגד",
    "ISO_IR 144": "Люкеж",
    "ISO_IR 148": "ğışİ",
    "ISO_IR 166": "กขคง",
    "ISO_IR 13": "ﾔﾏﾀﾞ",
    "ISO_IR 192": "Łλ山ß😀",
    "GB18030": "王小东Ł",
    "GBK": "王小东",
    "\\ISO 2022 IR 87": "山田太郎",
    "\\ISO 2022 IR 149": "홍길동",
    "ISO 2022 IR 100\\ISO 2022 IR 144": "äéЛю",
}
ENCODINGS = {"explicit": builders.EXPLICIT, "implicit": builders.IMPLICIT, "big endian": builders.BIG_ENDIAN}
LETTERS = "ABCabc ^"


class Generated(NamedTuple):
    """One file, and how it was made. `name` is PatientName as it stands in it, None if it is absent."""

    content: bytes
    encoding: str
    terms: str
    name: bytes | None

    def __repr__(self) -> str:
        dataset = self.content[self.content.index(builders.padded("2.25.99")) + 8 :]
        return f"{self.encoding} {self.terms!r} {self.name!r} {dataset!r}"


def encoded(text: str, terms: str) -> bytes:
    """`text` in the declared sets, padded, as pydicom writes it."""
    if terms == "ISO_IR 13":
        value = text.encode("shift_jis")
    else:
        value = encode_string(text, convert_encodings(terms.split("\\")))
    return value + b" " * (len(value) % 2)


def texts(terms: str) -> st.SearchStrategy[str]:
    """Names that the sets can hold, without spaces around them, which mean nothing."""
    plain = st.text(LETTERS, max_size=8).map(str.strip)
    return plain | st.text(CHARACTER_SETS[terms] or "A", min_size=1, max_size=6)


@st.composite
def files(draw: st.DrawFn) -> Generated:
    """A complete object without pixel data: group 0008 up to private groups, with what stands between."""
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    terms = draw(st.sampled_from(sorted(CHARACTER_SETS)))
    maker = _Maker(encoding, terms)
    name = draw(st.none() | texts(terms))
    value = None if name is None else encoded(name, terms)
    elements = {0x00080016: maker.element(0x00080016, "UI", builders.padded(builders.BASIC_TEXT_REPORT))}
    elements[0x00080018] = maker.element(0x00080018, "UI", b"2.25.3")
    if terms or draw(st.booleans()):
        elements[0x00080005] = maker.element(0x00080005, "CS", builders.padded(terms, b" "))
    if value is not None:
        elements[0x00100010] = maker.element(0x00100010, "PN", value)
    # In a big-endian file pydicom takes what is inside such an element for big endian too, against PS3.5 6.2.2.
    possible = [tag for tag, vr in sorted(OTHERS.items()) if vr != "UN SQ" or encoding != "big endian"]
    for tag in draw(st.sets(st.sampled_from(possible))):
        elements[tag] = draw(maker.any_element(tag, OTHERS[tag]))
    dataset = b"".join(elements[tag] for tag in sorted(elements))
    content = builders.part10_bytes(
        dataset, transfer_syntax=ENCODINGS[encoding], sop_class_uid=builders.BASIC_TEXT_REPORT
    )
    return Generated(content, encoding, terms, value)


OTHERS = {
    0x00081115: "SQ",
    0x00090010: "LO",
    0x00091001: "UN",
    0x00091002: "SQ",
    0x00100020: "LO",
    0x00100021: "LO",
    0x00104000: "LT",
    0x00110010: "LO",
    0x00111001: "OB",
    0x00111002: "UN SQ",
    0x00400512: "LO",
    0x00400560: "SQ",
    0x40080300: "ST",
    0x51990010: "LO",
    0x51991001: "FD",
}
"""Tags around those that are edited, and their VRs; "UN SQ" is a sequence of undefined length that is called UN."""


class _Maker:
    """Makes elements in one encoding and character set."""

    def __init__(self, encoding: str, terms: str) -> None:
        self.implicit = encoding == "implicit"
        self.big_endian = encoding == "big endian"
        self.terms = terms

    def element(self, tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
        return builders.element(tag, vr, value, implicit=self.implicit, big_endian=self.big_endian, length=length)

    def any_element(self, tag: int, vr: str, depth: int = 0) -> st.SearchStrategy[bytes]:
        if vr == "SQ":
            return self.sequence(tag, depth)
        if vr == "UN SQ":
            within = _Maker("implicit", self.terms)
            return within.items(depth).map(lambda items: self._undefined(tag, "UN", items, big_endian=False))
        if vr in ("LO", "LT", "ST"):
            return texts(self.terms).map(lambda text: self.element(tag, vr, encoded(text, self.terms)))
        if vr == "FD":
            return st.just(self.element(tag, vr, struct.pack(">d" if self.big_endian else "<d", 1.5)))
        # Odd lengths are against the standard, and are met.
        return st.binary(max_size=9).map(lambda value: self.element(tag, vr, value))

    def sequence(self, tag: int, depth: int) -> st.SearchStrategy[bytes]:
        defined = self.items(depth).map(lambda items: self.element(tag, "SQ", items))
        return defined | self.items(depth).map(lambda items: self._undefined(tag, "SQ", items, self.big_endian))

    def items(self, depth: int) -> st.SearchStrategy[bytes]:
        inner = [self.any_element(0x00080104, "LO"), self.any_element(0x00091001, "UN")]
        if depth < 3:
            inner.append(self.sequence(0x00400560, depth + 1))
        content = st.lists(st.sampled_from(range(len(inner))), unique=True).flatmap(
            lambda chosen: st.tuples(*(inner[index] for index in sorted(chosen))).map(b"".join)
        )
        item = st.builds(
            lambda value, undefined: builders.item(value, undefined=undefined, big_endian=self.big_endian),
            content,
            st.booleans(),
        )
        return st.lists(item, max_size=3).map(b"".join)

    def _undefined(self, tag: int, vr: str, items: bytes, big_endian: bool) -> bytes:
        return self.element(tag, vr, items + builders.sequence_end(big_endian=big_endian), builders.UNDEFINED)
