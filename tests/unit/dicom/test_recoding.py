"""An image that goes over to UTF-8, with all of its text. pydicom judges what the result says."""

import io
from collections.abc import Sequence

import pydicom
import pytest
from pydicom.dataset import Dataset

from moichord.dicom import PositionedFile, Provenance, TaggedImage, Unfit, Wanted, charset, inspect, lookup, tagged
from moichord.dicom.present import other_text, read_present
from tests.builders import (
    BASIC_TEXT_REPORT,
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    UNDEFINED,
    element,
    image_bytes,
    item,
    part10_bytes,
    sequence_end,
)
from tests.unit.dicom.conftest import Open

PROVENANCE = Provenance("20240229120000+0000", "moichord")
GREEK = "Διονυσιος"
SET, UID, NAME, ISSUER, RECORD = 0x00080005, 0x00080018, 0x00100010, 0x00100021, 0x04000561
LATIN = element(SET, "CS", b"ISO_IR 100")
OBJECT = element(UID, "UI", b"2.25.3")
PIXELS = element(0x7FE00010, "OW", b"12345678")
LAYOUTS = {EXPLICIT: {}, IMPLICIT: {"implicit": True}, BIG_ENDIAN: {"big_endian": True}}


def named(file: PositionedFile, name: str = GREEK, **options: bool) -> TaggedImage:
    return tagged(file, [Wanted(lookup("PatientName"), name, source="metadata")], PROVENANCE, **options)[0]


def sent(image: TaggedImage) -> bytes:
    return bytes(image.stream().read())


def reread(image: TaggedImage) -> Dataset:
    return pydicom.dcmread(io.BytesIO(sent(image)))


def nested_sequence(depth: int, inside: bytes, *, defined: bool = False) -> bytes:
    for _ in range(depth):
        wrapped = item(inside, undefined=not defined) + (b"" if defined else sequence_end())
        inside = element(0x00081140, "SQ", wrapped, length=None if defined else UNDEFINED)
    return inside


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg"])
def test_all_text_of_the_image_says_the_same_afterwards(open_file: Open, syntax: str) -> None:
    inner = Dataset()
    inner.CodeMeaning = "Ödem"
    outer = Dataset()
    outer.SpecimenIdentifier = "Präparat"
    outer.SpecimenTypeCodeSequence = [inner]
    content = image_bytes(
        transfer_syntax=syntax,
        SpecificCharacterSet="ISO_IR 100",
        InstitutionName="Tierklinik Zürich",
        PatientComments="Zeile\r\nmit \\ Größe",
        OtherPatientIDs=["Ä", "b"],
        SpecimenDescriptionSequence=[outer],
    )
    image, coercion, _ = tagged(open_file(content), [Wanted(lookup("PatientName"), GREEK)], PROVENANCE)
    after = reread(image)
    assert after.SpecificCharacterSet == "ISO_IR 192"
    assert after.PatientName == GREEK
    assert after.InstitutionName == "Tierklinik Zürich"
    assert after.PatientComments == "Zeile\r\nmit \\ Größe"
    assert after.OtherPatientIDs == ["Ä", "b"]
    specimen = after.SpecimenDescriptionSequence[0]
    assert (specimen.SpecimenIdentifier, specimen.SpecimenTypeCodeSequence[0].CodeMeaning) == ("Präparat", "Ödem")
    assert "re-encoded, in 4 elements" in coercion.notes[0]
    assert {change.keyword for change in coercion.changes} == {"PatientName", "SpecificCharacterSet"}
    assert sent(image)[-image.tail_length :] == content[-image.tail_length :]


def test_previous_values_stay_legible_by_the_set_that_is_recorded_with_them(open_file: Open) -> None:
    content = image_bytes(SpecificCharacterSet="ISO_IR 100", PatientName="Müller", IssuerOfPatientID="Zürich")
    wanted = [Wanted(lookup("PatientName"), GREEK), Wanted(lookup("PatientID"), "new")]
    after = reread(tagged(open_file(content), wanted, PROVENANCE)[0])
    previous = after.OriginalAttributesSequence[-1].ModifiedAttributesSequence[0]
    assert previous.SpecificCharacterSet == "ISO_IR 100"
    assert previous.get_item("PatientName").value.rstrip() == "Müller".encode("latin_1")
    assert (previous.PatientName, previous.IssuerOfPatientID) == ("Müller", "Zürich")
    assert after.IssuerOfPatientID == "Zürich"


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", list(LAYOUTS))
@pytest.mark.parametrize("recorded", [True, False])
def test_earlier_records_keep_their_bytes_and_say_their_set(
    open_file: Open, undefined: bool, syntax: str, recorded: bool
) -> None:
    layout = LAYOUTS[syntax]
    order = {"big_endian": syntax == BIG_ENDIAN}
    said = element(0x04000563, "LO", b"Z\xfcrich", **layout) + element(0x04000565, "CS", b"COERCE", **layout)
    plain = item(element(0x04000563, "LO", b"plain ", **layout), undefined=undefined, **order)
    items = item(said, undefined=undefined, **order) + plain
    record = element(RECORD, "SQ", items, **layout)
    if undefined:
        record = element(RECORD, "SQ", items + sequence_end(**order), length=UNDEFINED, **layout)
    declared = element(SET, "CS", b"ISO_IR 100", **layout)
    pixels = element(0x7FE00010, "OW", b"12345678", **layout)
    dataset = declared + element(UID, "UI", b"2.25.3", **layout) + record + pixels
    image = named(open_file(part10_bytes(dataset, transfer_syntax=syntax)), record_changes=recorded)
    assert item(declared + said, undefined=undefined, **order) + plain in sent(image)
    systems = [one.ModifyingSystem for one in reread(image).OriginalAttributesSequence]
    assert systems == ["Zürich", "plain", *(["moichord"] if recorded else [])]


def test_an_item_that_declares_its_own_set_is_left_alone(open_file: Open) -> None:
    own = item(element(SET, "CS", b"ISO_IR 144") + element(0x00080104, "LO", "Люк ".encode("iso8859_5")))
    both = own + item(element(0x00080104, "LO", b"Z\xfcri"))
    image = named(open_file(part10_bytes(LATIN + OBJECT + element(0x00081140, "SQ", both) + PIXELS)))
    assert own in sent(image)
    assert [one.CodeMeaning for one in reread(image).ReferencedImageSequence] == ["Люк", "Züri"]


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ("ISO_IR 144", "Люкceмбypг"),
        ("\\ISO 2022 IR 87", "山田"),
        ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ山田"),
        ("\\ISO 2022 IR 149", "홍길동"),
        ("\\ISO 2022 IR 58", "张"),
        ("GBK", "张"),
    ],
)
def test_text_of_every_kind_of_set_goes_over(open_file: Open, terms: str, text: str) -> None:
    name = charset.encode(text, charset.declared(terms.encode()), "LO")
    declared = element(SET, "CS", terms.encode() + b" " * (len(terms) % 2))
    clinic = element(0x00080080, "LO", name + b" " * (len(name) % 2))
    file = open_file(part10_bytes(declared + OBJECT + clinic + PIXELS))
    after = reread(named(file, "Łukasz ❤"))
    assert (str(after.PatientName), after.InstitutionName) == ("Łukasz ❤", text)


def test_a_set_that_has_the_new_text_is_kept(open_file: Open) -> None:
    image = named(open_file(image_bytes(SpecificCharacterSet="ISO_IR 100", InstitutionName="Zürich")), "Müller")
    assert reread(image).SpecificCharacterSet == "ISO_IR 100"
    assert b"Z\xfcrich" in sent(image)


def test_what_is_replaced_need_not_be_legible_for_the_switch(open_file: Open) -> None:
    after = reread(named(open_file(image_bytes(SpecificCharacterSet="ISO_IR 100", PatientName="Müller"))))
    assert (after.PatientName, after.SpecificCharacterSet) == (GREEK, "ISO_IR 192")


UNREADABLE = [
    (element(0x00080080, "LO", b"Z\xfcrich"), b"", r"\(0008,0080\) is not text of the default repertoire"),
    (LATIN + element(0x00091001, "UN", b"\xff\xfe"), b"", r"\(0009,1001\) is of no known value representation"),
    (LATIN + b"\x09\0\1\x10ZZ\0\0\2\0\0\0\xff\xfe", b"", r"\(0009,1001\) is of no known"),
    (LATIN + element(0x00080080, "LO", b"\x93a\x94 "), b"", "has control characters"),
    (element(SET, "CS", b"ISO_IR 13 ") + element(0x00080080, "LO", b"a~"), b"", "yen sign or an overline"),
    (element(SET, "CS", b"ISO_IR 13 ") + element(0x00080081, "ST", b"a\\"), b"", "yen sign or an overline"),
    (LATIN, element(0xFFFB1010, "LO", b"\xfcx"), r"\(FFFB,1010\) behind the pixel data"),
    (LATIN + nested_sequence(33, element(0x00080104, "LO", b"\xfcx"), defined=True), b"", "nested deeper than 32"),
    (
        LATIN + element(0x00081140, "SQ", item(element(0x00080104, "LO", b"\xfcx") + b"1234")),
        b"",
        r"\(0008,1140\) cannot be read: an element or item that is cut off",
    ),
    (
        LATIN
        + element(0x00081140, "SQ", item(element(0x00080104, "LO", b"\xfcx") + element(0xFFFAFFFA, "SQ", item()))),
        b"",
        "digitally signed",
    ),
]


@pytest.mark.parametrize(("header", "behind", "words"), UNREADABLE)
def test_the_set_stays_if_other_text_is_not_certain(open_file: Open, header: bytes, behind: bytes, words: str) -> None:
    file = open_file(part10_bytes(header + PIXELS + behind))
    with pytest.raises(Unfit, match=f"PatientName: the value from metadata has characters.*UTF-8: .*{words}") as caught:
        named(file)
    assert caught.value.source == "metadata"


def test_a_private_sequence_of_undefined_length_is_never_given_another_length(open_file: Open) -> None:
    sequence = element(0x00091001, "SQ", item(element(0x00091002, "LO", b"\xfcx")) + sequence_end(), length=UNDEFINED)
    after = reread(named(open_file(part10_bytes(LATIN + OBJECT + sequence + PIXELS))))
    assert after[0x00091001].value[0][0x00091002].value == "üx"
    hidden = item(element(0x00080104, "", b"\xfcx", implicit=True)) + sequence_end()
    unknown = element(0x00091001, "UN", hidden, length=UNDEFINED)
    new = sent(named(open_file(part10_bytes(LATIN + OBJECT + unknown + PIXELS))))
    shown = item(element(0x00080104, "", "üx ".encode(), implicit=True)) + sequence_end()
    assert element(0x00091001, "UN", shown, length=UNDEFINED) in new


def test_group_lengths_go_where_text_grew_and_stay_elsewhere(open_file: Open) -> None:
    lengths = [element(group << 16, "UL", b"\x0e\0\0\0") for group in (0x0008, 0x0040)]
    inside = lengths[0] + element(0x00080104, "LO", b"\xfcx") + lengths[1] + element(0x00400551, "LO", b"S1")
    image = named(open_file(part10_bytes(LATIN + OBJECT + element(0x00081140, "SQ", item(inside)) + PIXELS)))
    expected = element(0x00080104, "LO", "üx ".encode()) + lengths[1] + element(0x00400551, "LO", b"S1")
    assert element(0x00081140, "SQ", item(expected)) in sent(image)


def test_a_known_attribute_of_vr_un_is_text_too(open_file: Open) -> None:
    file = open_file(part10_bytes(LATIN + OBJECT + element(0x00081030, "UN", b"\xfcx") + PIXELS))
    assert element(0x00081030, "UN", "üx ".encode()) in sent(named(file))


def test_going_over_twice_gives_the_same_bytes_and_then_nothing_changes(open_file: Open) -> None:
    content = image_bytes(SpecificCharacterSet="ISO_IR 100", InstitutionName="Zürich")
    first, second = (sent(named(open_file(content))) for _ in range(2))
    assert first == second
    again = named(open_file(first))
    assert again.unchanged


def recorded(declared: bytes, item_content: bytes, vr: str = "SQ") -> bytes:
    return part10_bytes(declared + OBJECT + element(RECORD, vr, item(item_content)) + PIXELS)


def test_an_earlier_record_that_nobody_can_read_says_its_set_too(open_file: Open) -> None:
    unknown = element(0x00091001, "UN", b"\xff\xfe")
    assert item(LATIN + unknown) in sent(named(open_file(recorded(LATIN, unknown))))
    for nothing in (b"", element(SET, "CS", b"")):
        new = sent(named(open_file(recorded(nothing, unknown))))
        assert item(element(SET, "CS", b"ISO_IR 6") + unknown) in new


def test_an_earlier_record_of_vr_un_says_its_set_in_implicit_vr(open_file: Open) -> None:
    said = element(0x04000563, "", b"Z\xfcri", implicit=True)
    new = sent(named(open_file(recorded(LATIN, said, "UN"))))
    assert item(element(SET, "", b"ISO_IR 100", implicit=True) + said) in new


def test_a_group_length_that_the_declaration_makes_wrong_goes(open_file: Open) -> None:
    said = element(0x00080001, "UL", b"\1\0\0\0") + element(0x00080080, "LO", b"Z\xfcri")
    new = sent(named(open_file(recorded(LATIN, element(0x00080000, "UL", b"\1\0\0\0") + said))))
    assert item(said[:12] + LATIN + said[12:]) in new


def test_a_record_in_other_letters_changes_the_set_as_well(open_file: Open) -> None:
    file = open_file(part10_bytes(OBJECT + PIXELS))
    provenance = Provenance("20240229120000+0000", "Zürich")
    after = reread(tagged(file, [Wanted(lookup("PatientName"), "Rex")], provenance)[0])
    assert after.SpecificCharacterSet == "ISO_IR 192"
    assert after.OriginalAttributesSequence[0].ModifyingSystem == "Zürich"
    stuck = open_file(part10_bytes(element(0x00080080, "LO", b"\xfc1") + PIXELS))
    with pytest.raises(Unfit, match="the record of the changes has characters"):
        tagged(stuck, [Wanted(lookup("PatientName"), "Rex")], provenance)


def test_several_values_in_jis_x_0201_go_over_though_the_backslash_looks_like_a_yen_sign(open_file: Open) -> None:
    declared = element(SET, "CS", b"ISO_IR 13 ")
    after = reread(named(open_file(part10_bytes(declared + OBJECT + element(0x00080080, "LO", b"a\\\xb1 ") + PIXELS))))
    assert after.InstitutionName == ["a", "ｱ"]


def hidden_text(letters: bytes) -> bytes:
    """UN of undefined length, which is implicit inside, with another one in it."""
    inner = element(
        0x00081140,
        "",
        item(element(0x00080104, "", letters, implicit=True), undefined=True) + sequence_end(),
        implicit=True,
        length=UNDEFINED,
    )
    return element(0x00091001, "UN", item(inner, undefined=True) + sequence_end(), length=UNDEFINED)


@pytest.mark.parametrize("undefined", [True, False])
def test_unknown_sequences_inside_others_are_implicit(open_file: Open, undefined: bool) -> None:
    def dataset(letters: bytes) -> bytes:
        return element(0x00081140, "SQ", item(hidden_text(letters), undefined=undefined))

    image = named(open_file(part10_bytes(LATIN + OBJECT + dataset(b"\xfcx") + PIXELS)))
    assert dataset("üx ".encode()) in sent(image)


NAME_IN_LATIN = element(0x00080104, "LO", b"\xfcx")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (item(NAME_IN_LATIN, undefined=True)[:-8] + sequence_end(), "not in order"),
        (item(NAME_IN_LATIN)[:-2], "longer than what surrounds it"),
        (item(NAME_IN_LATIN[:-1]), "longer than what surrounds it"),
        (sequence_end() + item(NAME_IN_LATIN), "where an item should be"),
        (item(NAME_IN_LATIN) + b"1234", "cut off"),
        (item(NAME_IN_LATIN, undefined=True)[:-8], "cut off"),
        (item(b"\x08\0\4\1\xff\xff\2\0\xfcx"), "without a value representation"),
    ],
)
def test_a_sequence_that_is_not_in_order_is_never_rewritten(open_file: Open, value: bytes, words: str) -> None:
    file = open_file(part10_bytes(LATIN + OBJECT + element(0x00081140, "SQ", value) + PIXELS))
    with pytest.raises(Unfit, match=rf"\(0008,1140\) cannot be read: .*{words}"):
        named(file)
    assert reread(named(file, "Rex")).PatientName == "Rex"


@pytest.mark.parametrize(
    ("vr", "tag", "count", "words"),
    [
        ("LT", 0x00104000, 40_000, "too long for its value representation"),
        ("UT", 0x0040A160, 17 << 20, "too long to be"),
    ],
)
def test_text_that_would_not_fit_stays(open_file: Open, vr: str, tag: int, count: int, words: str) -> None:
    file = open_file(part10_bytes(LATIN + OBJECT + element(tag, vr, b"\xfc" * count) + PIXELS))
    with pytest.raises(Unfit, match=words):
        named(file)


def plain(open_file: Open, content: bytes, terms: Sequence[str] = ("",)) -> bool:
    file = open_file(part10_bytes(content, sop_class_uid=BASIC_TEXT_REPORT))
    found = other_text(file, inspect(file), tuple(terms))
    return not found.elements and not found.out_of_reach


def test_a_private_sequence_of_undefined_length_in_implicit_vr_is_looked_into(open_file: Open) -> None:
    for letters, expected in ((b"plain ", True), (b"\xfcx", False)):
        inside = item(element(0x00080104, "", letters, implicit=True), undefined=True) + sequence_end()
        content = element(UID, "", b"2.25.3", implicit=True)
        content += element(0x00091001, "", inside, implicit=True, length=UNDEFINED)
        file = open_file(part10_bytes(content, transfer_syntax=IMPLICIT, sop_class_uid=BASIC_TEXT_REPORT))
        assert (not other_text(file, inspect(file), ("ISO_IR 100",)).elements) is expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (OBJECT + element(NAME, "PN", b"Old "), True),
        (OBJECT + element(0x00081140, "SQ", item(element(NAME, "PN", b"plain "))), True),
        (OBJECT + nested_sequence(3, element(NAME, "PN", b"plain ")), True),
        (OBJECT + element(0x00081140, "SQ", item(element(NAME, "PN", b"M\xfcller"))), False),
        (OBJECT + element(NAME, "PN", b"M\xfcller"), False),
        (OBJECT + element(0x00091001, "UN", b"\xff\xfe"), False),
        (OBJECT + element(0x00091001, "OB", b"\xff\xfe"), True),
        (OBJECT + element(0x00189334, "FD", b"\xff" * 8), True),
        (OBJECT + element(NAME, "PN", b"Old ") + PIXELS + element(0xFFFB1010, "LO", b"\xfcx"), False),
    ],
)
def test_what_is_provably_ascii_need_not_be_looked_at_again(open_file: Open, content: bytes, expected: bool) -> None:
    assert plain(open_file, content) is expected


def test_other_text_is_looked_for_only_where_it_matters(open_file: Open) -> None:
    file = open_file(part10_bytes(LATIN + OBJECT + element(0x00080080, "LO", b"Z\xfcri") + PIXELS))
    for name, expected in (("Rex", 0), (GREEK, 1)):
        present = read_present(file, inspect(file), [Wanted(lookup("PatientName"), name)])
        assert len(present.other_text.elements) == expected


def test_a_sequence_in_the_place_of_a_text_is_never_replaced(open_file: Open) -> None:
    hidden = element(NAME, "UN", item() + sequence_end(), length=UNDEFINED)
    with pytest.raises(Unfit, match="PatientName of the image cannot be compared or replaced: a value of undefined"):
        named(open_file(part10_bytes(LATIN + OBJECT + hidden + PIXELS)))
