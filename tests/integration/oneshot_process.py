"""`moichord` in a process of its own, on a machine with less than ours, or one that dies.

    python -m tests.integration.oneshot_process [--like-windows] [--die-before-replacing N] ARGUMENTS OF MOICHORD...

It is a program, not a test. `--like-windows` takes away what only POSIX has, before anything of moichord is
imported, and refuses to replace a file that is open, as Windows does. At the end nothing of the queue may be loaded.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

POSIX_ONLY = ("fcntl", "pwd", "grp", "resource", "termios")
POSIX_CALLS = ("pread", "preadv", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "sendfile", "copy_file_range")
DIED = 99

replace = os.replace


class Missing:
    """An import hook: these modules are not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".", maxsplit=1)[0] in POSIX_ONLY:
            raise ImportError(f"No module named {name!r}", name=name)


def become_like_windows() -> None:
    for name in POSIX_ONLY:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]
    for name in POSIX_CALLS:
        delattr(os, name)
    del signal.SIGHUP
    os.supports_dir_fd.clear()
    os.replace = replace_closed_file  # type: ignore[assignment]


def replace_closed_file(source: str, target: str) -> None:
    for name in (source, target):
        if os.path.realpath(name) in open_files():
            raise PermissionError(13, "The process cannot access the file because it is being used", name)
    replace(source, target)


def open_files() -> set[str]:
    """The names of the files that this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    return {os.readlink(link) for link in links if link.is_symlink()}


def die_before_replacing(number: int) -> None:
    left = number

    def replace_or_die(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)
        replace(source, target)

    os.replace = replace_or_die  # type: ignore[assignment]


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--like-windows", action="store_true")
    parser.add_argument("--die-before-replacing", type=int, default=0)
    given, arguments = parser.parse_known_args()
    if given.like_windows:
        become_like_windows()
    if given.die_before_replacing:
        die_before_replacing(given.die_before_replacing)

    from moichord.cli import main as moichord

    code = moichord(arguments)
    loaded = {"moichord.queue", "sqlalchemy", *(POSIX_ONLY if given.like_windows else ())} & set(sys.modules)
    if loaded:
        sys.exit(f"loaded though it must not be needed: {', '.join(sorted(loaded))}")
    return code


if __name__ == "__main__":
    sys.exit(main())
