import pytest

from moichord.dicom import Coercion, Provenance, Unfit, Wanted, inspect, lookup, tagged
from moichord.dicom.species import Coded, contradicts
from tests.builders import UNDEFINED, element, item, part10_bytes, sequence_end
from tests.unit.dicom.conftest import Open

REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
DOG = ("448771007", "SCT", "Canis lupus familiaris")
UID = element(0x00080018, "UI", b"2.25.3")


@pytest.mark.parametrize(
    ("text", "coded", "expected"),
    [
        ("Dog", DOG, False),
        ("canine", DOG, False),
        ("Canis  lupus Familiaris", DOG, False),
        ("", DOG, False),
        ("cat", DOG, True),
        ("feline", ("L-80700", "SRT", "canis lupus familiaris"), True),
        ("dog", ("448771007", "SCT", ""), False),
        ("dog", ("448169003", "SCT", "Canis lupus familiaris"), True),
        ("dog", ("448169003", "99LAB", "dog"), False),
        ("Labrador", DOG, None),
        ("dog", ("1", "99LAB", "small animal"), None),
    ],
)
def test_only_two_known_animals_contradict_each_other(
    text: str, coded: tuple[str, str, str], expected: bool | None
) -> None:
    assert contradicts(text, Coded(*coded)) is expected


def code(coded: tuple[str, str, str], *, undefined: bool = False) -> bytes:
    parts = zip((0x00080100, 0x00080102, 0x00080104), ("SH", "SH", "LO"), coded, strict=True)
    content = b"".join(element(tag, vr, text.encode() + b" " * (len(text) % 2)) for tag, vr, text in parts)
    if undefined:
        return element(0x00102202, "SQ", item(content, undefined=True) + sequence_end(), length=UNDEFINED)
    return element(0x00102202, "SQ", item(content))


def coercion_of(open_file: Open, content: bytes, **wanted: str) -> Coercion:
    file = open_file(part10_bytes(UID + content, sop_class_uid=REPORT))
    attributes = [Wanted(lookup(keyword), text, source="metadata field species") for keyword, text in wanted.items()]
    return tagged(file, attributes, Provenance("20240229", "moichord"), part10=inspect(file))[1]


@pytest.mark.parametrize("undefined", [True, False])
def test_a_species_against_the_code_of_the_image_is_refused(open_file: Open, undefined: bool) -> None:
    content = code(DOG, undefined=undefined)
    words = (
        r"the species is 'cat' according to metadata field species, but .*"
        r" says 'Canis lupus familiaris' \('448771007', 'SCT'\)"
    )
    with pytest.raises(Unfit, match=words) as caught:
        coercion_of(open_file, content, PatientSpeciesDescription="cat")
    assert (caught.value.keyword, caught.value.source) == ("PatientSpeciesDescription", "metadata field species")
    assert coercion_of(open_file, content, PatientSpeciesDescription="Dog").notes == ()


def test_an_image_that_contradicts_itself_is_refused_whatever_is_wanted(open_file: Open) -> None:
    content = element(0x00102201, "LO", b"cat ") + code(DOG)
    with pytest.raises(Unfit, match="the species is 'cat' in words"):
        coercion_of(open_file, content, PatientID="new")
    assert coercion_of(open_file, content, PatientSpeciesDescription="dog").changes[0].before == "cat"


def test_what_cannot_be_compared_is_only_said(open_file: Open) -> None:
    for content in (
        code(("1", "99LAB", "small animal")),
        element(0x00102202, "SQ", item() + item()),
        element(0x00102202, "SQ", b"12345678"),
    ):
        assert "not known here" in coercion_of(open_file, content, PatientSpeciesDescription="dog").notes[0]
    cat = ("448169003", "SCT", "Felis catus")
    two = element(0x00102202, "SQ", code(cat)[12:] + code(DOG)[12:])
    assert "not known here" in coercion_of(open_file, two, PatientSpeciesDescription="dog").notes[0]
    for content in (code(("1", "99LAB", "small")), element(0x00102202, "SQ", b"12345678")):
        assert coercion_of(open_file, content, PatientID="new").notes == ()


def test_a_code_may_be_in_a_set_of_its_own(open_file: Open) -> None:
    own = element(0x00080005, "CS", b"ISO_IR 100") + element(0x00080104, "LO", b"H\xfcndin")
    content = element(0x00102202, "SQ", item(own))
    assert coercion_of(open_file, content, PatientSpeciesDescription="hündin").notes[0].startswith("the character set")
