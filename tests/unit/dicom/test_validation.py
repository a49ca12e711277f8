import pytest

from moichord.dicom import Unfit
from moichord.dicom.dictionary import Attribute
from moichord.dicom.validation import require_valid


def check(vr: str, text: str) -> None:
    require_valid(Attribute(0x00100020, "SomeKeyword", vr, "1"), text, "metadata field some-field")


@pytest.mark.parametrize(
    ("vr", "text"),
    [
        ("LO", "x" * 64),
        ("LO", "ü" * 64),
        ("LO", ""),
        ("SH", "x" * 16),
        ("LT", "two\r\nlines\twith \\ in it"),
        ("PN", "A^B^C^D^E=山^田=や^た"),
        ("PN", "x" * 64 + "=" + "y" * 64),
        ("CS", "YES_1 A"),
        ("DA", "20240229"),
        ("TM", "235960.123456"),
        ("TM", "07"),
        ("DT", "20240229120000.5+0100"),
        ("DT", "2024"),
        ("IS", "-2147483648"),
        ("DS", "-1.5E+3"),
        ("AS", "003Y"),
        ("UI", "1.2.840.0"),
        ("UR", "https://example.org/?a=b"),
        ("AE", "SCANNER 1"),
        ("US", "12"),
        ("FD", "-1.5e3"),
        ("DT", "2024-1200"),
        ("DT", "20240229120000+1400"),
    ],
)
def test_a_good_value_passes(vr: str, text: str) -> None:
    check(vr, text)


@pytest.mark.parametrize(
    ("vr", "text", "words"),
    [
        ("LO", "x" * 65, "has 65 characters, and VR LO takes 64"),
        ("SH", "x" * 17, "takes 16"),
        ("LO", "a\\b", "backslash"),
        ("PN", "a\\b", "backslash"),
        ("LO", "a\nb", r"control character \(U\+000A\)"),
        ("LT", "a\x1b$B", r"control character \(U\+001B\)"),
        ("LO", "a\x85b", r"control character \(U\+0085\)"),
        ("LO", "a\ud800", r"control character \(U\+D800\)"),
        ("PN", "x" * 65, "a person's name takes 64"),
        ("PN", "a^b^c^d^e^f", "five components"),
        ("PN", "a=b=c=d", "three groups"),
        ("CS", "lower", "capital letters"),
        ("DA", "20240231", "not a date that exists"),
        ("DA", "2024-02-01", "YYYYMMDD"),
        ("TM", "25", "HHMMSS"),
        ("DT", "20241301", "YYYYMMDDHHMMSS"),
        ("DT", "20240231120000", "not a date that exists"),
        ("DT", "20240229120000+1500", "offset from UTC"),
        ("DT", "20240229120000+0160", "offset from UTC"),
        ("DS", "1e999", "out of the range"),
        ("FD", "nan", "decimal number"),
        ("FL", "1_0", "decimal number"),
        ("US", "1_0", "whole number"),
        ("SL", "x", "whole number"),
        ("IS", "2147483648", "out of the range"),
        ("IS", "1.5", "whole number"),
        ("IS", "٣", "whole number"),
        ("DS", "1,5", "decimal number"),
        ("AS", "3 years", "three digits"),
        ("UI", "1.02", "a UID"),
        ("UR", "two words", "a URI"),
        ("AE", "SCÄNNER", "ASCII"),
    ],
)
def test_a_bad_value_is_refused_naming_its_source_but_not_the_value(vr: str, text: str, words: str) -> None:
    with pytest.raises(Unfit, match=words) as caught:
        check(vr, text)
    assert "SomeKeyword: the value from metadata field some-field" in str(caught.value)
    assert (caught.value.keyword, caught.value.source) == ("SomeKeyword", "metadata field some-field")
    assert len(text) < 8 or text not in str(caught.value)
