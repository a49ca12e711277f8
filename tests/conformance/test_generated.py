"""Whatever the data set: what is wanted is read back, all else is as it was, and a second passage changes nothing."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from moichord.dicom import Unfit
from tests.conformance import generated, judges, reader
from tests.conformance.editing import Edited, edit
from tests.conformance.generated import Generated

PATIENT_NAME = 0x00100010
ORIGINAL_ATTRIBUTES = 0x04000561
MODIFIED_ATTRIBUTES = 0x04000550
CHARACTER_SET = 0x00080005


def edited_of(content: bytes, values: dict[str, str]) -> Edited:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.dcm"
        path.write_bytes(content)
        result = edit(path, values)
        assert path.read_bytes() == content
        return result


def records_of(content: bytes) -> list[bytes]:
    """The items of OriginalAttributesSequence, oldest first."""
    found = [one for one in reader.dataset_of(content) if one.tag == ORIGINAL_ATTRIBUTES]
    return reader.items_of(found[0], reader.layout_of(content)) if found else []


def previous_in(record: bytes, content: bytes) -> dict[int, bytes]:
    """The values that one item keeps, by tag."""
    layout = reader.layout_of(content)
    (modified,) = [one for one in reader.inside(record, layout) if one.tag == MODIFIED_ATTRIBUTES]
    (item,) = reader.items_of(modified, layout)
    return {one.tag: one.value for one in reader.inside(item, layout)}


@given(generated.files(), st.text("ABCabc-", min_size=1, max_size=8))
def test_ascii_is_always_written_read_back_and_recorded(file: Generated, text: str) -> None:
    wanted = {"PatientID": text, "BarcodeValue": "blood"}
    edited = edited_of(file.content, wanted)

    judges.assert_only_these_changed(file.content, edited, wanted)
    assert edited_of(edited.content, wanted).content == edited.content
    old = {one.tag: one.value for one in reader.dataset_of(file.content)}
    (record,) = records_of(edited.content)
    previous = previous_in(record, edited.content)
    assert {tag: old.get(tag, b"") for tag in previous} == previous
    assert 0x22000005 in previous


@given(generated.files(), st.data())
def test_a_name_of_the_declared_set_is_read_back(file: Generated, data: st.DataObject) -> None:
    name = data.draw(generated.texts(file.terms))
    wanted = {"PatientName": name, "BarcodeValue": "blood"}
    edited = edited_of(file.content, wanted)

    judges.assert_untouched_but_for(edited.tags, file.content, edited.content)
    assert CHARACTER_SET not in edited.tags
    values = {one.tag: one.value for one in reader.dataset_of(edited.content)}
    present = values.get(PATIENT_NAME, b"")
    assert present.rstrip(b" ^") in (
        generated.encoded(name, file.terms).rstrip(b" ^"),
        (file.name or b"").rstrip(b" ^"),
    )
    assert str(judges.read(edited.content).get("PatientName", "")).rstrip(" ^") == name.rstrip(" ^")
    assert edited_of(edited.content, wanted).content == edited.content


@given(generated.files(), st.text("Łλ山ßЛ", min_size=1, max_size=5))
def test_a_name_of_any_set_is_read_back_without_harm_to_other_text_or_refused(file: Generated, name: str) -> None:
    try:
        edited = edited_of(file.content, {"PatientName": name})
    except Unfit as refusal:
        assert "character" in str(refusal)
        return
    before, after = judges.read(file.content), judges.read(edited.content)
    assert str(after.PatientName) == name
    for dataset in (before, after):
        for keyword in (
            "PatientName",
            "SpecificCharacterSet",
            "InstanceCoercionDateTime",
            "OriginalAttributesSequence",
        ):
            if keyword in dataset:
                del dataset[keyword]
    judges.assert_same_values(before, after)
    assert edited_of(edited.content, {"PatientName": name}).content == edited.content


@given(generated.files())
def test_a_second_change_is_recorded_behind_the_first(file: Generated) -> None:
    first = edited_of(file.content, {"PatientID": "FIRST"})
    second = edited_of(first.content, {"PatientID": "SECOND"})

    (record,) = records_of(first.content)
    assert records_of(second.content)[0] == record
    assert previous_in(records_of(second.content)[1], second.content)[0x00100020] == b"FIRST "
