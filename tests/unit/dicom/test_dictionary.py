import pytest

from moichord.dicom import lookup
from moichord.dicom.dictionary import is_image_storage, vr_of


@pytest.mark.parametrize(
    ("name", "tag", "keyword", "vr"),
    [
        ("PatientName", 0x00100010, "PatientName", "PN"),
        ("(0010,2201)", 0x00102201, "PatientSpeciesDescription", "LO"),
        ("(2200,0005)", 0x22000005, "BarcodeValue", "LT"),
        ("0010,2203", 0x00102203, "PatientSexNeutered", "CS"),
        ("PatientWeight", 0x00101030, "PatientWeight", "DS"),
    ],
)
def test_an_attribute_is_found_by_keyword_or_tag(name: str, tag: int, keyword: str, vr: str) -> None:
    found = lookup(name)
    assert (found.tag, found.keyword, found.vr, found.vm) == (tag, keyword, vr, "1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PatientNam", "did you mean PatientName"),
        ("patient-name", "not a keyword"),
        ("(0010,9999)", "not in the DICOM dictionary"),
        ("(0009,1001)", "private"),
        ("SpecimenDescriptionSequence.SpecimenIdentifier", "path into a sequence"),
        ("SpecimenDescriptionSequence[0]", "path into a sequence"),
        ("TransferSyntaxUID", "file meta information"),
        ("SpecimenDescriptionSequence", "is a sequence"),
        ("SOPInstanceUID", "must never change"),
        ("StudyInstanceUID", "must never change"),
        ("FrameOfReferenceUID", "must never change"),
        ("Rows", "how the pixels are stored"),
        ("SpecificCharacterSet", "follows from the other changes"),
        ("InstanceCoercionDateTime", "follows from the other changes"),
        ("ICCProfile", "VR OB"),
        ("PixelData", "behind group 2FFF"),
        ("ImagePositionPatient", "needs 3 values"),
    ],
)
def test_what_must_not_be_set_is_refused_for_the_configuration(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lookup(name)


def test_the_dictionary_knows_vrs_and_images() -> None:
    assert [vr_of(tag) for tag in (0x00100010, 0x00280106, 0x00091001, 0x00100000)] == ["PN", "US", "UN", "UL"]
    assert is_image_storage("1.2.840.10008.5.1.4.1.1.77.1.6")
    assert is_image_storage("1.2.840.10008.5.1.4.1.1.7.4")
    assert not is_image_storage("1.2.840.10008.5.1.4.1.1.88.11")
    assert not is_image_storage("1.2.840.10008.5.1.4.1.1.11.1")
    assert not is_image_storage("")
