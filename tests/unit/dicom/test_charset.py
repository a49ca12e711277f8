import pytest
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from moichord.dicom import charset

WRITABLE = [
    ("Rex^Smith", ("",)),
    ("Müller^Jörg", ("ISO_IR 100",)),
    ("Łukasz", ("ISO_IR 101",)),
    ("Διονυσιος", ("ISO_IR 126",)),
    ("قباني^لنزار", ("ISO_IR 127",)),
    ("שרון^דבורה", ("ISO_IR 138",)),
    ("Люкceмбypг", ("ISO_IR 144",)),
    ("Wang^XiaoDong=王^小東", ("ISO_IR 192",)),
    ("Wang^XiaoDong=王^小东", ("GB18030",)),
    ("Müller^Jörg", ("", "ISO 2022 IR 100")),
    ("Hong^Gildong=洪^吉洞=홍^길동", ("", "ISO 2022 IR 149")),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", ("", "ISO 2022 IR 87")),
    ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", ("ISO 2022 IR 13", "ISO 2022 IR 87")),
]


@pytest.mark.parametrize(("text", "terms"), WRITABLE)
def test_text_survives_and_pydicom_reads_the_same(text: str, terms: tuple[str, ...]) -> None:
    value = charset.encode(text, terms)
    assert charset.decode(value, terms) == text
    assert decode_bytes(value, convert_encodings(list(terms)), TEXT_VR_DELIMS | PN_DELIMS) == text


def test_the_examples_of_the_standard_are_met_byte_for_byte() -> None:
    """PS3.5 H.3.2 and I.2."""
    japanese = charset.encode("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", ("ISO 2022 IR 13", "ISO 2022 IR 87"))
    assert japanese == (
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
    )
    korean = charset.encode("Hong^Gildong=洪^吉洞=홍^길동", ("", "ISO 2022 IR 149"))
    assert korean == (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Müller", ("",)),
        ("Müller", ("ISO_IR 6",)),
        ("Łukasz", ("ISO_IR 100",)),
        ("山", ("", "ISO 2022 IR 100")),
        ("Müller", ("LATIN1",)),
        ("山", ("ISO_IR 13",)),
    ],
)
def test_a_text_that_the_set_does_not_have_is_refused(text: str, terms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"character|encod"):
        charset.encode(text, terms)


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        (b"M\xfcller", ("",)),
        (b"M\xfcller", ("ISO_IR 192",)),
        (b"M\xfcller", ("NO SUCH SET",)),
        (b"\x1b$B;3ED\x1b(B", ("",)),
        (b"\x1b$B;3ED\x1b(B", ("", "ISO 2022 IR 100")),
        (b"\x1b", ("", "ISO 2022 IR 87")),
        (b"\x81\x40", ("ISO_IR 13",)),
    ],
)
def test_bytes_of_another_set_are_refused(value: bytes, terms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"decode|unknown|escape|bytes"):
        charset.decode(value, terms)


@pytest.mark.parametrize(
    ("value", "terms", "plain"),
    [
        (b"Rex^Smith", ("",), True),
        (b"Rex~Smith", ("ISO_IR 100",), True),
        (b"Rex~Smith", ("ISO_IR 13",), False),
        (b"M\xfcller", ("ISO_IR 100",), False),
        (b"\x1b$B;3ED\x1b(B", ("", "ISO 2022 IR 87"), False),
    ],
)
def test_only_provable_ascii_is_plain(value: bytes, terms: tuple[str, ...], plain: bool) -> None:
    assert charset.is_plain(value, terms) is plain


def test_the_declared_terms_are_read_without_padding() -> None:
    assert charset.declared(b"\\ISO 2022 IR 87 ") == ("", "ISO 2022 IR 87")
    assert charset.declared(b"") == charset.DEFAULT
    assert charset.declared(b"  ") == charset.DEFAULT
