"""Mutated headers: whatever a file holds, only DicomError leaves the package, and it leaves soon.

`python -m tests.unit.dicom.test_fuzz 200000` is the long run.
"""

import random
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from moichord.dicom import (
    Budget,
    DicomError,
    PositionedFile,
    Provenance,
    Wanted,
    identity,
    inspect,
    lookup,
    tagged,
    value,
)
from tests.builders import UNDEFINED, element, image_bytes, item, part10_bytes, sequence_end

PROVENANCE = Provenance("20240229120000+0000", "moichord")
WANTED = [
    Wanted(lookup("PatientName"), "Müller^Jörg", source="metadata"),
    Wanted(lookup("PatientID"), "S1-001"),
    Wanted(lookup("BarcodeValue"), "blood", "keep"),
]
BUDGET = Budget(nested=100_000)
VALUES = (0, 1, 7, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFF0, UNDEFINED)


def seeds() -> list[bytes]:
    nested = b""
    for _ in range(6):
        inside = item(nested + element(0x00100010, "PN", b"A^B "), undefined=True)
        nested = element(0x00081140, "SQ", inside + sequence_end(), length=UNDEFINED)
    syntaxes = ("explicit", "implicit", "big_endian", "jpeg")
    images = [image_bytes(transfer_syntax=syntax, frames=2) for syntax in syntaxes]
    declared = element(0x00080005, "CS", b"\\ISO 2022 IR 87 ") + element(0x00100010, "PN", b"\x1b$B;3ED\x1b(B ")
    report = "1.2.840.10008.5.1.4.1.1.88.11"
    return [
        *images,
        part10_bytes(element(0x00080018, "UI", b"2.25.3") + nested, sop_class_uid=report),
        part10_bytes(declared, sop_class_uid=report),
    ]


def mutate(content: bytes, choose: random.Random) -> bytes:
    """Flip bits, cut, splice absurd numbers, double or drop a piece: one to four times."""
    data = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        kind, at = choose.randrange(5), choose.randrange(128, len(data)) if len(data) > 128 else 0
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << choose.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at : at + 4] = struct.pack(choose.choice("<>") + "I", choose.choice(VALUES))
        elif kind == 3:
            data[at:at] = data[at : at + choose.randrange(64)]
        else:
            del data[at : at + choose.randrange(64)]
    return bytes(data)


def survive(path: Path, content: bytes) -> bool:
    """Everything that the daemon does with a file; whether it was accepted. Only DicomError may be raised."""
    path.write_bytes(content)
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        try:
            part10 = inspect(file, BUDGET)
            identity(file, part10, [one.attribute for one in WANTED])
            image = tagged(file, WANTED, PROVENANCE, part10=part10)[0]
            assert len(image.stream().read()) == image.length
        except DicomError as error:
            assert str(error)
            return False
        for found in part10.elements[:50]:
            with suppress(DicomError):
                value(file, part10, found.tag)
    return True


def run(folder: Path, count: int, seed: int) -> int:
    choose = random.Random(seed)  # noqa: S311
    originals = seeds()
    return sum(survive(folder / "mutated.dcm", mutate(choose.choice(originals), choose)) for _ in range(count))


@pytest.mark.parametrize("seed", range(4))
def test_only_dicom_errors_leave_the_package(tmp_path: Path, seed: int) -> None:
    accepted = run(tmp_path, 500, seed)
    assert 0 < accepted < 500


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(run(Path(folder), int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 99), "accepted")
