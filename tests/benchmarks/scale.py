"""How little an idle daemon costs among much that is there, and how fast it starts and answers.

    python -m tests.benchmarks.scale [--folder DIR] [--json FILE] [--seconds 60] [--quick]

A site is made in DIR (default: a temporary folder; 3 GiB and 400,000 inodes free): samples that are still arriving in
the inbox, samples that wait in work for an image server that is down, folders in done, and a long history. The daemon
runs there as systemd would run it, listened to, and is given time to settle; then its CPU time is counted. `status` is
timed as a whole command; start-up from the command to the word "ready". Linux only: CPU time is read from /proc.

Owns the making of the site and the measuring. It judges nothing: `rows` gives figures with their aims.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from moichord.queue import migrations
from moichord.queue.database import Database
from moichord.queue.schema import attempts, circuits, history, images, steps, submissions
from moichord.sample import STEPS, Api, State, Step
from tests.builders import image_bytes

REPOSITORY = Path(__file__).parents[2]
READY = " is ready"
PATIENCE = 300.0
ENOUGH = b"enough"
SETTLING = 20.0
ROWS_AT_ONCE = 20_000
DAY = 86_400.0


@dataclass(frozen=True)
class Size:
    """How much lies where. `history` are rows, the rest samples; each sample that arrives has 8 files."""

    arriving: int = 200
    waiting: int = 5_000
    done: int = 100_000
    failed: int = 100
    history: int = 1_000_000


FULL = Size()
QUICK = Size(arriving=20, waiting=500, done=2_000, failed=10, history=20_000)


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, what came out, and what is aimed at."""

    work: str
    value: float
    unit: str
    aim: str


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
        with database._engine.connect() as connection:
            with connection.begin():
                for rows in _in_pieces(_submissions(self.size, now)):
                    connection.execute(submissions.insert(), [row for row, _ in rows])
                    connection.execute(attempts.insert(), [_attempt(row) for row, _ in rows])
                    connection.execute(images.insert(), [_image(row) for row, _ in rows])
                    connection.execute(steps.insert(), [one for row, _ in rows for one in _steps(row)])
                    for row, folder in rows:
                        self._make_folder(row, folder)
            with connection.begin():
                for events in _in_pieces(_events(self.size, now)):
                    connection.execute(history.insert(), list(events))
                held = {"open_since": now, "reason": "It refused the connection.", "next_probe_at": now + DAY / 2}
                connection.execute(circuits.update().where(circuits.c.api == str(Api.UPLOAD)).values(**held))
                migrations.set_fact(connection, "notices", [])
        database._engine.dispose()

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


def _submission(name: str, state: State, at: float, **known: Any) -> dict[str, Any]:
    ended = state is not State.WAITING
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


class Running:
    """The daemon of a site, as systemd runs it: somebody listens to how it stands."""

    def __init__(self, site: Site) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = site.root / "notify"
        address.unlink(missing_ok=True)
        self._listener.bind(str(address))
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        self._log = site.root / "daemon.log"
        self._log.write_bytes(b"")
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                _command(site, "run"), env=_environment(NOTIFY_SOCKET=str(address)), stdout=log, stderr=log
            )
        self._wait_until_ready()
        self.started_in = time.perf_counter() - began

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while READY not in self._log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the daemon did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """User and system time of the process so far (proc(5))."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle_share(self, seconds: float) -> float:
        """Percent of one core that it takes while nothing happens."""
        time.sleep(SETTLING)
        cpu, wall = self.cpu_seconds(), time.perf_counter()
        time.sleep(seconds)
        return 100 * (self.cpu_seconds() - cpu) / (time.perf_counter() - wall)

    def _hear(self) -> None:
        """Take what it says, as systemd would: a full socket would make it wait."""
        while self._listener.recv(65536) != ENOUGH:
            pass

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(ENOUGH, self._listener.getsockname())
        self._hearing.join()
        self._listener.close()


@contextmanager
def running(site: Site) -> Iterator[Running]:
    daemon = Running(site)
    try:
        yield daemon
    finally:
        daemon.stop()


def rows(root: Path, *, quick: bool = False, seconds: float = 60.0) -> list[Figure]:
    """Everything measured below `root`, which exists and is empty; `seconds` of idleness are measured."""
    size = QUICK if quick else FULL
    site = Site(_new(root / "idle"), size)
    with running(site) as daemon:
        idle = daemon.idle_share(seconds)
        status = [_seconds_of(site, "status") for _ in range(7)]
    queued = Site(_new(root / "queued"), Size(0, 2 * size.waiting, 0, 0, 0))
    with running(queued) as daemon:
        start = daemon.started_in
    return [
        Figure(f"idle: {_told(size)}", round(idle, 2), "% of one core", "under 1"),
        Figure("the status command, there and then", round(1000 * statistics.median(status)), "ms", "under 300"),
        Figure(f"start with {2 * size.waiting} queued samples", round(start, 2), "s", "under 5"),
    ]


def _told(size: Size) -> str:
    return (
        f"{size.arriving} samples arriving, {size.waiting} waiting, {size.done} in done, {size.history} rows of history"
    )


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _seconds_of(site: Site, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(_command(site, *arguments), env=_environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _command(site: Site, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "moichord", "-c", str(site.config), *arguments]


def _environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        figures = rows(Path(name), quick=chosen.quick, seconds=chosen.seconds)
    for one in figures:
        print(f"{one.work}: {one.value} {one.unit} (aim: {one.aim})")
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(one) for one in figures], indent=2))


if __name__ == "__main__":
    main()
