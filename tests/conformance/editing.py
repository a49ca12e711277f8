"""Setting tags through the room under test, as the daemon does it; what is wanted of every file here.

Owns the wanted values and their application. Judging is for others.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from moichord.dicom import (
    Coercion,
    Part10,
    PositionedFile,
    Provenance,
    TaggedImage,
    Wanted,
    inspect,
    lookup,
    tagged,
    walk,
)

PROVENANCE = Provenance("20240229120000.000000+0000", "moichord", "clinic")
PLAIN = {
    "PatientName": "Rex^Smith",
    "PatientID": "S1-001",
    "PatientSpeciesDescription": "Dog",
    "BarcodeValue": "blood-smear",
    "InstitutionName": "Harbour Street",
}
FOREIGN = {**PLAIN, "PatientName": "Żubr^Łucja", "InstitutionName": "Tierklinik Grünau"}


class Edited(NamedTuple):
    """`content` with the tags, the decision behind it, and whether its preamble had to be zeroed."""

    content: bytes
    coercion: Coercion
    preamble_zeroed: bool

    @property
    def tags(self) -> set[int]:
        return {edit.tag for edit in self.coercion.edits}


def structure(file: PositionedFile, *, whole: bool = True) -> Part10:
    """The structure of a file; of one that is not whole, as if there were no pixel data."""
    return inspect(file) if whole else replace(walk(file), tail=())


def unmodified(path: Path, *, whole: bool = True) -> bytes:
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        return bytes(TaggedImage(file, structure(file, whole=whole)).stream().read())


def edit(path: Path, values: Mapping[str, str], *, whole: bool = True) -> Edited:
    """The file as it would be sent."""
    wanted = [Wanted(lookup(keyword), text, source="a test") for keyword, text in values.items()]
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        image, coercion, _ = tagged(file, wanted, PROVENANCE, part10=structure(file, whole=whole))
        return Edited(bytes(image.stream().read()), coercion, bool(image.notes))
