"""A site with much in it, made by writing rows and folders instead of running samples.

Owns the making. It must not know what is measured there.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from moichord.queue.database import Database
from moichord.queue.schema import attempts, circuits, history, images, steps, submissions
from moichord.sample import FINISHED, STEPS, Api, State, Step
from tests.builders import image_bytes

ROWS_AT_ONCE = 20_000
DAY = 86_400.0


@dataclass(frozen=True)
class Size:
    """How much lies where. `history` are rows, the rest samples; each sample that arrives has 8 files."""

    arriving: int = 200
    waiting: int = 5_000
    ready: int = 0
    done: int = 100_000
    failed: int = 100
    history: int = 1_000_000


FULL = Size()
QUICK = Size(arriving=20, waiting=500, done=2_000, failed=10, history=20_000)


class Site:
    """Folders, state and configuration below `root`, made as large as `size` says."""

    def __init__(self, root: Path, size: Size) -> None:
        self.root = root
        self.size = size
        self.state = root / "state.db"
        self.config = root / "moichord.yaml"
        for name in ("inbox", "work", "done", "failed"):
            (root / name).mkdir()
        (root / "work").chmod(0o700)
        self._write_config()
        self._make_state()
        self._make_inbox()

    def _write_config(self) -> None:
        nobody = {"url": "http://127.0.0.1:9/", "key": None}
        folders = {name: str(self.root / name) for name in ("inbox", "work", "done", "failed")}
        blocks = {
            "version": 1,
            "folders": folders,
            "state": str(self.state),
            "watch": {"observer": "native", "min_free_space": "1MiB"},
            **{str(api): nobody for api in Api},
        }
        self.config.write_text(yaml.safe_dump(blocks))

    def _make_inbox(self) -> None:
        """Of each sample the last image is still being copied."""
        content = image_bytes()
        for number in range(self.size.arriving):
            folder = self.root / "inbox" / f"ARRIVING-{number:06d}"
            folder.mkdir()
            for image in range(7):
                (folder / f"{image}.dcm").write_bytes(content)
            (folder / "7.dcm").write_bytes(content[:-100])

    def _make_state(self) -> None:
        database = Database(self.state)
        state_uuid = database.open()
        database.close()
        (self.root / "work" / ".moichord-state").write_text(state_uuid + "\n")
        now = time.time()
        with closing(database._engine.connect()) as connection:
            with connection.begin():
                for rows in _in_pieces(_submissions(self.size, now)):
                    connection.execute(submissions.insert(), [row for row, _ in rows])
                    connection.execute(attempts.insert(), [_attempt(row) for row, _ in rows])
                    if planned := [row for row, _ in rows if row["state"] != State.READY]:
                        connection.execute(images.insert(), [_image(row) for row in planned])
                        connection.execute(steps.insert(), [one for row in planned for one in _steps(row)])
                    for row, folder in rows:
                        self._make_folder(row, folder)
            with connection.begin():
                for events in _in_pieces(_events(self.size, now)):
                    connection.execute(history.insert(), list(events))
                if not self.size.waiting:
                    return
                held = {"open_since": now, "reason": "It refused the connection.", "next_probe_at": now + DAY / 2}
                connection.execute(circuits.update().where(circuits.c.api == str(Api.UPLOAD)).values(**held))

    def _make_folder(self, row: dict[str, Any], folder: str) -> None:
        place = self.root / folder
        name = row["folder_name"]
        if folder == "work":
            place = place / row["uuid"]
            place.mkdir(0o700)
        (place / name).mkdir()
        kept = "moichord-receipt.json" if folder != "work" else "0.dcm"
        (place / name / kept).write_text(json.dumps({"submission": row["uuid"]}))


def _submissions(size: Size, now: float) -> Iterator[tuple[dict[str, Any], str]]:
    groups = (("DONE", size.done, State.DONE, "done"), ("FAILED", size.failed, State.FAILED, "failed"))
    for prefix, count, state, folder in groups:
        for number in range(count):
            ended = now - 60 * DAY + number
            yield _submission(f"{prefix}-{number:06d}", state, ended, outcome=str(state), finished_at=ended), folder
    for number in range(size.waiting):
        held = {"held_by": "api:upload", "held_since": now, "reason": "The image server refused the connection."}
        yield _submission(f"WAITING-{number:06d}", State.WAITING, now - number, **held), "work"
    for number in range(size.ready):
        due = {"step": str(Step.METADATA), "next_try_at": now}
        yield _submission(f"READY-{number:06d}", State.READY, now - number, **due), "work"


def _submission(name: str, state: State, at: float, **known: Any) -> dict[str, Any]:
    ended = state in FINISHED
    row = {column.name: None for column in submissions.c}
    return row | {
        "uuid": str(uuid.uuid4()),
        "sample_id": name,
        "folder_name": name,
        "place": name if ended else None,
        "attempt_number": 1,
        "state": str(state),
        "step": str(Step.ARCHIVE if ended else Step.UPLOAD),
        "taken_at": at,
        "held_seconds": 0.0,
        "manifest": "0" * 32,
        "file_count": 1,
        "image_count": 1,
        "size": 1_000_000,
        "smallest_image": 1_000_000,
        "repetition": 0,
        "crashes": 0,
        **known,
    }


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    return {"sample_id": row["sample_id"], "last_attempt": 1}


def _image(row: dict[str, Any]) -> dict[str, Any]:
    known = {column.name: None for column in images.c if column.name != "number"}
    return known | {
        "submission": row["uuid"],
        "relative_path": "0.dcm",
        "size": 1_000_000,
        "mtime_ns": 1,
        "inode": 1,
        "sop_instance_uid": "2.25.1",
        "header_length": 1000,
        "header_digest": "0" * 64,
        "tail_offset": 1000,
        "tail_length": 999_000,
        "changes": [],
        "warnings": [],
        "carried": False,
        "requests": 1,
        "acknowledged_at": row["finished_at"],
        "already_stored": False,
    }


def _steps(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    counts = ("held_before", "tries", "failures", "successes_seen", "outage_turns", "outage_successes", "requests")
    for step in STEPS if row["finished_at"] else STEPS[:3]:
        finished = row["taken_at"] if row["finished_at"] or step is not Step.UPLOAD else None
        times = {"started_at": row["taken_at"], "finished_at": finished, "last_problem": None, "result": None}
        yield {"submission": row["uuid"], "step": str(step), **dict.fromkeys(counts, 0), **times}


def _events(size: Size, now: float) -> Iterator[dict[str, Any]]:
    for number in range(size.history):
        sample = f"DONE-{number % max(1, size.done):06d}"
        yield {
            "at": now - 90 * DAY + number * 60 * DAY / size.history,
            "sample_id": sample,
            "submission": sample,
            "state": str(State.PROCESSING),
            "step": str(Step.UPLOAD),
            "text": "processing, from metadata",
            "detail": None,
        }


def _in_pieces(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while piece := list(islice(rows, ROWS_AT_ONCE)):
        yield piece
