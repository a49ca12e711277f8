"""What a STOW-RS reply says of one image: whatever its form, whatever its status."""

from typing import Any

import pytest

from moichord.apis.upload.stow_answers import Fate, Kind, fate_of, is_among
from tests.unit.apis.dicomweb import as_json, as_xml, found, report

OURS, OTHER = "1.2.840.1", "1.2.840.2"

FATES = [
    pytest.param(report(stored=[OURS]), Fate(Kind.STORED), id="stored"),
    pytest.param(report(stored=[OTHER, OURS]), Fate(Kind.STORED), id="stored among others"),
    pytest.param(report(stored=[OURS], failed={OTHER: 0xA700}), Fate(Kind.STORED), id="stored, another failed"),
    pytest.param(report(stored=[OURS], failed={OURS: 0x0110}), Fate(Kind.STORED), id="stored after all"),
    pytest.param(report(failed={OURS: 0x0122}), (Kind.REFUSED, "0122"), id="SOP class"),
    pytest.param(report(failed={OURS: 0xA900}), (Kind.REFUSED, "A900"), id="A900"),
    pytest.param(report(failed={OURS: 0xA9FF}), (Kind.REFUSED, "A9FF"), id="A9FF"),
    pytest.param(report(failed={OURS: 0xC000}), (Kind.REFUSED, "C000"), id="C000"),
    pytest.param(report(failed={OURS: 0xC122}), (Kind.REFUSED, "C122"), id="C122"),
    pytest.param(report(failed={OURS: 0xCFFF}), (Kind.REFUSED, "CFFF"), id="CFFF"),
    pytest.param(report(failed={OURS: 0xA700}), (Kind.LATER, "A700"), id="A700"),
    pytest.param(report(failed={OURS: 0xA7FF}), (Kind.LATER, "A7FF"), id="A7FF"),
    pytest.param(report(failed={OURS: 0x0110}), (Kind.LATER, "0110"), id="processing failure"),
    pytest.param(report(failed={OURS: 0x0111}), (Kind.DUPLICATE, "0111"), id="duplicate"),
    pytest.param(report(failed={OURS: 0xA800}), (Kind.REFUSED_BY_STATUS, "A800"), id="a reason of its own"),
    pytest.param(report(failed={OURS: 0xD000}), (Kind.REFUSED_BY_STATUS, "D000"), id="behind the last range"),
    pytest.param(report(failed={OURS: None}), Fate(Kind.REFUSED_BY_STATUS), id="no reason"),
    pytest.param(report(other=0xC000), (Kind.REFUSED, "C000"), id="a part without a UID"),
    pytest.param(report(stored=[OTHER]), Fate(Kind.UNSAID), id="only another"),
    pytest.param(report(failed={OTHER: 0x0122}), Fate(Kind.UNSAID), id="only another failed"),
    pytest.param(report(), Fate(Kind.UNSAID), id="nothing"),
]


@pytest.mark.parametrize("written", [as_json, as_xml])
@pytest.mark.parametrize(("said", "fate"), FATES)
def test_the_fate_of_an_image(said: dict[str, Any], fate: Fate | tuple[Kind, str], written: Any) -> None:
    got = fate_of(written(said), OURS)
    if isinstance(fate, Fate):
        assert got == fate
    else:
        assert got.kind is fate[0]
        assert fate[1] in (got.words or "")


@pytest.mark.parametrize("written", [as_json, as_xml])
@pytest.mark.parametrize(("reason", "words"), [(0xB000, "coercion"), (0xB006, "left"), (0xB007, "match"), (7, "0007")])
def test_a_warning_is_stored_and_noted(reason: int, words: str, written: Any) -> None:
    got = fate_of(written(report(stored=[OURS], warning=reason)), OURS)
    assert got.kind is Kind.STORED
    assert words in (got.words or "")


def test_a_reason_may_be_written_as_text_and_a_uid_be_padded() -> None:
    item = {"00081155": {"Value": [f"{OURS}\0"]}, "00081197": {"Value": ["42752"]}}
    assert fate_of(as_json({"00081198": {"vr": "SQ", "Value": [item]}}), OURS).kind is Kind.LATER


MEANINGLESS = [
    *(b"", b"stored", b"[]", b"null", b"5", b'{"00081199": 5}', b'{"00081199": {"Value": 5}}', b'{"00081199": {}}'),
    *(b'{"00081199": {"Value": [5]}}', b'{"00081199": {"Value": [{"00081155": 5}]}}', b"<", b"<a", b"<html></html>"),
    b'{"00081199": {"Value": [{"00081155": {"Value": [5]}}]}}',
    b"<!DOCTYPE html><html><body>log in</body></html>",
    b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
    b'\xff\xfe{"00081199"',
]


@pytest.mark.parametrize("content", MEANINGLESS)
def test_what_is_no_such_reply_says_nothing(content: bytes) -> None:
    assert fate_of(content, OURS) == Fate(Kind.UNSAID)
    assert not is_among(content, OURS, None)


@pytest.mark.parametrize("levels", [100, 100_000])
def test_what_is_nested_however_deeply_in_xml_hides_nothing(levels: int) -> None:
    deep = b'<DicomAttribute tag="00081199" vr="SQ"><Item>' * levels + b"</Item></DicomAttribute>" * levels
    assert fate_of(b"<NativeDicomModel>" + deep + b"</NativeDicomModel>", OURS) == Fate(Kind.UNSAID)
    end = b"</NativeDicomModel>"
    said = as_xml(report(stored=[OURS])).replace(end, deep.replace(b"00081199", b"00091001") + end)
    assert fate_of(said, OURS) == Fate(Kind.STORED)


@pytest.mark.parametrize(
    ("content", "patient_id", "there"),
    [
        (found((OURS, "S1-001")), "S1-001", True),
        (found((OURS, "S1-001 ")), "S1-001", True),
        (found((OURS, "S1-001")), None, True),
        (found((OURS, None)), "S1-001", True),
        (found((OURS, "S1-002"), (OURS, "S1-001")), "S1-001", True),
        (found((OURS, "S1-002")), "S1-001", False),
        (found((OTHER, "S1-001")), "S1-001", False),
        (found(), "S1-001", False),
    ],
)
def test_an_image_is_found_if_it_is_ours(content: bytes, patient_id: str | None, there: bool) -> None:
    assert is_among(content, OURS, patient_id) is there
