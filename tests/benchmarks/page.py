"""How fast the page answers beside a long history, and what pages that are open cost the pipeline.

    python -m tests.benchmarks.page [--folder DIR] [--json FILE] [--rounds N] [--quick]

A site is made with 10,000 finished samples and 5,000 that wait for an image server that is down; the daemon runs there,
and each kind of page is asked for again and again by one connection: while nothing changes, and just after a change,
when all of it must be read again. Then samples are brought to nginx with no page open and with five that keep
themselves up to date as browsers do, in turn, in one run. It needs what `python -m tests.benchmarks` needs.

Owns the making, the asking and the measuring. Times are seconds; the median counts.
"""

import argparse
import contextlib
import http.client
import json
import socket
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.benchmarks import scale
from tests.benchmarks.image_server import image_server
from tests.benchmarks.samples import small_sample
from tests.benchmarks.subject import PATIENCE, Subject, subject

DAY = 86_400.0
SHOWN_DAYS = 30
OPEN_PAGES = 5
AIM_SECONDS, AIM_BYTES = 0.1, 200 * 1024
LOOKS_APART = 1.2
"""The daemon looks at the state twice a second at most: so long after a change the next page reads it anew."""

_SPREAD = """
    UPDATE submissions SET finished_at = :now - (rowid % :days) * 86400.0 - 60, taken_at = finished_at - 600
    WHERE state = 'done'
"""
_TAKEN = """
    INSERT INTO history (at, sample_id, submission, state, text, detail)
    SELECT taken_at, sample_id, uuid, 'ready', 'taken from the inbox', '{"first_seen_at": ' || (taken_at - 60) || '}'
    FROM submissions
"""
_CHANGE = "INSERT OR REPLACE INTO facts (name, value) VALUES ('benchmark', :value)"
_TRIPS = """
    SELECT (SELECT max(at) FROM history WHERE state = 'done' AND sample_id LIKE :those)
         - (SELECT min(at) FROM history WHERE state = 'ready' AND sample_id LIKE :those)
"""


@dataclass(frozen=True)
class Size:
    """How much there is, and how often it is asked for."""

    done: int = 10_000
    waiting: int = 5_000
    history: int = 100_000
    requests: int = 40
    changes: int = 8
    samples: int = 100
    rounds: int = 5


QUICK = Size(done=500, waiting=100, history=2_000, requests=5, changes=2, samples=10, rounds=1)


@dataclass(frozen=True)
class Asked:
    """One kind of page: `still` while nothing changes, and the CPU of the daemon for it; `anew` just after a change."""

    name: str
    cpu: float
    still: float
    anew: float
    size: int

    @property
    def meets_the_aim(self) -> bool:
        return max(self.still, self.anew) < AIM_SECONDS and self.size < AIM_BYTES


class Reader:
    """Asks for pages over one connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[float, bytes]:
        """Seconds, and the body; any status but 200 ends the benchmark."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept": "text/html"})
        answer = self._connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        if answer.status != 200:
            raise SystemExit(f"{path} is answered with {answer.status}: {body[:200]!r}")
        return took, body

    def close(self) -> None:
        self._connection.close()


def pages(root: Path, size: Size) -> list[Asked]:
    """Each kind of page of a site below `root`."""
    site = scale.Site(
        root, scale.Size(arriving=0, waiting=size.waiting, done=size.done, failed=30, history=size.history)
    )
    port = _free_port()
    blocks = yaml.safe_load(site.config.read_text())
    site.config.write_text(yaml.safe_dump({**blocks, "web": {"listen": f"127.0.0.1:{port}"}}))
    with closing(sqlite3.connect(site.state)) as state, state:
        state.execute(_SPREAD, {"now": time.time(), "days": SHOWN_DAYS})
        state.execute(_TAKEN)
        uuid = state.execute("SELECT uuid FROM submissions WHERE state = 'done' LIMIT 1").fetchone()[0]
    kinds = {
        "the list": "/",
        "the list, its last page": f"/?page={size.done // 25}",
        "a search": "/?q=0042",
        "a sample": f"/samples/{uuid}",
        "30 days": "/days",
        "/api/samples": "/api/samples",
        "/metrics": "/metrics",
    }
    with scale.running(site) as daemon, closing(Reader(port)) as reader:
        _wait_for_page(port)
        return [_asked(reader, daemon, site.state, name, path, size) for name, path in kinds.items()]


def _asked(reader: Reader, daemon: scale.Running, state: Path, name: str, path: str, size: Size) -> Asked:
    _, body = reader.get(path)
    cpu = daemon.cpu_seconds()
    still = [reader.get(path)[0] for _ in range(size.requests)]
    cpu = (daemon.cpu_seconds() - cpu) / size.requests
    anew = []
    for number in range(size.changes):
        time.sleep(LOOKS_APART)
        with closing(sqlite3.connect(state, timeout=PATIENCE)) as connection, connection:
            connection.execute(_CHANGE, {"value": f"{number}"})
        anew.append(reader.get(path)[0])
    return Asked(name, cpu, statistics.median(still), statistics.median(anew), len(body))


@dataclass(frozen=True)
class Trips:
    """Samples brought with so many pages open: seconds from the first taken to the last done, and the daemon's CPU."""

    open_pages: int
    seconds: float
    cpu: float
    refreshes: int


def live(root: Path, size: Size) -> list[Trips]:
    """The same samples with no page open and with some, in turn: a line for each round."""
    port, found = _free_port(), []
    root.chmod(0o755)
    with image_server(root / "server") as server, subject(root / "moichord", server, started=False) as one:
        one.daemon.configure({"web": {"enabled": True, "listen": f"127.0.0.1:{port}"}})
        one.daemon.start()
        _wait_for_page(port)
        _bring(one, root, "WARM", size.samples)
        for number in range(size.rounds):
            for count in (0, OPEN_PAGES) if number % 2 else (OPEN_PAGES, 0):
                with _open(port, count) as refreshes:
                    cpu = one.cpu()
                    seconds = _bring(one, root, f"R{number}-{count}", size.samples)
                    found.append(Trips(count, seconds, one.cpu() - cpu, refreshes()))
    return found


def _bring(one: Subject, root: Path, name: str, number: int) -> float:
    made = [small_sample(root / f"{name}-{count:04d}", images=2, kib=64) for count in range(number)]
    for sample in made:
        (sample / "READY").touch()
    for sample in made:
        sample.rename(one.daemon.inbox / sample.name)
    last = len(list(one.daemon.done.iterdir())) + number
    one.daemon.wait_for(lambda: len(list(one.daemon.done.iterdir())) >= last, "all samples to be done", PATIENCE)
    one.daemon.wait_for(lambda: not one.daemon.overview().unfinished, "all of them to have ended", PATIENCE)
    with closing(sqlite3.connect(f"file:{one.daemon.state}?mode=ro", uri=True)) as connection:
        return float(connection.execute(_TRIPS, {"those": f"{name}-%"}).fetchone()[0])


@contextmanager
def _open(port: int, number: int) -> Iterator[Callable[[], int]]:
    """So many open pages; gives how often they have asked for the page anew."""
    opened = [OpenPage(port) for _ in range(number)]
    try:
        yield lambda: sum(one.refreshes for one in opened)
    finally:
        for one in opened:
            one.close()


class OpenPage:
    """A page in a browser: it hears that something has changed, and then asks for the page, once a second at most."""

    def __init__(self, port: int) -> None:
        self.refreshes = 0
        self._port = port
        self._closed = threading.Event()
        self._news = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._news.request("GET", "/live")
        self._stream = self._news.getresponse()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        with closing(Reader(self._port)) as reader, contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while not self._closed.is_set():
                if self._stream.readline().startswith(b"event: change"):
                    took, _ = reader.get("/")
                    self.refreshes += 1
                    self._closed.wait(max(1.0, 5 * took))

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            if self._news.sock is not None:
                self._news.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._news.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def _wait_for_page(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise SystemExit("the page does not listen")


def told(asked: list[Asked], trips: list[Trips], size: Size) -> Iterator[str]:
    """The tables, as Markdown."""
    yield f"{size.done} finished samples, {size.waiting} waiting; aim: under 100 ms and 200 KiB"
    yield ""
    yield "| page | nothing has changed | the daemon's CPU for it | after a change | bytes | |"
    yield "|---|---:|---:|---:|---:|---|"
    for one in asked:
        met = "met" if one.meets_the_aim else "MISSED"
        times = f"{1000 * one.still:.1f} ms | {1000 * one.cpu:.1f} ms | {1000 * one.anew:.1f} ms"
        yield f"| {one.name} | {times} | {one.size:,} | {met} |"
    yield ""
    yield f"| {size.samples} samples of 2 images, {size.rounds} rounds | seconds | samples a second | daemon's CPU |"
    yield "|---|---:|---:|---:|"
    for count in (0, OPEN_PAGES):
        those = [one for one in trips if one.open_pages == count]
        seconds, cpu = (
            statistics.median(values) for values in zip(*((one.seconds, one.cpu) for one in those), strict=True)
        )
        yield f"| {count} pages open | {seconds:.2f} | {size.samples / seconds:.1f} | {cpu:.2f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else Size()
    if chosen.rounds:
        size = Size(**{**vars(size), "rounds": chosen.rounds})
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="moichord-page-") as name:
        root = Path(name)
        root.chmod(0o755)  # nginx's worker is another user, where this runs as root
        for part in ("pages", "live"):
            (root / part).mkdir()
        asked, trips = pages(root / "pages", size), live(root / "live", size)
    print("\n".join(told(asked, trips, size)))
    if chosen.json:
        figures = {"pages": [vars(one) for one in asked], "live": [vars(one) for one in trips]}
        chosen.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
