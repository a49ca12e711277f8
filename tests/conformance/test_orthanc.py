"""A real image server takes what it took before, and gives it back byte for byte."""

import pytest
import requests

from tests.conformance import corpora, judges
from tests.conformance.editing import PLAIN, edit
from tests.conformance.originals import Original, of
from tests.integration.orthanc import Orthanc

pytestmark = pytest.mark.needs("Orthanc")


@of([name for name in corpora.editable() if corpora.incomplete(name) is None])
def test_orthanc_stores_what_it_stored_before_and_returns_the_same_bytes(original: Original, orthanc: Orthanc) -> None:
    patient_id = f"C{corpora.everything().index(original.name)}-001"
    edited = edit(original.path, {**PLAIN, "PatientID": patient_id})

    taken = is_taken(orthanc, edited.content)
    assert taken or not is_taken(orthanc, original.content)
    assert taken is is_identified(original.content)
    assert list(orthanc.files_of(patient_id).values()) == [edited.content] * taken


def is_identified(content: bytes) -> bool:
    dataset = judges.read(content)
    return all(dataset.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))


def is_taken(orthanc: Orthanc, content: bytes) -> bool:
    answer = requests.post(orthanc.instances_url, content, headers={"Authorization": orthanc.key}, timeout=60)
    # "Inexistent tag": without the UIDs of study and series it cannot file an image, and says 404.
    assert answer.status_code in (200, 400, 404), answer.text
    return answer.status_code == 200
