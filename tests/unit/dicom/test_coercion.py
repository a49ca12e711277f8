import struct

import pytest

from moichord.dicom import Change, Coercion, OtherText, Present, Provenance, Unfit, Wanted, coerce, lookup
from moichord.dicom.encoding import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding
from moichord.dicom.values import Raw
from tests.builders import element, item

PROVENANCE = Provenance("20240229120000.000000+0000", "moichord", "scanner")
NAME, ID, ISSUER, SET = 0x00100010, 0x00100020, 0x00100021, 0x00080005
COERCED, RECORD = 0x00080015, 0x04000561
MAC, SIGNATURES = 0x4FFE0001, 0xFFFAFFFA


def want(keyword: str, text: str, on_mismatch: str = "update") -> Wanted:
    return Wanted(lookup(keyword), text, on_mismatch, f"metadata field {keyword.lower()}")


def present(
    values: dict[int, tuple[str, bytes]] | None = None,
    *,
    encoding: Encoding = EXPLICIT_LITTLE,
    terms: tuple[str, ...] = ("",),
    other: OtherText | None = None,
    signed: bool = False,
) -> Present:
    raws = {tag: Raw(vr, content) for tag, (vr, content) in (values or {}).items()}
    return Present(encoding, terms, raws, other or OtherText(), signed)


def bare(coercion: Coercion) -> dict[int, bytes | None]:
    """The edits but for the record of them."""
    return {edit.tag: edit.value for edit in coercion.edits if edit.tag not in (COERCED, RECORD)}


def test_a_value_is_replaced_set_or_left_as_it_is() -> None:
    there = present({NAME: ("PN", b"Old^Name"), ID: ("LO", b"P1")})
    wanted = [want("PatientName", "New"), want("PatientID", "P1"), want("InstitutionName", "L")]
    found = coerce(there, wanted, PROVENANCE)
    assert bare(found) == {NAME: b"New ", 0x00080080: b"L "}
    assert found.changes == (Change("PatientName", "Old^Name", "New"), Change("InstitutionName", None, "L"))
    assert [edit.tag for edit in found.edits] == sorted(edit.tag for edit in found.edits)


@pytest.mark.parametrize(
    ("keyword", "vr", "before", "wanted"),
    [
        ("PatientName", "PN", b"Rex^Smith^^^ ", "Rex^Smith"),
        ("PatientName", "PN", b"Rex^Smith", "Rex^Smith^^"),
        ("PatientID", "LO", b" P1 ", "P1"),
        ("PatientID", "", b"P1", "P1 "),
        ("PatientID", "UN", b"P1", "P1"),
        ("PatientWeight", "DS", b"7.50", "7.5"),
        ("PatientSexNeutered", "CS", b"ALTERED ", "ALTERED"),
        ("PatientComments", "LT", b"", ""),
    ],
)
def test_what_means_the_same_is_not_changed(keyword: str, vr: str, before: bytes, wanted: str) -> None:
    there = present({lookup(keyword).tag: (vr, before)})
    assert coerce(there, [want(keyword, wanted)], PROVENANCE) == Coercion()


def test_an_absent_attribute_is_not_made_empty() -> None:
    assert coerce(present(), [want("PatientName", "")], PROVENANCE) == Coercion()
    emptied = coerce(present({NAME: ("PN", b"Old ")}), [want("PatientName", "")], PROVENANCE)
    assert bare(emptied) == {NAME: b""}


@pytest.mark.parametrize(
    ("before", "on_mismatch", "after"),
    [
        (b"Old ", "update", b"New "),
        (b"Old ", "keep", None),
        (b"", "keep", b"New "),
        (None, "keep", b"New "),
        (b"  ", "fail", b"New "),
        (None, "fail", b"New "),
        (b"New ", "fail", None),
    ],
)
def test_a_mismatch_is_settled_as_asked(before: bytes | None, on_mismatch: str, after: bytes | None) -> None:
    there = present({} if before is None else {NAME: ("PN", before)})
    found = coerce(there, [want("PatientName", "New", on_mismatch)], PROVENANCE)
    assert bare(found).get(NAME) == after


def test_a_mismatch_that_must_not_be_names_both_values_but_not_to_the_log() -> None:
    there = present({NAME: ("PN", b"Old ")})
    with pytest.raises(Unfit, match="is 'Old' in the image, but 'New' according to metadata field") as caught:
        coerce(there, [want("PatientName", "New", "fail")], PROVENANCE)
    assert (caught.value.keyword, caught.value.source) == ("PatientName", "metadata field patientname")
    assert "Old" not in caught.value.brief
    assert "New" not in caught.value.brief


@pytest.mark.parametrize("encoding", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_the_change_is_recorded_behind_the_earlier_ones(encoding: Encoding) -> None:
    layout = {"implicit": encoding.implicit, "big_endian": encoding.big_endian}
    earlier = item(element(0x04000563, "LO", b"other "), undefined=True)
    there = present({NAME: ("PN", b"Old "), RECORD: ("SQ", earlier)}, encoding=encoding)
    found = coerce(there, [want("PatientName", "New"), want("PatientID", "P2")], PROVENANCE)
    modified = (
        element(NAME, "PN", b"Old ", **layout) + element(ID, "LO", b"", **layout) + element(ISSUER, "LO", b"", **layout)
    )
    order = {"big_endian": encoding.big_endian}
    content = (
        element(0x04000550, "SQ", item(modified, **order), **layout)
        + element(0x04000562, "DT", b"20240229120000.000000+0000", **layout)
        + element(0x04000563, "LO", b"moichord", **layout)
        + element(0x04000564, "LO", b"scanner ", **layout)
        + element(0x04000565, "CS", b"COERCE", **layout)
    )
    edits = {edit.tag: edit for edit in found.edits}
    assert edits[RECORD].vr == "SQ"
    assert edits[RECORD].value == earlier + item(content, **order)
    assert edits[COERCED].value == b"20240229120000.000000+0000"


def test_previous_values_keep_their_bytes() -> None:
    there = present({ID: ("LO", b" P1"), ISSUER: ("LO", b"Clinic"), COERCED: ("DT", b"2020")}, terms=("ISO_IR 100",))
    record = {e.tag: e.value for e in coerce(there, [want("PatientID", "P2")], PROVENANCE).edits}[RECORD]
    assert record is not None
    for kept in (element(ID, "LO", b" P1"), element(ISSUER, "LO", b"Clinic"), element(COERCED, "DT", b"2020")):
        assert kept in record


def test_a_record_that_a_sender_wrote_as_un_goes_on_in_implicit_vr() -> None:
    earlier = item(element(0x04000563, "", b"other ", implicit=True))
    there = present({NAME: ("PN", b"Old "), RECORD: ("UN", earlier)})
    edit = coerce(there, [want("PatientName", "New")], PROVENANCE).edits[-1]
    assert edit.vr == "UN"
    assert edit.value is not None
    assert edit.value.startswith(earlier)
    assert element(NAME, "", b"Old ", implicit=True) in edit.value


def test_without_a_record_only_the_wanted_tags_change() -> None:
    found = coerce(present(), [want("PatientName", "New")], PROVENANCE, record_changes=False)
    assert [edit.tag for edit in found.edits] == [NAME]


@pytest.mark.parametrize(
    ("terms", "text", "value"),
    [
        (("",), "Rex", b"Rex "),
        (("ISO_IR 100",), "Müller", b"M\xfcller"),
        (("ISO_IR 192",), "Müller", b"M\xc3\xbcller "),
        (("", "ISO 2022 IR 149"), "Hong^Gildong=洪", b"Hong^Gildong=\x1b$)C\xfb\xf3 "),
    ],
)
def test_new_text_is_written_in_the_declared_set(terms: tuple[str, ...], text: str, value: bytes) -> None:
    found = coerce(present({NAME: ("PN", b"Old ")}, terms=terms), [want("PatientName", text)], PROVENANCE)
    assert bare(found) == {NAME: value}


@pytest.mark.parametrize("terms", [("",), ("ISO_IR 100",), ("NO SUCH SET",)])
def test_the_set_is_changed_only_if_no_other_text_can_be_harmed(terms: tuple[str, ...]) -> None:
    values = {NAME: ("PN", b"Old "), SET: ("CS", "\\".join(terms).encode())}
    wanted = [want("PatientName", "Łukasz")]
    found = coerce(present(values, terms=terms), wanted, PROVENANCE)
    assert bare(found) == {NAME: "Łukasz ".encode(), SET: b"ISO_IR 192"}
    assert Change("SpecificCharacterSet", "\\".join(terms), "ISO_IR 192") in found.changes
    assert "ISO_IR 192" in found.notes[0]
    with pytest.raises(Unfit, match="PatientName: the value from metadata field patientname has characters"):
        coerce(present(values, terms=terms, other=OtherText(out_of_reach="private")), wanted, PROVENANCE)


def test_bytes_that_cannot_be_read_fail_only_where_they_matter() -> None:
    there = present({NAME: ("PN", b"M\xfcller")})
    with pytest.raises(Unfit, match="PatientName of the image cannot be compared or replaced"):
        coerce(there, [want("PatientName", "New")], PROVENANCE)
    assert coerce(there, [want("PatientName", "New", "keep")], PROVENANCE) == Coercion()
    assert bare(coerce(there, [want("PatientID", "P2")], PROVENANCE)) == {ID: b"P2"}


def test_a_signed_image_fails_or_loses_its_signatures() -> None:
    there = present({NAME: ("PN", b"Old ")}, signed=True)
    with pytest.raises(Unfit, match="digitally signed"):
        coerce(there, [want("PatientName", "New")], PROVENANCE)
    assert coerce(there, [want("PatientName", "Old")], PROVENANCE) == Coercion()
    found = coerce(there, [want("PatientName", "New")], PROVENANCE, signed="strip")
    assert bare(found) == {NAME: b"New ", MAC: None, SIGNATURES: None}
    assert "signatures were removed" in found.notes[0]


@pytest.mark.parametrize(
    ("encoding", "value"), [(EXPLICIT_LITTLE, struct.pack("<H", 300)), (EXPLICIT_BIG, struct.pack(">H", 300))]
)
def test_numbers_are_written_in_the_order_of_the_file(encoding: Encoding, value: bytes) -> None:
    assert bare(coerce(present(encoding=encoding), [want("FailureReason", "300")], PROVENANCE)) == {0x00081197: value}
    with pytest.raises(Unfit, match=r"FailureReason: the value from .* is no number that VR US can hold"):
        coerce(present(encoding=encoding), [want("FailureReason", "70000")], PROVENANCE)


def test_a_bad_value_or_a_double_one_is_refused() -> None:
    with pytest.raises(Unfit, match="takes 64 at most"):
        coerce(present(), [want("PatientID", "x" * 65)], PROVENANCE)
    with pytest.raises(Unfit, match="takes 10240 at most"):
        coerce(present(), [want("PatientComments", " " + "x" * 10240)], PROVENANCE)
    with pytest.raises(Unfit, match="wanted twice"):
        coerce(present(), [want("PatientID", "a"), want("PatientID", "b")], PROVENANCE)
