import pytest

from moichord.dicom import Identity, Unfit, disagreements, identity, inspect, lookup
from tests.builders import UNDEFINED, WHOLE_SLIDE_IMAGE, element, image_bytes, item, part10_bytes, sequence_end
from tests.unit.dicom.conftest import Open

STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
DICOMDIR = "1.2.840.10008.1.3.10"
PLAIN = element(0x00080018, "UI", b"2.25.3")


def read(open_file: Open, content: bytes, *keywords: str) -> Identity:
    file = open_file(content)
    return identity(file, inspect(file), [lookup(keyword) for keyword in keywords])


def test_an_image_says_who_and_what_it_is(open_file: Open) -> None:
    content = image_bytes(sop_instance_uid="2.25.7", patient_id="P9", AccessionNumber="A1")
    found = read(open_file, content, "AccessionNumber", "ContainerIdentifier", "BarcodeValue")
    assert (found.sop_class_uid, found.sop_instance_uid, found.patient_id) == (WHOLE_SLIDE_IMAGE, "2.25.7", "P9")
    assert found.values == {
        "AccessionNumber": "A1",
        "ContainerIdentifier": "C1",
        "BarcodeValue": "",
        "SpecimenIdentifier": "S1",
    }
    assert (found.is_dicomdir, found.has_pixel_data, found.problems) == (False, True, ())


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (element(0x00080016, "UI", b"1.2.3\0"), "SOPInstanceUID is missing"),
        (element(0x00080018, "UI", b"2.25.3"), "SOPClassUID is missing"),
        (
            element(0x00080016, "UI", STRUCTURED_REPORT.encode() + b"\0") + element(0x00080018, "UI", b"2.25.4"),
            "SOPInstanceUID is '2.25.4', but the file meta information says '2.25.3'",
        ),
        (
            element(0x00080016, "UI", b"1.2.3\0") + element(0x00080018, "UI", b"2.25.3"),
            "SOPClassUID is '1.2.3', but the file meta information says '1.2.840",
        ),
    ],
)
def test_a_file_that_contradicts_itself_must_not_be_sent(open_file: Open, dataset: bytes, words: str) -> None:
    found = read(open_file, part10_bytes(dataset, sop_class_uid=STRUCTURED_REPORT))
    assert any(words in problem for problem in found.problems)


def test_a_deidentified_image_must_not_get_a_name(open_file: Open) -> None:
    found = read(open_file, image_bytes(PatientIdentityRemoved="YES"))
    assert found.patient_identity_removed
    assert "PatientIdentityRemoved is YES" in found.problems[0]


def test_a_dicomdir_is_known_by_its_meta_information(open_file: Open) -> None:
    content = part10_bytes(element(0x00041130, "CS", b"DISK"), sop_class_uid=DICOMDIR)
    found = read(open_file, content)
    assert found.is_dicomdir
    assert not found.problems


def test_an_unreadable_value_that_is_needed_is_named(open_file: Open) -> None:
    content = image_bytes(SpecificCharacterSet="ISO_IR 100", AccessionNumber="ü1").replace(b"ISO_IR 100", b"ISO_IR 192")
    with pytest.raises(Unfit, match="AccessionNumber cannot be read"):
        read(open_file, content, "AccessionNumber")
    assert read(open_file, content).patient_id == "P1"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["A", "A"], 0),
        (["A", "", "A"], 0),
        (["", ""], 0),
        (["A", "B", "C"], 1),
        (["", "A", "", "B"], 1),
    ],
)
def test_two_different_values_in_one_sample_disagree(values: list[str], expected: int) -> None:
    files = [(f"{n}.dcm", {"PatientID": text}) for n, text in enumerate(values)]
    found = disagreements(files, ["PatientID", "AccessionNumber"])
    assert len(found) == expected
    if found:
        assert "PatientID is 'A' in" in str(found[0])
        assert "'B' in" in str(found[0])


def test_specimens_disagree_only_if_two_images_share_none() -> None:
    def found(*values: str) -> int:
        files = [(f"{n}.dcm", {"SpecimenIdentifier": text}) for n, text in enumerate(values)]
        return len(disagreements(files, ["SpecimenIdentifier"]))

    assert found("A", "A\\B", "A") == 0
    assert found("A", "B") == 1
    assert found("A\\B", "C\\D") == 1
    assert found("", "A", "") == 0


def specimens(*identifiers: bytes, undefined: bool = False) -> bytes:
    items = b"".join(item(element(0x00400551, "LO", one), undefined=undefined) for one in identifiers)
    if undefined:
        return element(0x00400560, "SQ", items + sequence_end(), length=UNDEFINED)
    return element(0x00400560, "SQ", items)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (specimens(b"S2", b"S1", b"S2"), "S1\\S2"),
        (specimens(b"S2", b"S1", undefined=True), "S1\\S2"),
        (specimens(b"  ", b""), ""),
        (element(0x00400560, "SQ", b""), ""),
        (element(0x00400560, "UN", item(element(0x00400551, "", b"S1", implicit=True))), "S1"),
        (
            element(
                0x00400560,
                "SQ",
                item(element(0x00080005, "CS", b"ISO_IR 100") + element(0x00400551, "LO", b"\xfc1")),
            ),
            "ü1",
        ),
        (b"", ""),
    ],
)
def test_the_specimens_are_those_of_all_items(open_file: Open, dataset: bytes, expected: str) -> None:
    found = read(open_file, part10_bytes(dataset or PLAIN, sop_class_uid=STRUCTURED_REPORT))
    assert found.values["SpecimenIdentifier"] == expected


@pytest.mark.parametrize(
    "dataset",
    [specimens(b"\xfc1"), element(0x00400560, "SQ", b"12345678"), element(0x00400560, "SQ", item(b"1234"))],
)
def test_specimens_that_cannot_be_read_are_named(open_file: Open, dataset: bytes) -> None:
    with pytest.raises(Unfit, match=r"the specimens of the image cannot be read: .*\(0040,0560\)"):
        read(open_file, part10_bytes(dataset, sop_class_uid=STRUCTURED_REPORT))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "the LABEL image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, "the OVERVIEW image"),
        ({"SpecimenLabelInImage": "YES"}, "label of the slide is in this image"),
        ({"BurnedInAnnotation": "YES"}, "annotations burned in"),
        ({"SpecimenLabelInImage": "NO", "BurnedInAnnotation": "NO"}, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, ""),
    ],
)
def test_an_image_that_may_show_a_name_is_reported(open_file: Open, attributes: dict[str, str], words: str) -> None:
    notes = read(open_file, image_bytes(**attributes)).notes
    assert len(notes) == bool(words)
    assert words in "".join(notes)
