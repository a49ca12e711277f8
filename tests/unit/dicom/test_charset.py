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


MIXED = [
    ("ﾔﾏﾀﾞ山田 A^b", ("ISO 2022 IR 13", "ISO 2022 IR 87")),
    ("Müller Łukasz", ("", "ISO 2022 IR 100", "ISO 2022 IR 101")),
    ("Müller Łukasz ü", ("ISO 2022 IR 100", "ISO 2022 IR 101")),
    ("山丂田", ("", "ISO 2022 IR 87", "ISO 2022 IR 159")),
    ("Wang 王^小东 Ж", ("", "ISO 2022 IR 58", "ISO 2022 IR 144")),
    ("홍 山 길", ("", "ISO 2022 IR 149")),
    ("ÿ ÿ", ("ISO 2022 IR 100",)),
]


@pytest.mark.parametrize(("text", "terms"), WRITABLE)
def test_text_survives_and_pydicom_reads_the_same(text: str, terms: tuple[str, ...]) -> None:
    value = charset.encode(text, terms)
    assert charset.decode(value, terms) == text
    assert decode_bytes(value, convert_encodings(list(terms)), TEXT_VR_DELIMS | PN_DELIMS) == text


@pytest.mark.parametrize(("text", "terms"), MIXED)
@pytest.mark.parametrize("vr", ["PN", "LO", "LT"])
def test_one_text_may_go_from_set_to_set(text: str, terms: tuple[str, ...], vr: str) -> None:
    value = charset.encode(text, terms, vr)
    assert charset.decode(value, terms, vr) == text
    assert b"\x1b" in value or terms == ("ISO 2022 IR 100",)


@pytest.mark.parametrize(
    ("value", "vr", "text"),
    [
        (b"\x1b-Aa=\xfc", "LO", "a=ü"),
        (b"\x1b-Aa=\xfc", "PN", None),
        (b"\x1b-Aa\\\xfc", "LO", None),
        (b"\x1b-Aa\\\xfc", "LT", "a\\ü"),
        (b"\x1b-Aa\n\xfc", "LT", None),
        (b"\x1b-Aa \xfc", "PN", "a ü"),
    ],
)
def test_a_delimiter_of_the_vr_ends_what_an_escape_sequence_began(value: bytes, vr: str, text: str | None) -> None:
    """PS3.5 6.1.2.5.3."""
    terms = ("", "ISO 2022 IR 100")
    if text is None:
        with pytest.raises(ValueError, match="bytes from 80 on"):
            charset.decode(value, terms, vr)
    else:
        assert charset.decode(value, terms, vr) == text


def test_a_two_byte_set_ends_before_a_delimiter_and_at_the_end() -> None:
    value = charset.encode("山^田\n山", ("", "ISO 2022 IR 87"), "PN")
    assert value == b"\x1b$B;3\x1b(B^\x1b$BED\x1b(B\n\x1b$B;3\x1b(B"


def test_a_delimiters_byte_inside_a_two_byte_character_is_none() -> None:
    value = charset.encode("春山", ("", "ISO 2022 IR 87"))
    assert value == b"\x1b$B=U;3\x1b(B"
    assert charset.decode(value, ("", "ISO 2022 IR 87")) == "春山"


def test_one_set_for_all_of_a_component_is_better_than_two() -> None:
    """All of this is in the Korean set; the first two characters are in the Japanese one as well."""
    value = charset.encode("山田홍", ("", "ISO 2022 IR 87", "ISO 2022 IR 149"))
    assert value.count(b"\x1b") == 1


def test_a_backslash_byte_inside_a_chinese_character_separates_nothing() -> None:
    assert charset.encode("誠", ("GBK",)) == b"\xd5\\"
    assert charset.decode(b"\xd5\\", ("GBK",)) == "誠"


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
        ("¥", ("ISO_IR 13",)),
        ("뙠", ("", "ISO 2022 IR 149")),
        ("山丂", ("", "ISO 2022 IR 87")),
        ("Ж", ("ISO 2022 IR 999",)),
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
        (b"\xb0", ("", "ISO 2022 IR 149")),
        (b"\x1b$)C\xb0", ("", "ISO 2022 IR 149")),
        (b"\x1b$)C\xb0A", ("", "ISO 2022 IR 149")),
        (b"\x1b$B;\xb3", ("", "ISO 2022 IR 87")),
        (b"\x1b$(C;3", ("", "ISO 2022 IR 87")),
        (b"\x1b-A\xc3\xbc", ("ISO_IR 192",)),
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
        (b"a\\b", ("ISO_IR 13",), False),
        (b"a\\b", ("ISO_IR 100",), True),
        (b"a~b", ("NO SUCH SET",), False),
        (b"a~b", ("GB18030", "ISO 2022 IR 13"), True),
        (b"\x1b$B;3ED\x1b(B", ("", "ISO 2022 IR 87"), False),
    ],
)
def test_only_provable_ascii_is_plain(value: bytes, terms: tuple[str, ...], plain: bool) -> None:
    assert charset.is_plain(value, terms) is plain


def test_the_declared_terms_are_read_without_padding() -> None:
    assert charset.declared(b"\\ISO 2022 IR 87 ") == ("", "ISO 2022 IR 87")
    assert charset.declared(b"") == charset.DEFAULT
    assert charset.declared(b"  ") == charset.DEFAULT


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (("",), "the default repertoire"),
        (("", "ISO 2022 IR 87"), "the default repertoire and ISO 2022 IR 87"),
        (("ISO_IR 192",), "ISO_IR 192"),
        (("Rex^Smith",), "'Rex^Smith'"),
    ],
)
def test_a_declaration_that_is_no_name_of_a_set_is_quoted(terms: tuple[str, ...], said: str) -> None:
    assert charset.spelled(terms) == said
