"""How little an idle daemon costs among much that is there, and how fast it starts and answers.

    python -m tests.benchmarks.scale [--folder DIR] [--json FILE] [--seconds 60] [--quick]

A site is made in DIR (default: a temporary folder; 3 GiB and 400,000 inodes free) by writing rows and folders, in a
minute: samples that are still arriving in the inbox, samples that wait in work for an image server that is down,
folders in done, and a long history. The daemon runs there as systemd would run it, listened to, and is given time to
settle; then its CPU time is counted. `status` is timed as a whole command, from the start of the process to its end,
while the daemon runs. Start-up is timed from the command to the word "ready" and to the first row of history that says
a sample is processed. CPU seconds stand beside wall-clock ones, since a machine that does something else at the same
time lengthens these only. Linux only: CPU time is read from /proc.

Owns the measuring. It judges nothing: `figures` gives them with their aims.
"""

import argparse
import json
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from moichord.sample import State
from tests.benchmarks.scale_site import FULL, QUICK, Site, Size

REPOSITORY = Path(__file__).parents[2]
READY = " is ready"
PATIENCE = 300.0
ENOUGH = b"enough"
SETTLING = 20.0


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, what came out, and what is aimed at."""

    work: str
    value: float
    unit: str
    aim: str = ""


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
        self.began_at, began = time.time(), time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                _command(site, "run"), env=_environment(NOTIFY_SOCKET=str(address)), stdout=log, stderr=log
            )
        self._wait_until_ready()
        self.ready_after, self.cpu_until_ready = time.perf_counter() - began, self.cpu_seconds()

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


def figures(root: Path, *, quick: bool = False, seconds: float = 60.0) -> list[Figure]:
    """Everything measured below `root`, which exists and is empty; `seconds` of idleness are measured."""
    return [*_idle_and_status(root, QUICK if quick else FULL, seconds), *_start(root, 1_000 if quick else 10_000)]


def _idle_and_status(root: Path, size: Size, seconds: float) -> Iterator[Figure]:
    site = Site(_new(root / "idle"), size)
    with running(site) as daemon:
        yield Figure(f"idle: {_told(size)}", round(daemon.idle_share(seconds), 2), "% of one core", "under 1")
        for aim, arguments in (("under 300", ()), ("", ("--json",))):
            runs = [_seconds_of(site, "status", *arguments) for _ in range(7)]
            name = " ".join(["status", *arguments])
            yield Figure(
                f"{name}, there and then", round(1000 * statistics.median(wall for wall, _ in runs)), "ms", aim
            )
            yield Figure(f"{name}: CPU", round(1000 * statistics.median(cpu for _, cpu in runs)), "ms")


def _start(root: Path, ready: int) -> Iterator[Figure]:
    site = Site(_new(root / "queued"), Size(0, 0, ready, 0, 0, 0))
    with running(site) as daemon:
        claimed = _first_claim(site, daemon)
    yield Figure(f"start with {ready} queued samples: ready", round(daemon.ready_after, 2), "s", "under 5")
    yield Figure("start: the first sample is claimed", round(claimed, 2), "s", "under 5")
    yield Figure("start: CPU until ready", round(daemon.cpu_until_ready, 2), "s")


def _first_claim(site: Site, daemon: Running) -> float:
    """Seconds from the command on."""
    deadline = time.monotonic() + PATIENCE
    with closing(sqlite3.connect(site.state)) as connection:
        while time.monotonic() < deadline:
            asked = "SELECT min(at) FROM history WHERE state = ? AND at > ?"
            (at,) = connection.execute(asked, (str(State.PROCESSING), daemon.began_at)).fetchone()
            if at is not None:
                return float(at) - daemon.began_at
            time.sleep(0.05)
    raise SystemExit("no sample was claimed")


def _told(size: Size) -> str:
    return (
        f"{size.arriving} samples arriving, {size.waiting} waiting, {size.done} in done, {size.history} rows of history"
    )


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _seconds_of(site: Site, *arguments: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a whole command."""
    began = time.perf_counter()
    process = subprocess.Popen(_command(site, *arguments), env=_environment(), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{arguments} failed")
    process.returncode = 0
    return wall, used.ru_utime + used.ru_stime


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
        Path(name).chmod(0o755)
        found = figures(Path(name), quick=chosen.quick, seconds=chosen.seconds)
        print(table(found))
        if chosen.json:
            machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version()}
            chosen.json.write_text(json.dumps({"machine": machine, "figures": [vars(one) for one in found]}, indent=2))


def table(found: Sequence[Figure]) -> str:
    """The figures as a table in Markdown."""
    rows = [f"| {one.work} | {one.value:g} {one.unit} | {one.aim} |" for one in found]
    return "\n".join(["| work | figure | aim |", "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
