"""A process leaves its terminal (PEP 3143, by python-daemon).

Owns the traps of that. It must not know what the process does afterwards. Errors: those of python-daemon, all OSError.
"""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

UMASK = 0o027
STANDARD = (0, 1, 2)


def complete_standard_streams() -> None:
    """Give a process that was started without them (`>&-`) standard streams that lead nowhere.

    Otherwise the next file that is opened becomes one of them; it gets what is printed, and is closed by leaving.
    """
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def leave_terminal(preserve: Iterable[int]) -> None:
    """Go on as a daemon: another process, in a session of its own, in `/`, with no files but those in `preserve`.

    The caller's process ends here, without clean-up.
    """
    import daemon

    context = daemon.DaemonContext(
        # Not to be guessed: a standard input that is a socket would be taken for inetd.
        detach_process=True,
        umask=UMASK,
        working_directory="/",
        files_preserve=list(preserve),
        # The service has its own; the library's ends the process by an exception wherever it is.
        signal_map={},
    )
    context.open()


def _stream(descriptor: int, mode: str) -> TextIO:
    stream: TextIO = os.fdopen(descriptor, mode, closefd=False)  # type: ignore[assignment]  # "r" and "w" are text
    return stream
