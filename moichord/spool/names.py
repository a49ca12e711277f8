"""Names in the four folders, and what a folder says of itself.

Owns which names a sample may get and what is the name of one folder. It must not move anything. `ValueError` leaves it
for a name that would lead out of its place.
"""

import json
import os
import re
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from moichord import durable
from moichord.sample import RECEIPT_NAME, State, printable

Kind = Literal["done", "failed"]

ATTEMPT_SUFFIX = re.compile(r"\.attempt-\d{3,}(\.\d+)?$")
"""What `candidates` puts after a name."""

_LARGEST_RECEIPT = 1 << 28


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
    for root in roots:
        with os.scandir(root) as entries:
            receipts = [_receipt(Path(entry.path)) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for receipt in receipts:
            match receipt:
                case {"sample_id": str(sample_id), "attempt_number": int(number)} if number > 0:
                    found[sample_id] = max(number, found.get(sample_id, 0))
    return found


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


def orphans(work: Path) -> tuple[str, ...]:
    """The UUIDs that have a folder in work."""
    return tuple(sorted(path.name for path in work.iterdir() if _is_uuid(path.name)))


def _is_uuid(name: str) -> bool:
    try:
        return str(uuids.UUID(name)) == name
    except ValueError:
        return False
