"""Comparing what was dropped with what arrived: with pydicom, with dcmdump, byte by byte, and against the receipt.

Owns these judgements only. They use nothing of moichord's own DICOM code.
"""

import hashlib
import io
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from blake3 import blake3
from pydicom.dataset import Dataset

# What moichord sets besides the configured tags: the record of the change, and who wrote the file.
KEPT_APART = {
    "0002,0000",  # group length
    "0002,0012",  # ImplementationClassUID
    "0002,0013",  # ImplementationVersionName
    "0008,0015",  # InstanceCoercionDateTime
    "0400,0561",  # OriginalAttributesSequence
}
TAG_OF = {
    "PatientName": "0010,0010",
    "PatientID": "0010,0020",
    "PatientSpeciesDescription": "0010,2201",
    "BarcodeValue": "2200,0005",
    "InstitutionName": "0008,0080",
}
CHARACTER_SET = "0008,0005"


def expected_tags(sample_id: str, record: Mapping[str, str], attempt: int = 1) -> dict[str, str]:
    """The five tags that a sample with this metadata gets, by keyword."""
    return {
        "PatientName": record["patient-name"],
        "PatientSpeciesDescription": record["request_species"],
        "BarcodeValue": record["test_type"],
        "InstitutionName": record["clinic-name"],
        "PatientID": f"{sample_id}-{attempt:03d}",
    }


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sop_instance_uid(content: bytes) -> str:
    return str(read(content).SOPInstanceUID)


def by_uid(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files by SOP Instance UID; each must be there once."""
    found = {sop_instance_uid(content): content for content in files.values()}
    assert len(found) == len(files), "the same SOP Instance UID came twice"
    return found


def assert_tagged(arrived: bytes, expected: Mapping[str, str]) -> None:
    dataset = read(arrived)
    assert {keyword: str(dataset[keyword].value) for keyword in expected} == expected


def assert_pixels_untouched(original: bytes, arrived: bytes, folder: Path) -> None:
    """The same pixel data, for pydicom and as dcmdump writes it out, and everything else that dcmdump shows."""
    before, after = read(original), read(arrived)
    assert after.PixelData == before.PixelData
    assert after["PixelData"].VR == before["PixelData"].VR
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert _raw_pixels(arrived, folder) == _raw_pixels(original, folder)
    assert _untouched_lines(arrived, folder) == _untouched_lines(original, folder)


def _raw_pixels(content: bytes, folder: Path) -> list[bytes]:
    """What `dcmdump +W` writes: every item of the pixel data as a file."""
    target = folder / "raw"
    target.mkdir()
    _dcmdump(content, folder, "+W", str(target))
    written = [path.read_bytes() for path in sorted(target.iterdir())]
    for path in target.iterdir():
        path.unlink()
    target.rmdir()
    assert written
    return written


def _untouched_lines(content: bytes, folder: Path) -> list[str]:
    """Every value that `dcmdump` shows, complete, except those of the elements that moichord may change."""
    apart = KEPT_APART | set(TAG_OF.values()) | {CHARACTER_SET}
    lines: list[str] = []
    skipping = False
    for line in _dcmdump(content, folder, "+L").splitlines():
        top = re.match(r"\(([0-9a-f]{4},[0-9a-f]{4})\)", line)
        if top and top[1] != "fffe,e0dd":  # the end of a sequence belongs to it
            skipping = top[1] in apart or top[1].endswith(",0000")
        if not skipping and not line.startswith("#"):
            lines.append(line)
    assert any(line.startswith("(7fe0,0010)") for line in lines)
    return lines


def _dcmdump(content: bytes, folder: Path, *options: str) -> str:
    file = folder / "judged.dcm"
    file.write_bytes(content)
    shown = subprocess.run(["dcmdump", "-q", *options, str(file)], capture_output=True, check=True)
    return shown.stdout.decode("latin-1")


def assert_receipt_is_true(
    receipt: Mapping[str, Any],
    *,
    originals: Mapping[str, bytes],
    arrived: Mapping[str, bytes],
    in_done: Mapping[str, bytes],
    expected: Mapping[str, str],
    status: int = 200,
) -> None:
    """Recompute what the receipt says of every image.

    `originals` and `in_done` by relative path, `arrived` (what the server holds) by SOP Instance UID.
    """
    assert [image["path"] for image in receipt["images"]] == sorted(originals)
    for image in receipt["images"]:
        received, sent = originals[image["path"]], arrived[image["sop_instance_uid"]]
        assert sop_instance_uid(received) == image["sop_instance_uid"]
        assert (image["size_received"], image["size_sent"]) == (len(received), len(sent))
        assert image["sha256_sent"] == sha256(sent)
        assert_untouched_part_is_true(image["untouched"], received, sent)
        assert_untouched_part_is_true(image["untouched"], received, in_done[image["path"]])
        assert_changes_are_true(image["changes"], read(received), expected)
        assert (image["sent"], image["refused"], image["same_as"]) == (True, None, None)
        assert image["status"] == status
    assert_times_in_order(receipt)


def assert_untouched_part_is_true(untouched: Mapping[str, Any], received: bytes, sent: bytes) -> None:
    length = untouched["length"]
    before = received[untouched["offset_received"] :]
    after = sent[untouched["offset_sent"] :]
    assert len(before) == len(after) == length
    assert before == after
    assert untouched["digest"] == "BLAKE3"
    assert untouched["value"] == blake3(before).hexdigest()


def assert_changes_are_true(changes: list[dict[str, Any]], before: Dataset, expected: Mapping[str, str]) -> None:
    said = {change["keyword"]: (change["before"], change["after"]) for change in changes}
    for keyword, value in expected.items():
        old = _shown(before, keyword)
        assert said.pop(keyword, (old, old)) == (old, value)
    assert said.keys() <= {"SpecificCharacterSet"}


def _shown(dataset: Dataset, keyword: str) -> str | None:
    """A value as text; of a person name without the delimiters of empty components at its end (PS3.5 6.2)."""
    if keyword not in dataset:
        return None
    text = str(dataset[keyword].value)
    return text.rstrip("^") if dataset[keyword].VR == "PN" else text


def assert_times_in_order(receipt: Mapping[str, Any]) -> None:
    """Taken, then each step after the one before, every acknowledgement within the upload, then the end."""
    steps = {step["step"]: step for step in receipt["steps"]}
    assert list(steps) == ["metadata", "tags", "upload", "analytics", "archive"]
    times = [receipt["taken_at"]]
    for step in steps.values():
        times += [step["started_at"], step["finished_at"]]
    times.append(receipt["finished_at"])
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(moments)
    upload = steps["upload"]
    for image in receipt["images"]:
        assert upload["started_at"] <= image["acknowledged_at"] <= upload["finished_at"]


def last_acknowledgement(receipt: Mapping[str, Any]) -> float:
    """Seconds since the epoch, to the millisecond below."""
    return max(datetime.fromisoformat(image["acknowledged_at"]).timestamp() for image in receipt["images"])
