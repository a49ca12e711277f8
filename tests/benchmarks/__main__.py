"""The benchmark: moichord and others bring the same files to the same server on this machine, in one run.

    python -m tests.benchmarks [WORK...] [--quick] [--json FILE] [--folder DIR] [--rounds N]

Prints a table of every way in every work, and the aims. It needs Linux, nginx with the Lua module, curl, dcmodify and
gcc (Debian: libnginx-mod-http-lua curl dcmtk gcc libc6-dev), and about 16 GiB free in DIR (default: a temporary
folder; --quick: 3 GiB).
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.image_server import image_server
from tests.benchmarks.report import table
from tests.benchmarks.works import QUICK, WORKS, Site, Size


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="moichord and others, side by side."
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of: {', '.join(WORKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller, in one round")
    parser.add_argument("--rounds", type=int, help="how often everything is done (the median counts)")
    parser.add_argument("--json", type=Path, help="where the figures go besides the terminal")
    parser.add_argument("--folder", type=Path, help="where the files are made")
    arguments = parser.parse_args()
    unknown = set(arguments.works) - set(WORKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    missing = [command for command in ("nginx", "curl", "dcmodify", "gcc") if shutil.which(command) is None]
    if missing:
        sys.exit(f"Missing: {', '.join(missing)}. Debian: libnginx-mod-http-lua curl dcmtk gcc libc6-dev.")
    size = QUICK if arguments.quick else Size()
    if arguments.rounds:
        size = dataclasses.replace(size, rounds=arguments.rounds)
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="moichord-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is another user, where this runs as root
        with image_server(folder / "server") as server:
            for work in arguments.works or WORKS:
                print(f"{time.strftime('%H:%M:%S')} {work}", file=sys.stderr, flush=True)
                found[work] = WORKS[work](Site(folder, server, size))
    print(table(found, size))
    if arguments.json:
        machine = {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        figures = {"machine": machine, "size": dataclasses.asdict(size), "works": found}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
