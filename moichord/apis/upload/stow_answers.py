"""What the reply to a STOW-RS request says of one image, in whichever form it comes (PS3.18 10.5.3, I.2.2).

Owns the response module's attributes and reasons, in JSON (PS3.18 F) and in XML (PS3.19 A.1). It must not know HTTP
beyond the bytes of a reply. It returns fates and raises nothing. Pure.

The status says little: a server may store one image and refuse another of the same request, or answer 409 although it
is merely full. What it says of the image itself goes first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

from moichord.apis.replies import NotJson, parse

REFERENCED_SOP_SEQUENCE = "00081199"
FAILED_SOP_SEQUENCE = "00081198"
OTHER_FAILURES_SEQUENCE = "0008119A"
REFERENCED_SOP_INSTANCE_UID = "00081155"
WARNING_REASON = "00081196"
FAILURE_REASON = "00081197"
SOP_INSTANCE_UID = "00080018"
PATIENT_ID = "00100020"
_LEVELS = 8
"""Levels of items that are read of a reply in XML; what it says of an image lies on the first two."""

Dataset = Mapping[str, Any]
"""A data set of the DICOM JSON model: each attribute by its tag, as {"vr": ..., "Value": [...]}."""


class Kind(StrEnum):
    """What has become of an image."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    LATER = "later"
    REFUSED = "refused"
    REFUSED_BY_STATUS = "refused by status"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True)
class Fate:
    """`words` say why, or what the server changed; None if there is nothing to say."""

    kind: Kind
    words: str | None = None


# PS3.18 table I.2-2, and PS3.7 C for the general ones.
_WARNINGS = {
    0xB000: "the server changed elements (B000, coercion)",
    0xB006: "the server left elements out (B006)",
    0xB007: "the data set does not match its SOP class (B007)",
}
_REASONS = {
    0x0110: (Kind.LATER, "processing failed"),
    0x0111: (Kind.DUPLICATE, "duplicate SOP instance"),
    0x0122: (Kind.REFUSED, "its SOP class is not supported"),
    0xC122: (Kind.REFUSED, "its transfer syntax is not supported"),
}
_RANGES = {
    0xA7: (Kind.LATER, "the server is out of resources"),
    0xA9: (Kind.REFUSED, "the data set does not match its SOP class"),
    **dict.fromkeys(range(0xC0, 0xD0), (Kind.REFUSED, "the server cannot understand it")),
}


def fate_of(content: bytes, sop_instance_uid: str) -> Fate:
    """What the reply says has become of this image, which was the only one of its request."""
    report = read(content)
    if not isinstance(report, Mapping):
        return Fate(Kind.UNSAID)
    for item in _items(report, REFERENCED_SOP_SEQUENCE):
        if _text(item, REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            return Fate(Kind.STORED, _warning(item))
    for item in _items(report, FAILED_SOP_SEQUENCE):
        if _text(item, REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            return _failure(item)
    # Here are failures of parts in which the server found no UID (PS3.3 C.12.1.1.17).
    for item in _items(report, OTHER_FAILURES_SEQUENCE):
        return _failure(item)
    return Fate(Kind.UNSAID)


def is_among(content: bytes, sop_instance_uid: str, patient_id: str | None) -> bool:
    """Whether the reply to a QIDO-RS search for instances (PS3.18 10.6.3) holds this image.

    A copy that is said to belong to another patient than `patient_id` is another one.
    """
    found = read(content)
    for dataset in found if isinstance(found, list) else []:
        if isinstance(dataset, Mapping) and _text(dataset, SOP_INSTANCE_UID) == sop_instance_uid:
            owner = _text(dataset, PATIENT_ID)
            if patient_id is None or owner is None or owner == patient_id.strip():
                return True
    return False


def read(content: bytes) -> Any:
    """The DICOM JSON model of a reply, also of one in XML; None if it is neither."""
    if content.lstrip()[:1] == b"<":
        return _read_xml(content)
    try:
        return parse(content)
    except NotJson:
        return None


def _read_xml(content: bytes) -> Dataset | None:
    if b"<!" in content:
        return None  # a web page, or a document with entities of its own, which no server needs
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - without a document type nothing expands
    except ElementTree.ParseError:
        return None
    return dict(_attributes(root, _LEVELS))


def _attributes(element: ElementTree.Element, levels: int) -> Iterator[tuple[str, Any]]:
    """Each DicomAttribute below `element`, in the JSON model, with so many levels of items.

    The namespace is optional in practice.
    """
    for attribute in element:
        tag = attribute.get("tag")
        if tag is None:
            continue
        values: list[Any] = []
        for child in attribute:
            name = child.tag.rpartition("}")[2]
            if name == "Item" and levels > 0:
                values.append(dict(_attributes(child, levels - 1)))
            elif name == "Value" and child.text is not None:
                values.append(child.text)
        yield tag.upper(), {"vr": attribute.get("vr"), "Value": values}


def _items(dataset: Dataset, tag: str) -> Iterator[Dataset]:
    return (item for item in _values(dataset, tag) if isinstance(item, Mapping))


def _values(dataset: Dataset, tag: str) -> list[Any]:
    attribute = dataset.get(tag)
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    return values if isinstance(values, list) else []


def _text(dataset: Dataset, tag: str) -> str | None:
    values = _values(dataset, tag)
    return values[0].strip(" \0") if values and isinstance(values[0], str) else None


def _number(dataset: Dataset, tag: str) -> int | None:
    """A US value: a number in JSON, its decimal digits in XML (and from some servers in JSON)."""
    values = _values(dataset, tag)
    value = values[0] if values else None
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _warning(item: Dataset) -> str | None:
    reason = _number(item, WARNING_REASON)
    return None if reason is None else _WARNINGS.get(reason, f"with a warning ({reason:04X})")


def _failure(item: Dataset) -> Fate:
    reason = _number(item, FAILURE_REASON)
    if reason is None:
        return Fate(Kind.REFUSED_BY_STATUS)
    kind, words = _REASONS.get(reason) or _RANGES.get(reason >> 8) or (Kind.REFUSED_BY_STATUS, "for its own reason")
    return Fate(kind, f"{words} ({reason:04X})")
