"""moichord while it is measured: the real daemon as a process, and what its trips cost.

Owns the daemon's configuration for benchmarks (defaults, but for a ready marker, so that settling is not part of the
figures) and the reading of its figures from the state and from /proc. Times are seconds.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from moichord.sample import State
from tests.benchmarks.dicom import peak_memory
from tests.benchmarks.image_server import ImageServer
from tests.benchmarks.samples import copied
from tests.integration.daemon import Daemon

MARKER = "READY"
PATIENCE = 900.0
_SHIM = Path(__file__).with_name("slow_fsync.c")
_TICKS = os.sysconf("SC_CLK_TCK")

_UPLOADED = """
    SELECT max(steps.finished_at) - (SELECT min(at) FROM history WHERE submission = :uuid AND state = 'processing')
    FROM steps WHERE submission = :uuid AND step = 'upload'
"""
_DONE = """
    SELECT (SELECT max(at) FROM history WHERE submission = :uuid AND state = 'done')
         - (SELECT min(at) FROM history WHERE submission = :uuid AND state = 'processing')
"""
_COUNT_DONE = "SELECT count(*) FROM submissions WHERE state = 'done' AND intent IS NULL"
_ALL_TRIPS = """
    SELECT (SELECT max(at) FROM history WHERE state = 'done') - (SELECT min(at) FROM history WHERE state = 'ready')
"""
_CLAIMED_AT = "SELECT min(at) FROM history WHERE sample_id = :sample AND state = 'processing'"


class Subject:
    """A running daemon."""

    def __init__(self, daemon: Daemon, incoming: Path) -> None:
        self.daemon = daemon
        self._incoming = incoming
        self._incoming.mkdir()

    def bring(self, sample: Path, sample_id: str) -> dict[str, float]:
        """A copy of the sample, from the marker to done: `wall` and `cpu` until all is acknowledged, and `done`."""
        before = {"cpu": self.cpu()}
        self.drop(sample, sample_id)
        while not self._ask(_COUNT_UPLOADED, sample=sample_id):
            time.sleep(0.02)
        cpu = self.cpu() - before["cpu"]
        folder = self.daemon.wait_until_done(sample_id, timeout=PATIENCE)
        submission = self.daemon.is_in(sample_id, State.DONE)
        assert submission is not None
        shutil.rmtree(folder)
        return {
            "wall": self._ask(_UPLOADED, uuid=submission.uuid),
            "cpu": cpu,
            "done": self._ask(_DONE, uuid=submission.uuid),
        }

    def drop(self, sample: Path, sample_id: str) -> None:
        """Complete at once, by one rename."""
        made = copied(sample, self._incoming / sample_id)
        (made / MARKER).touch()
        made.rename(self.daemon.inbox / sample_id)

    def bring_all(self, samples: list[Path]) -> float:
        """Samples that lie in the inbox when the daemon starts: seconds from the first taken to the last done."""
        for number, sample in enumerate(samples):
            (sample / MARKER).touch()
            sample.rename(self.daemon.inbox / f"S{number:04d}")
        os.sync()
        self.daemon.start()
        self.daemon.wait_for(lambda: self._ask(_COUNT_DONE) == len(samples), "all samples to be done", PATIENCE)
        return self._ask(_ALL_TRIPS)

    def marker_to_claimed(self, sample: Path, sample_id: str) -> float:
        """Seconds from the appearance of the ready marker to the claim."""
        made = copied(sample, self._incoming / sample_id)
        made.rename(self.daemon.inbox / sample_id)
        self.daemon.wait_for(lambda: self.daemon.arrival(sample_id), "the sample to be seen")
        time.sleep(0.3)  # an idle daemon, as on most of a day
        before = time.time()
        (self.daemon.inbox / sample_id / MARKER).touch()
        shutil.rmtree(self.daemon.wait_until_done(sample_id))
        return self._ask(_CLAIMED_AT, sample=sample_id) - before

    def cpu(self) -> float:
        """Seconds of CPU that the process has used, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak(self) -> float:
        """The most memory that the process has held, in MiB."""
        return peak_memory(self.pid)

    @property
    def pid(self) -> int:
        return self.daemon._running.pid

    def _ask(self, question: str, **values: Any) -> float:
        with closing(sqlite3.connect(f"file:{self.daemon.state}?mode=ro", uri=True)) as connection:
            return connection.execute(question, values).fetchone()[0] or 0.0


_COUNT_UPLOADED = """
    SELECT count(*) FROM steps JOIN submissions ON uuid = submission
    WHERE sample_id = :sample AND steps.step = 'upload' AND steps.finished_at IS NOT NULL
"""


@contextmanager
def subject(
    root: Path,
    server: ImageServer,
    *,
    tls: bool = False,
    slow: bool = False,
    late: bool = False,
    slow_fsync: bool = False,
    started: bool = True,
) -> Iterator[Subject]:
    """A daemon below `root`. `slow`: 20 ms per image; `late`: analytics takes a second, so that CPU can be read."""
    base = server.tls if tls else server.plain
    block: dict[str, Any] = {"key": None, **({"tls": {"ca_file": str(server.ca_file)}} if tls else {})}
    settings: Mapping[str, Any] = {
        "watch": {"ready_marker": MARKER, "scan_interval": "10s", "min_free_space": "0B"},
        "metadata": {"url": f"{base}/metadata", **block},
        "upload": {"url": f"{base}/slow/upload" if slow else f"{base}/upload", **block},
        "analytics": {"url": f"{base}/late/analytics" if late else f"{base}/analytics", **block},
    }
    environ = {"LD_PRELOAD": str(_built(root.with_suffix(".so")))} if slow_fsync else {}
    daemon = Daemon(root, environ, settings)
    try:
        made = Subject(daemon, root / "incoming")
        if started:
            daemon.start()
        yield made
    except BaseException:
        print(daemon.log[-4000:], file=sys.stderr)
        raise
    finally:
        daemon.close()
        shutil.rmtree(root)


def _built(library: Path) -> Path:
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SHIM), "-ldl"], check=True)
    return library
