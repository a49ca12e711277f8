"""The same data set written in other ways, by dcmconv of dcmtk.

Owns the choice of the ways. Pixel data that are compressed stay so: dcmconv then changes the lengths only.
"""

import subprocess
from pathlib import Path
from zlib import crc32

SAME_SYNTAX = {
    "undefined lengths": ["+t=", "-e"],
    "defined lengths and group lengths": ["+t=", "+e", "+g"],
}
OTHER_SYNTAX = {
    "explicit little endian, defined lengths": ["+te", "+e"],
    "explicit little endian, undefined lengths": ["+te", "-e"],
    "explicit little endian, group lengths, padding": ["+te", "-e", "+g", "+p", "512", "16"],
    "implicit little endian, defined lengths": ["+ti", "+e"],
    "implicit little endian, undefined lengths": ["+ti", "-e"],
    "implicit little endian, group lengths, no UN": ["+ti", "-e", "+g", "-u"],
    "big endian, defined lengths": ["+tb", "+e"],
    "big endian, undefined lengths": ["+tb", "-e"],
    "big endian, group lengths": ["+tb", "+e", "+g"],
}
ALL = SAME_SYNTAX | OTHER_SYNTAX


def of_the_day(name: str) -> list[str]:
    """Two ways for a file of this name, always the same ones; all files together go all ways."""
    number = crc32(name.encode())
    return [list(SAME_SYNTAX)[number % len(SAME_SYNTAX)], list(OTHER_SYNTAX)[number % len(OTHER_SYNTAX)]]


def convert(original: Path, variant: str, target: Path) -> bool:
    """Write the file in another way; whether dcmconv could."""
    ran = subprocess.run(["dcmconv", "-q", *ALL[variant], str(original), str(target)], capture_output=True, check=False)
    return ran.returncode == 0
