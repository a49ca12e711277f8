"""From the configured tag rules and the metadata record to the values that the images shall have.

Owns the sentence about a field that is missing or unsuitable. Pure. Errors: SampleFailure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moichord.errors import SampleFailure
from moichord.pipeline.names import names_of
from moichord.sample import Submission
from moichord.tag_rules import OnMismatch, TagRule
from moichord.templates import ValueUnsuitable


@dataclass(frozen=True, slots=True)
class Tagging:
    """What is to be written into every image of a submission: chosen once, persisted, so that repeats are identical.

    `coerced_at` is a DICOM DT with offset from UTC (PS3.5 6.2). `listing` is a digest of which files the sample then
    held, and how long they were, but for those that were to be `ignored` (None: as they are now). `record_changes` and
    `signed` are those of the configuration at that time.
    """

    values: tuple["WantedValue", ...]
    coerced_at: str
    listing: str = ""
    ignored: tuple[str, ...] | None = None
    record_changes: bool = True
    signed: Literal["fail", "strip"] = "fail"

    def as_json(self) -> dict[str, Any]:
        return {
            "coerced_at": self.coerced_at,
            "listing": self.listing,
            "ignored": self.ignored,
            "record_changes": self.record_changes,
            "signed": self.signed,
            "values": [[value.keyword, value.text, value.on_mismatch, value.source] for value in self.values],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Tagging":
        values = tuple(WantedValue(*value) for value in kept["values"])
        # A state of the first version does not say how; it can only be as the default is.
        record_changes, signed = kept.get("record_changes", True), kept.get("signed", "fail")
        ignored = None if kept.get("ignored") is None else tuple(kept["ignored"])
        return cls(values, kept["coerced_at"], kept["listing"], ignored, record_changes, signed)


@dataclass(frozen=True, slots=True)
class WantedValue:
    """One attribute's wanted value and where it comes from."""

    keyword: str
    text: str
    on_mismatch: OnMismatch
    source: str


def wanted_values(
    rules: Sequence[TagRule], record: Mapping[str, object], submission: Submission
) -> tuple[WantedValue, ...]:
    """The value of every rule that has one; SampleFailure names all required fields that have none."""
    found: list[WantedValue] = []
    problems: list[str] = []
    for rule in rules:
        try:
            text = rule.value(record, names_of(submission))
        except ValueUnsuitable as unsuitable:
            problems.append(f"{unsuitable} (for {rule.attribute.keyword})")
            continue
        if text is not None:
            found.append(WantedValue(rule.attribute.keyword, text, rule.on_mismatch, rule.source))
        elif rule.required:
            problems.append(f"{rule.source} has no value (for {rule.attribute.keyword})")
    if problems:
        raise SampleFailure(
            f"The metadata record of {submission.sample_id} cannot be used: {'; '.join(problems)}.",
            remedy="Complete the record in the laboratory's system, then retry the sample.",
        )
    return tuple(found)
