"""Mutated headers: whatever a file holds, only DicomError leaves the package, and it leaves soon.

`python -m tests.unit.dicom.test_fuzz 200000 [SEED]` is the long run. It prints how long the slowest file took and how
much memory all of it, ends with 1 if that was too much, and leaves a file that raised anything else in the current
folder: make a test of it with the builders.
"""

import random
import shutil
import struct
import sys
import tempfile
import time
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
from tests.builders import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    UNDEFINED,
    element,
    image_bytes,
    item,
    part10_bytes,
    sequence_end,
)

PROVENANCE = Provenance("20240229120000+0000", "moichord")
WANTED = [
    Wanted(lookup("PatientName"), "Müller^Jörg", source="metadata"),
    Wanted(lookup("PatientID"), "S1-001"),
    Wanted(lookup("BarcodeValue"), "blood", "keep"),
    Wanted(lookup("PatientSpeciesDescription"), "dog"),
]
GREEK = [Wanted(lookup("PatientName"), "Διονυσιος"), *WANTED[1:]]
MOST_SECONDS = 5.0
MOST_MEMORY = 200 * 1024 * 1024
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
        *(part10_bytes(accented(form), transfer_syntax=syntax, sop_class_uid=report) for syntax, form in FORMS.items()),
    ]


FORMS: dict[str, dict[str, bool]] = {EXPLICIT: {}, IMPLICIT: {"implicit": True}, BIG_ENDIAN: {"big_endian": True}}


def accented(form: dict[str, bool]) -> bytes:
    """A header with text in Latin-1 wherever text may be: earlier records, codes, specimens, private and unknown."""
    order = {"big_endian": form.get("big_endian", False)}

    def sequence(tag: int, content: bytes, undefined: bool) -> bytes:
        inside = item(content, undefined=undefined, **order)
        if undefined:
            return element(tag, "SQ", inside + sequence_end(**order), length=UNDEFINED, **form)
        return element(tag, "SQ", inside, **form)

    name = element(0x00100010, "PN", b"M\xfcller", **form)
    own = element(0x00080005, "CS", b"ISO_IR 144", **form) + element(0x00100010, "PN", b"\xbb\xee", **form)
    code = element(0x00080100, "SH", b"448771007 ", **form) + element(0x00080102, "SH", b"SCT ", **form)
    hidden = item(element(0x00100010, "", b"\xfcx", implicit=True)) + sequence_end()
    return b"".join(
        (
            element(0x00080005, "CS", b"ISO_IR 100", **form),
            element(0x00080018, "UI", b"2.25.3", **form),
            sequence(0x00081140, sequence(0x00081140, name, True) + name, False),
            sequence(0x00081199, own, True),
            sequence(0x00091001, name, True),
            name,
            sequence(0x00102202, code, False),
            element(0x00321032, "UN", hidden, length=UNDEFINED) if not form else b"",
            sequence(0x00400560, element(0x00400551, "LO", b"S\xfc", **form), True),
            sequence(0x04000561, sequence(0x04000550, name, False) + element(0x04000563, "LO", b"\xfcx", **form), True),
        )
    )


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


def survive(path: Path, content: bytes, wanted: list[Wanted]) -> bool:
    """Everything that the daemon does with a file; whether it was accepted. Only DicomError may be raised."""
    path.write_bytes(content)
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        try:
            part10 = inspect(file, BUDGET)
            identity(file, part10, [one.attribute for one in wanted])
            image = tagged(file, wanted, PROVENANCE, signed="strip", part10=part10)[0]
            new = bytes(image.stream().read())
            assert len(new) == image.length
        except DicomError as error:
            assert str(error)
            return False
        for found in part10.elements[:50]:
            with suppress(DicomError):
                value(file, part10, found.tag)
    return True


def run(folder: Path, count: int, seed: int) -> tuple[int, float]:
    """How many were accepted, and the seconds that the slowest took."""
    choose = random.Random(seed)  # noqa: S311
    originals = seeds()
    accepted, slowest = 0, 0.0
    for _ in range(count):
        content = mutate(choose.choice(originals), choose)
        begin = time.perf_counter()
        accepted += survive(folder / "mutated.dcm", content, choose.choice((WANTED, GREEK)))
        slowest = max(slowest, time.perf_counter() - begin)
    return accepted, slowest


def long_run(count: int, seed: int) -> int:
    import resource

    with tempfile.TemporaryDirectory() as folder:
        try:
            accepted, slowest = run(Path(folder), count, seed)
        except BaseException:
            shutil.copy(Path(folder, "mutated.dcm"), f"mutated-{seed}.dcm")
            raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{count} files, {accepted} accepted; the slowest took {slowest:.3f} s; {peak / 2**20:.0f} MiB of memory")
    return int(slowest > MOST_SECONDS or peak > MOST_MEMORY)


@pytest.mark.parametrize("seed", range(4))
def test_only_dicom_errors_leave_the_package(tmp_path: Path, seed: int) -> None:
    accepted, _ = run(tmp_path, 500, seed)
    assert 0 < accepted < 500


if __name__ == "__main__":
    sys.exit(long_run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 99))
