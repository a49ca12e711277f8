"""Names in the four folders, and what a folder says of itself.

Owns which names a sample may get and what is the name of one folder. It must not move anything. `ValueError` leaves it
for a name that would lead out of its place.
"""

import json
import os
import re
import uuid as uuids
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from moichord import durable
from moichord.sample import FINISHED, RECEIPT_NAME, State, printable

Kind = Literal["done", "failed"]

ATTEMPT_SUFFIX = re.compile(r"\.attempt-\d{3,}(\.\d+)?$")
"""What `candidates` puts after a name."""

_LARGEST_RECEIPT = 1 << 28


@dataclass(frozen=True, slots=True)
class Filed:
    """How the submission in one folder of done or failed ended, by its receipt; `ended_at` in epoch seconds."""

    uuid: str
    outcome: State
    place: str
    reason: str | None
    remedy: str | None
    ended_at: float | None


def kind_of(outcome: State) -> Kind:
    """In which of the two folders a submission with this outcome lies."""
    return "done" if outcome is State.DONE else "failed"


def candidates(name: str, attempt_number: int) -> Iterator[str]:
    """The names a sample may get in done and failed, best first: never one that replaces another.

    The number of an earlier attempt in `name` says nothing of this one, and is left out.
    """
    name = ATTEMPT_SUFFIX.sub("", name) or name
    yield name
    numbered = f"{name}.attempt-{attempt_number:03d}"
    yield numbered
    further = 2
    while True:
        yield f"{numbered}.{further}"
        further += 1


def receipt_owner(folder: Path) -> str | None:
    """The UUID of the submission whose receipt lies in this folder; None if there is none that makes sense.

    Raises `OSError` if the disk or the share does not answer: then nothing is known.
    """
    owner = _receipt(folder).get("submission")
    return owner if isinstance(owner, str) else None


def last_attempts(*roots: Path) -> dict[str, int]:
    """The highest attempt number of each sample ID, by the receipts in these folders' folders. Raises `OSError`."""
    found: dict[str, int] = {}
    for _, receipt in _receipts(roots):
        match receipt:
            case {"sample_id": str(sample_id), "attempt_number": int(number)} if number > 0:
                found[sample_id] = max(number, found.get(sample_id, 0))
    return found


def filed(*roots: Path) -> list[Filed]:
    """What the receipts in these folders' folders say of their submissions. Raises `OSError`."""
    found = []
    for place, receipt in _receipts(roots):
        match receipt:
            case {"submission": str(uuid), "outcome": str(outcome)} if outcome in FINISHED:
                why, mend = receipt.get("reason"), receipt.get("remedy")
                at = _moment(receipt.get("finished_at"))
                found.append(Filed(uuid, State(outcome), place, why and str(why), mend and str(mend), at))
    return found


def _receipts(roots: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each folder in these, with its receipt."""
    for root in roots:
        with os.scandir(root) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in folders:
            yield name, _receipt(root / name)


def _moment(text: object) -> float | None:
    """Epoch seconds of an ISO 8601 time; None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _receipt(folder: Path) -> dict[str, Any]:
    """The receipt in this folder; empty if there is none that makes sense."""
    try:
        with durable.open_regular(folder / RECEIPT_NAME) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_RECEIPT:
                return {}
            receipt = json.loads(file.readall())
    except (FileNotFoundError, NotADirectoryError, durable.NotRegular, ValueError, RecursionError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def component(name: str) -> str:
    """`name` if it is the name of one file or folder; anything else would lead out of its place."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.path.basename(name) != name:
        raise ValueError(f"{printable(name)!r} is not the name of one folder")
    return name


def is_there(path: Path) -> bool:
    """Whether anything lies under this name; unlike `os.path.lexists` it raises when the answer cannot be known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def orphans(work: Path, prefix: str = "") -> tuple[str, ...]:
    """The UUIDs that, behind `prefix`, are the name of a folder in work."""
    names = (path.name.removeprefix(prefix) for path in work.iterdir() if path.name.startswith(prefix))
    return tuple(sorted(name for name in names if _is_uuid(name)))


def _is_uuid(name: str) -> bool:
    try:
        return str(uuids.UUID(name)) == name
    except ValueError:
        return False
