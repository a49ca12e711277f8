"""What others say of a file: dcmdump of dcmtk, dciodvfy of dicom3tools, and pydicom; and what differs from before.

Owns the running of these programs and the comparison of what they say. They use nothing of moichord's.
"""

import io
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from tests.conformance.editing import Edited
from tests.conformance.reader import REST, dataset_of, meta_of

LENGTH_TO_END = 0x00080001
OUR_META = {0x00020000, 0x00020012, 0x00020013}
"""Group length, implementation class UID and version name: these say who wrote the file."""


def messages_of_dcmdump(file: Path) -> Counter[str]:
    """Its warnings and errors; a failure is one more."""
    ran = subprocess.run(["dcmdump", str(file)], capture_output=True, check=False)
    return _lines(ran.stderr, file) + Counter([f"exit code {ran.returncode}"] if ran.returncode else [])


def errors_of_dciodvfy(file: Path) -> Counter[str]:
    """What in its judgement breaks the definition of the object (PS3.3 A)."""
    ran = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, check=False)
    said = _lines(ran.stderr, file)
    return Counter({_number_as_decimal(line): count for line, count in said.items() if line.startswith("Error")})


def read(content: bytes) -> Dataset:
    """What pydicom makes of it, up to the pixel data."""
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)


def assert_only_these_changed(before: bytes, edited: Edited, values: Mapping[str, str]) -> None:
    """Others read the new values, and all else is as it was."""
    assert_untouched_but_for(edited.tags, before, edited.content, preamble_zeroed=edited.preamble_zeroed)
    assert_well_formed(edited.content)
    after = read(edited.content)
    assert {keyword: str(after[keyword].value) for keyword in values} == values


def assert_no_new_messages(before: Path, after: Path) -> None:
    """dcmdump has nothing to say of the second file that it does not say of the first."""
    assert not messages_of_dcmdump(after) - messages_of_dcmdump(before)


def assert_untouched_but_for(edited: set[int], before: bytes, after: bytes, *, preamble_zeroed: bool = False) -> None:
    """Element by element, everything outside `edited` is there, byte for byte, in its order.

    The lengths of groups that hold an edit are gone, since they would lie (PS3.5 7.2); of 0008, LengthToEnd too.
    """
    assert after[:128] == (bytes(128) if preamble_zeroed else before[:128])
    groups = {tag >> 16 for tag in edited}
    gone = edited | {group << 16 for group in groups} | ({LENGTH_TO_END} if LENGTH_TO_END >> 16 in groups else set())
    old = [(found.tag, found.whole) for found in dataset_of(before) if found.tag not in gone]
    new = [(found.tag, found.whole) for found in dataset_of(after) if found.tag not in edited]
    assert [tag for tag, _ in new] == [tag for tag, _ in old]
    assert [tag for (tag, whole), (_, was) in zip(new, old, strict=True) if whole != was] == []
    old_meta = {found.tag: found.whole for found in meta_of(before) if found.tag not in OUR_META}
    assert {found.tag: found.whole for found in meta_of(after) if found.tag not in OUR_META} == old_meta


def assert_well_formed(content: bytes) -> None:
    """Ascending tags, even lengths of what we wrote, and a group length of the meta information that is true."""
    tags = [found.tag for found in dataset_of(content) if found.tag != REST]
    assert tags == sorted(set(tags))
    meta = meta_of(content)
    stated = int.from_bytes(meta[0].value, "little")
    assert (meta[0].tag, stated) == (0x00020000, sum(len(found.whole) for found in meta[1:]))


def _lines(output: bytes, file: Path) -> Counter[str]:
    text = output.decode("latin-1").replace(str(file), "FILE")
    return Counter(line for line in text.splitlines() if line.strip())


def _number_as_decimal(line: str) -> str:
    """dciodvfy prints the same number now in hexadecimal, now in decimal, depending on what it has printed before."""
    return re.sub(r"<0x([0-9a-f]+)>", lambda match: f"<{int(match[1], 16)}>", line)


def assert_same_values(before: Dataset, after: Dataset) -> None:
    """pydicom reads the same from both at any depth; the lengths of groups, which are retired, do not count."""
    assert values_of(after) == values_of(before)


def values_of(dataset: Dataset) -> dict[str, object]:
    """What pydicom reads, by path; a value that it cannot read is its raw bytes."""
    found: dict[str, object] = {}

    def collect(one: Dataset, path: str) -> None:
        for tag in one.keys():  # noqa: SIM118  iterating a Dataset converts its elements, and fails where one is bad
            if tag.element == 0:
                continue
            where = f"{path}{tag}"
            try:
                element = one[tag]
            except (ValueError, KeyError, NotImplementedError, BytesLengthException):
                found[where] = one.get_item(tag).value
                continue
            if element.VR == "SQ":
                for number, item in enumerate(element.value):
                    collect(item, f"{where}[{number}]")
            else:
                found[where] = (element.VR, str(element.value))

    collect(dataset, "")
    return found
