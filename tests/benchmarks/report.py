"""The figures of a benchmark as a table: beside each work its aim, and whether it is met.

Owns the aims (ratios within one run) and the words. It must not know how anything was measured. No error leaves it.
"""

from collections.abc import Iterator, Mapping

from tests.benchmarks.works import CURL, FLOOR, MOICHORD, ORIGINAL, TLS_FLOOR, Size

Figures = Mapping[str, Mapping[str, float]]
Aim = tuple[str, str, bool]
"""What is aimed at, what was found, whether that is met."""


def table(found: Mapping[str, Figures], size: Size) -> str:
    """One row for each way in each work, then the aims."""
    lines = ["| work | way | wall | CPU | moichord |", "|---|---|---:|---:|---:|"]
    for work, figures in found.items():
        title = titles(size)[work]
        for way, row in figures.items():
            lines.append(f"| {title} | {way} | {_cells(way, row, figures[MOICHORD])} |")
            title = ""
    lines += ["", "| work | aim | found | |", "|---|---|---|---|"]
    for work, figures in found.items():
        for aim, value, met in aims(work, figures, size):
            lines.append(f"| {titles(size)[work]} | {aim} | {value} | {'met' if met else 'missed'} |")
    return "\n".join(lines)


def titles(size: Size) -> dict[str, str]:
    return {
        "large": f"one image of {size.large} MiB",
        "large-tls": f"one image of {size.large} MiB, TLS",
        "many": f"{size.images} images of 512 KiB",
        "many-slow": f"{size.images} images of 512 KiB, 20 ms each",
        "samples": f"{size.samples} samples of one image of 64 KiB",
        "samples-slow": f"{size.samples} samples, every fsync slowed by 2 ms",
        "memory": "peak memory of the daemon",
        "marker": "ready marker to claimed",
    }


def _cells(way: str, row: Mapping[str, float], ours: Mapping[str, float]) -> str:
    if "rate" in row:
        return f"{row['rate']:.0f} samples/s | | "
    if "median" in row:
        return f"{row['median'] * 1000:.0f} ms | | "
    if "wall" not in row:
        return f"{', '.join(f'{value:.0f} MiB ({name})' for name, value in row.items())} | | "
    times = "" if way == MOICHORD else f"{row['wall'] / ours['wall']:.2f} x faster"
    return f"{row['wall']:.2f} s | {row['cpu']:.2f} s | {times}"


def aims(work: str, figures: Figures, size: Size) -> Iterator[Aim]:
    """The aims of one work, against what was found."""
    ours = figures[MOICHORD]
    if work in ("large", "large-tls"):
        most = 1.2 if work == "large-tls" else 1.3
        yield _at_most(f"at most {most} x curl -T", ours["wall"] / figures[CURL]["wall"], most)
        yield _at_least("over 10 x faster than the original's way", figures[ORIGINAL]["wall"] / ours["wall"], 10.0)
        floor = figures[TLS_FLOOR if work == "large-tls" else FLOOR]
        per_gib = 1024 / size.large
        cpu = f"{ours['cpu'] * per_gib:.2f} s, floor {floor['cpu'] * per_gib:.2f} s"
        yield "CPU per GiB sent: reported", cpu, True
    elif work in ("many", "many-slow"):
        least = 4.5 if work == "many-slow" else 2.5
        yield _at_least(f"at least {least} x the original's way", figures[ORIGINAL]["wall"] / ours["wall"], least)
    elif work == "samples":
        yield "at least 100 samples/s", f"{ours['rate']:.0f}", ours["rate"] >= 100
    elif work == "samples-slow":
        yield "reported", f"{ours['rate']:.0f} samples/s", True
    elif work == "memory":
        most = max(ours.values())
        yield "under 120 MB", f"{most * 1.048576:.0f} MB", most * 1.048576 < 120
        apart = most - min(ours.values())
        yield "within 10 MB of each other", f"{apart * 1.048576:.1f} MB", apart * 1.048576 <= 10
    elif work == "marker":
        yield "median under 100 ms", f"{ours['median'] * 1000:.0f} ms", ours["median"] < 0.1


def _at_most(words: str, ratio: float, most: float) -> Aim:
    return words, f"{ratio:.2f} x", ratio <= most


def _at_least(words: str, ratio: float, least: float) -> Aim:
    return words, f"{ratio:.2f} x", ratio >= least
