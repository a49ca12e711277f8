"""Replies of DICOMweb servers, as the standard writes them: in JSON (PS3.18 F) and in XML (PS3.19 A)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def report(
    *,
    stored: Sequence[str] = (),
    warning: int | None = None,
    failed: Mapping[str, int | None] | None = None,
    other: int | None = None,
) -> dict[str, Any]:
    """The store instances response module (PS3.18 I.2.2): images by UID, failures with their reasons."""
    referenced = [_item(uid, "00081196", warning) for uid in stored]
    failures = [_item(uid, "00081197", reason) for uid, reason in (failed or {}).items()]
    others = [] if other is None else [{"00081197": {"vr": "US", "Value": [other]}}]
    sequences = {"00081198": failures, "00081199": referenced, "0008119A": others}
    return {tag: {"vr": "SQ", "Value": items} if items else {"vr": "SQ"} for tag, items in sequences.items()}


def _item(uid: str, tag: str, reason: int | None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item if reason is None else {**item, tag: {"vr": "US", "Value": [reason]}}


def found(*instances: tuple[str, str | None]) -> bytes:
    """The answer to a search: UIDs, each with its PatientID."""
    datasets: list[dict[str, Any]] = []
    for uid, patient_id in instances:
        dataset: dict[str, Any] = {"00080018": {"vr": "UI", "Value": [uid]}}
        if patient_id is not None:
            dataset["00100020"] = {"vr": "LO", "Value": [patient_id]}
        datasets.append(dataset)
    return json.dumps(datasets).encode()


def as_json(dataset: Mapping[str, Any]) -> bytes:
    return json.dumps(dataset, indent=1).encode()


def as_xml(dataset: Mapping[str, Any]) -> bytes:
    inner = _attributes(dataset)
    namespace = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
    return f'<?xml version="1.0"?>\n<NativeDicomModel xmlns="{namespace}">{inner}</NativeDicomModel>'.encode()


def _attributes(dataset: Mapping[str, Any]) -> str:
    return "".join(
        f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}">{_values(attribute.get("Value", []))}</DicomAttribute>'
        for tag, attribute in dataset.items()
    )


def _values(values: Sequence[Any]) -> str:
    return "".join(
        f'<Item number="{number}">{_attributes(value)}</Item>'
        if isinstance(value, Mapping)
        else f'<Value number="{number}">{value}</Value>'
        for number, value in enumerate(values, start=1)
    )
