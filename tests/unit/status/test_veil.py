"""What of a reason is hidden from people who are not to see values of patients."""

import pytest

from moichord.status.veil import veiled


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The metadata server's reply is not JSON. It wasn't.", "The metadata server's reply is not JSON. It wasn't."),
        (
            "PatientID is 'P1' in a.dcm, but \"O'Hara\" in b.dcm: no",
            "PatientID is (hidden) in a.dcm, but (hidden) in b.dcm: no",
        ),
        (r"It is 'O\'Hara \"x\"'.", "It is (hidden)."),
        (
            "the species is 'cat' in words, but the image's PatientSpeciesCodeSequence says 'Dog' ('448771007', 'SCT')",
            "the species is (hidden) in words, but the image's PatientSpeciesCodeSequence says (hidden) "
            "((hidden), (hidden))",
        ),
        (
            "SOPInstanceUID is '2.25.4', but the file meta information says nothing",
            "SOPInstanceUID is (hidden), but the file meta information says nothing",
        ),
        ("the value 'Rex' (from 'owner') is too long", "the value (hidden) (from (hidden)) is too long"),
        ('It refused (400). The server wrote: {"owner": "Ann"}\nmore', "It refused (400). The server wrote: (hidden)"),
        ("It refused (400).", "It refused (400)."),
        ("", ""),
    ],
)
def test_what_is_quoted_is_hidden_and_the_sentence_stays(text: str, shown: str) -> None:
    assert veiled(text) == shown
