"""The works of the benchmark: each brings the same files by every way in turn, several rounds, and gives figures.

Owns what is brought, by whom and how often. It judges nothing (`report` compares with the aims). Of several rounds the
median counts; competitors take turns within a round, so that a busy moment of the machine hits all of them.
"""

import shutil
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import competitors
from tests.benchmarks.competitors import Competitor, Task
from tests.benchmarks.image_server import ImageServer
from tests.benchmarks.samples import copied, huge_sample, large_sample, small_sample
from tests.benchmarks.subject import Subject, subject

MOICHORD = "moichord"
ORIGINAL = "the original's way: dcmread, save_as, requests.post"
DCMTK = "dcmodify, then curl -T"
PARALLEL = "dcmodify, then curl --parallel"
CURL = "curl -T alone"
FLOOR = "floor: bare sendfile loop"
TLS_FLOOR = "floor: bare read and send loop"

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is brought, and how often."""

    large: int = 1024
    huge: int = 6 * 1024
    images: int = 200
    samples: int = 1000
    markers: int = 40
    rounds: int = 3


QUICK = Size(large=128, huge=768, images=40, samples=100, markers=8, rounds=1)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a benchmark works: a folder of its own, the server, and the sizes."""

    folder: Path
    server: ImageServer
    size: Size


def one_large_image(site: Site, *, tls: bool) -> Figures:
    """One large image, claimed to last acknowledgement; `done` is the rest of its way."""
    sample = large_sample(site.folder / "large", site.size.large)
    url = f"{site.server.tls if tls else site.server.plain}/upload"
    ways = {
        ORIGINAL: competitors.original,
        DCMTK: competitors.dcmodify_and_curl,
        CURL: competitors.curl,
        TLS_FLOOR if tls else FLOOR: competitors.floor,
    }
    with subject(site.folder / "house", site.server, tls=tls, late=True) as daemon:
        return _side_by_side(site, sample, url, ways, daemon)


def many_images(site: Site, *, slow: bool) -> Figures:
    """One sample of many small images; `slow`: the server takes 20 ms for each."""
    sample = small_sample(site.folder / "many", site.size.images, 512)
    url = f"{site.server.plain}/slow/upload" if slow else f"{site.server.plain}/upload"
    ways = {
        ORIGINAL: competitors.original,
        DCMTK: competitors.dcmodify_and_curl,
        PARALLEL: competitors.dcmodify_and_parallel_curl,
        CURL: competitors.curl,
        FLOOR: competitors.floor,
    }
    with subject(site.folder / "house", site.server, slow=slow) as daemon:
        return _side_by_side(site, sample, url, ways, daemon)


def many_samples(site: Site, *, slow_fsync: bool) -> Figures:
    """Samples of one small image each, through all states: how many a second."""
    rates = []
    for number in range(site.size.rounds):
        made = site.folder / f"samples-{number}"
        made.mkdir()
        samples = [small_sample(made / f"{one:04d}", 1, 64) for one in range(site.size.samples)]
        with subject(site.folder / "house", site.server, slow_fsync=slow_fsync, started=False) as daemon:
            rates.append(len(samples) / daemon.bring_all(samples))
        shutil.rmtree(made)
    return {MOICHORD: {"rate": statistics.median(rates), "lowest": min(rates)}}


def peak_memory(site: Site) -> Figures:
    """The most memory that a daemon ever held for one sample: a large and a huge one, archived."""
    found = {}
    for name, make, mib in (("large", large_sample, site.size.large), ("huge", huge_sample, site.size.huge)):
        sample = make(site.folder / name, mib)
        with subject(site.folder / "house", site.server) as daemon:
            daemon.bring(sample, "A1")
            found[f"{mib} MiB"] = daemon.peak()
        shutil.rmtree(sample)
    return {MOICHORD: found}


def marker_to_claimed(site: Site) -> Figures:
    """From the appearance of the ready marker to the claim."""
    sample = small_sample(site.folder / "marked", 1, 64)
    with subject(site.folder / "house", site.server) as daemon:
        found = [daemon.marker_to_claimed(sample, f"M{number:03d}") for number in range(site.size.markers)]
    shutil.rmtree(sample)
    return {MOICHORD: {"median": statistics.median(found), "longest": max(found)}}


WORKS: Mapping[str, Callable[[Site], Figures]] = {
    "large": lambda site: one_large_image(site, tls=False),
    "large-tls": lambda site: one_large_image(site, tls=True),
    "many": lambda site: many_images(site, slow=False),
    "many-slow": lambda site: many_images(site, slow=True),
    "samples": lambda site: many_samples(site, slow_fsync=False),
    "samples-slow": lambda site: many_samples(site, slow_fsync=True),
    "memory": peak_memory,
    "marker": marker_to_claimed,
}


def _side_by_side(site: Site, sample: Path, url: str, ways: Mapping[str, Competitor], daemon: Subject) -> Figures:
    """Everyone brings a copy of its own, round by round; the server must have counted every byte."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, sample)
        expected = sum(file.stat().st_size for file in sample.iterdir())
        found: dict[str, list[dict[str, float]]] = {name: [] for name in (MOICHORD, *ways)}
        for number in range(site.size.rounds):
            for name, way in ways.items():
                copy = copied(sample, site.folder / "copy")
                counted = site.server.counted()
                found[name].append(way(Task(url, site.server.ca_file, sorted(copy.iterdir()))))
                _require_counted(name, site.server.counted() - counted, expected)
                shutil.rmtree(copy)
            counted = site.server.counted()
            found[MOICHORD].append(daemon.bring(sample, f"A{number}"))
            _require_counted(MOICHORD, site.server.counted() - counted, expected)
        return {name: _medians(rounds) for name, rounds in found.items()}


def _require_counted(name: str, counted: int, expected: int) -> None:
    """At least the untouched pixels; headers may shrink or grow by little."""
    if not 0.99 * expected < counted < 1.01 * expected:
        raise SystemExit(f"{name}: the server counted {counted} bytes of {expected}")


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
