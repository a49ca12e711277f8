"""Which samples of a list have come, and what became of them.

Owns the reading of such a list and the comparison. Pure; it must not know where either side comes from. Errors:
`ListUnreadable` for a server's reply that is no list of samples.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moichord import __version__
from moichord.errors import MoichordError
from moichord.queue.views import Newest
from moichord.receipt import iso
from moichord.sample import Arrival, State, printable

VERSION = 1
FIELD = "sample_id"
HEADINGS = frozenset({"sample_id", "sample id", "sampleid", "sample", "id", "barcode"})
_FIRST = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^,;\t]*))')
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_KIND = {State.DONE: "done", State.FAILED: "failed", State.CANCELLED: "failed"}
KINDS = ("missing", "failed", "waiting", "done", "unexpected")


class ListUnreadable(MoichordError):
    """A server's list of samples has not the form that is expected of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One sample of the comparison: what is known of it, if anything."""

    sample_id: str
    state: State | None = None
    attempt_number: int | None = None
    reason: str | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The samples by what became of them, each kind in the order of the list; `unexpected` ones by name."""

    expected: int
    missing: list[Found] = field(default_factory=list)
    failed: list[Found] = field(default_factory=list)
    waiting: list[Found] = field(default_factory=list)
    done: list[Found] = field(default_factory=list)
    unexpected: list[Found] = field(default_factory=list)

    def of(self, kind: str) -> list[Found]:
        found: list[Found] = getattr(self, kind)
        return found


def expected_ids(content: bytes) -> list[str]:
    """The sample IDs of a list: one a line, or the first column of a CSV file; a heading and `#` lines are left out.

    Bytes that no UTF-8 can be stay as they are (PEP 383); a spreadsheet's UTF-16 is read too.
    """
    text = (
        content.decode("utf-16", "replace")
        if content[:2] in _UTF_16
        else content.decode("utf-8-sig", "surrogateescape")
    )
    lines = [
        line for line in text.replace("\x00", "").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    first_column = (_FIRST.match(line) for line in lines)
    names = ((match["quoted"] or match["plain"] or "").replace('""', '"').strip() for match in first_column if match)
    found = [name for name in dict.fromkeys(names) if name]
    return found[1:] if found and found[0].lower() in HEADINGS else found


def listed_ids(reply: object) -> list[str]:
    """The sample IDs of a server's list: texts or whole numbers, or objects with such a field `sample_id`.

    Raises ListUnreadable, by the first entry that is neither.
    """
    if not isinstance(reply, list):
        raise _unreadable("holds no list of sample IDs.")
    found = [one.get(FIELD) if isinstance(one, Mapping) else one for one in reply]
    for number, one in enumerate(found, start=1):
        if isinstance(one, bool) or not isinstance(one, str | int) or not str(one).strip():
            raise _unreadable(f"names no sample in its entry {number}.")
    return list(dict.fromkeys(str(one).strip() for one in found))


def _unreadable(how: str) -> ListUnreadable:
    return ListUnreadable(
        f"The reply of metadata.list_url {how}",
        remedy="Set metadata.list_ids to a JMESPath that finds the sample IDs in it, such as results[].barcode.",
    )


def reconcile(expected: Collection[str], known: Iterable[Newest], arriving: Iterable[Arrival]) -> Reconciliation:
    """What became of each expected sample, and what came that nobody expected.

    One that arrives again counts as waiting, whatever its earlier submission came to.
    """
    by_id = {one.sample_id: _of_submission(one) for one in known}
    by_id |= {one.sample_id: _of_arrival(one) for one in arriving if one.sample_id is not None}
    result = Reconciliation(len(expected))
    for sample_id in expected:
        found = by_id.pop(sample_id, Found(sample_id))
        result.of("missing" if found.state is None else _KIND.get(found.state, "waiting")).append(found)
    result.unexpected.extend(by_id[name] for name in sorted(by_id))
    return result


def summary(result: Reconciliation) -> str:
    """`120 expected: 118 done, 1 waiting, 1 missing; 2 unexpected`."""
    counted = [f"{len(result.of(kind))} {kind}" for kind in ("done", "waiting", "failed", "missing") if result.of(kind)]
    beside = f"; {len(result.unexpected)} unexpected" if result.unexpected else ""
    return f"{result.expected} expected: {', '.join(counted) or 'nothing'}{beside}"


def report(result: Reconciliation, at: float, since: float | None) -> Mapping[str, Any]:
    """What `reconcile --json` prints: the schema's version 1."""
    return {
        "version": VERSION,
        "moichord": __version__,
        "at": iso(at),
        "since": iso(since),
        "counts": {"expected": result.expected, **{kind: len(result.of(kind)) for kind in KINDS}},
        **{kind: [_figures(found) for found in result.of(kind)] for kind in KINDS},
    }


def _of_submission(one: Newest) -> Found:
    return Found(one.sample_id, one.state, one.attempt_number, one.reason, one.finished_at or one.taken_at)


def _of_arrival(one: Arrival) -> Found:
    return Found(one.sample_id or "", State.RECEIVING, None, one.reason, one.first_seen_at)


def _figures(found: Found) -> dict[str, Any]:
    return {
        "sample_id": printable(found.sample_id),
        "state": found.state and str(found.state),
        "attempt_number": found.attempt_number,
        "reason": found.reason,
        "at": iso(found.at),
    }
