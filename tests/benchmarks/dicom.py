"""Tagging, side by side: moichord's DICOM room, pydicom's dcmread + save_as, and dcmodify.

    python -m tests.benchmarks.dicom [--folder DIR] [--json FILE] [--mib 1024] [--items 100000]

Two files are made in DIR (default: a temporary folder; 4 GiB free): an image of 1 GiB, and a header of 100,000 items
of undefined length. Every competitor sets the same three tags in a process of its own, from a file that has just been
read, after its imports. Prints a table, and JSON with the same figures: seconds of wall clock and CPU, and how much
memory the work added to the process at its peak. dcmodify is a program: its start and all of its memory count. The
memory is read from /proc, so this runs on Linux only: a process inherits the peak that getrusage gives.

Owns the making of these files and the measuring. It judges nothing but that each result holds the new tags.
"""

import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders import UNDEFINED, WHOLE_SLIDE_IMAGE, element, image_bytes, item, padded, part10_bytes, sequence_end

TAGS = {"PatientName": "Rex^Smith", "PatientID": "S1-001", "InstitutionName": "Clinic"}
MIB = 1024 * 1024


def big_image(path: Path, mib: int) -> None:
    """One image with `mib` MiB of native pixels, 8 bits each."""
    small = image_bytes(rows=4096, columns=256, frames=1)
    pixels = small[-MIB:]
    frames = str(mib).encode()
    header = small[: -MIB - 12].replace(
        element(0x00280008, "IS", b"1 "), element(0x00280008, "IS", frames + b" " * (len(frames) % 2))
    )
    with path.open("wb") as out:
        out.write(header + element(0x7FE00010, "OB", b"", length=mib * MIB))
        for _ in range(mib):
            out.write(pixels)


def many_items(path: Path, count: int) -> None:
    """Per-frame functional groups with `count` items, all sequences and items of undefined length (PS3.3 C.7.6.16)."""
    position = b"".join(
        (
            element(0x0040072A, "DS", b"1.25"),
            element(0x0040073A, "DS", b"0.5 "),
            element(0x0048021E, "SL", struct.pack("<i", 1)),
            element(0x0048021F, "SL", struct.pack("<i", 1)),
        )
    )
    content = element(0x00209157, "UL", struct.pack("<2I", 1, 1))
    frame_content = element(0x00209111, "SQ", item(content, undefined=True) + sequence_end(), length=UNDEFINED)
    plane = element(0x0048021A, "SQ", item(position, undefined=True) + sequence_end(), length=UNDEFINED)
    head = b"".join(
        (
            element(0x00080016, "UI", padded(WHOLE_SLIDE_IMAGE)),
            element(0x00080018, "UI", b"2.25.3"),
            element(0x00100010, "PN", b"Before^Name "),
            element(0x00100020, "LO", b"P1"),
            element(0x00280002, "US", struct.pack("<H", 1)),
            element(0x00280008, "IS", b"1 "),
            element(0x00280010, "US", struct.pack("<H", 4)),
            element(0x00280011, "US", struct.pack("<H", 4)),
            element(0x00280100, "US", struct.pack("<H", 8)),
        )
    )
    with path.open("wb") as out:
        out.write(part10_bytes(head, sop_class_uid=WHOLE_SLIDE_IMAGE))
        out.write(element(0x52009230, "SQ", b"", length=UNDEFINED))
        out.write(item(frame_content + plane, undefined=True) * count)
        out.write(sequence_end() + element(0x7FE00010, "OB", bytes(16)))


def plan_with_moichord(source: Path, target: Path) -> None:
    """What the daemon does before it sends: the file walked to its end, the new header made."""
    _with_moichord(source, lambda image: target.write_bytes(image.header))


def send_with_moichord(source: Path, target: Path) -> None:
    """The whole body read through one buffer, its tail hashed on the way, as an upload does."""

    def send(image: Any) -> None:
        target.write_bytes(image.header)
        for _ in image.stream(bytearray(MIB)):
            pass

    _with_moichord(source, send)


def write_with_moichord(source: Path, target: Path) -> None:
    """A new file, as archiving does."""

    def write(image: Any) -> None:
        with target.open("wb") as out:
            image.write_to(out)

    _with_moichord(source, write)


def _with_moichord(source: Path, use: Callable[[Any], object]) -> None:
    from moichord.dicom import PositionedFile, Provenance, Wanted, lookup, tagged

    wanted = [Wanted(lookup(keyword), text) for keyword, text in TAGS.items()]
    with source.open("rb") as opened:
        use(tagged(PositionedFile(opened), wanted, Provenance("20240229120000+0000", "moichord"))[0])


def write_with_pydicom(source: Path, target: Path) -> None:
    from pydicom import dcmread

    dataset = dcmread(source)
    for keyword, text in TAGS.items():
        setattr(dataset, keyword, text)
    dataset.save_as(target)


COMPETITORS: dict[str, Callable[[Path, Path], None]] = {
    "moichord: header for sending": plan_with_moichord,
    "moichord: whole body, hashed": send_with_moichord,
    "moichord: new file": write_with_moichord,
    "pydicom: dcmread, save_as": write_with_pydicom,
}


def measure_here(name: str, source: Path, target: Path) -> dict[str, float]:
    """In a process of its own, imports and one small image beforehand."""
    small = target.with_suffix(".small")
    small.write_bytes(image_bytes())
    COMPETITORS[name](small, target)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    memory = peak_memory("self")
    wall, cpu = time.perf_counter(), time.process_time()
    COMPETITORS[name](source, target)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "mib": peak_memory("self") - memory}


def measure_dcmodify(source: Path, target: Path) -> dict[str, float]:
    """dcmodify rewrites in place: it gets a copy, which is not counted."""
    shutil.copy(source, target)
    options = [option for keyword, text in TAGS.items() for option in ("-i", f"{keyword}={text}")]
    before = time.perf_counter()
    process = subprocess.Popen(["dcmodify", "-nb", *options, str(target)])
    ended, memory = 0, 0.0
    while not ended:
        memory = peak_memory(process.pid) or memory
        time.sleep(0.001)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"dcmodify ended with {process.returncode}")
    wall = time.perf_counter() - before
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mib": memory}


def peak_memory(pid: int | str) -> float:
    """The most memory that a process has held, in MiB; 0 once it has ended."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def measure(name: str, source: Path, target: Path) -> dict[str, float]:
    warm(source)
    if name == "dcmodify":
        figures = measure_dcmodify(source, target)
    else:
        command = [sys.executable, "-m", "tests.benchmarks.dicom", "--one", name, str(source), str(target)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    with target.open("rb") as result:
        start = result.read(4096)
    if not all(text.encode() in start for text in TAGS.values()):
        raise SystemExit(f"{name} did not set the tags")
    target.unlink()
    return {key: round(value, 4) for key, value in figures.items()}


def warm(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(MIB):
            pass


def run(folder: Path, mib: int, items: int) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by file and competitor."""
    names = [*COMPETITORS, *(["dcmodify"] if shutil.which("dcmodify") else [])]
    big, many = folder / "big.dcm", folder / "many.dcm"
    big_image(big, mib)
    many_items(many, items)
    files = {f"{mib} MiB image": big, f"{items} items of undefined length": many}
    return {
        title: {name: measure(name, path, folder / "result.dcm") for name in names} for title, path in files.items()
    }


def table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = ["| file | competitor | wall | CPU | memory |", "|---|---|---:|---:|---:|"]
    for title, by_name in figures.items():
        lines += [
            f"| {title} | {name} | {_seconds(found['wall'])} | {_seconds(found['cpu'])} | {found['mib']:.1f} MiB |"
            for name, found in by_name.items()
        ]
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description="Tagging DICOM files, side by side.")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="where the figures go besides the terminal")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, source, target = arguments.one
        print(json.dumps(measure_here(name, Path(source), Path(target))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = run(Path(folder), arguments.mib, arguments.items)
    print(table(figures))
    text = json.dumps(figures, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
