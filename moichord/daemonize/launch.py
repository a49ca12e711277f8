"""The line between the command in the terminal and the daemon that it starts.

Owns the start as the terminal sees it: the daemon is ready (it says so as it would to systemd: `READY=1` to the socket
in NOTIFY_SOCKET), or it has failed (it says why through a pipe), or it has ended (the pipe is closed). It must not know
what the daemon does. Errors: OSError; what the daemon failed with, as a MoichordError with its text and exit code.
"""

import json
import os
import select
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from moichord.errors import MoichordError

LONGEST_MESSAGE = 1 << 16
FAILED = 1


class Launch:
    """Made before the fork; afterwards the parent calls `wait` and the child the rest."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="moichord-"))
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(os.fspath(self._folder / "notify"))
        self._hearing, self._telling = os.pipe()

    # In the child

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` for the daemon: it is to say to us when it is ready, and nobody watches it."""
        watched = {"WATCHDOG_USEC", "WATCHDOG_PID"}
        kept = {name: value for name, value in environ.items() if name not in watched}
        return {**kept, "NOTIFY_SOCKET": os.fspath(self._folder / "notify")}

    def take_child_side(self) -> int:
        """Close the parent's side; the descriptor that must survive leaving the terminal."""
        # By now: closed behind its back, its number would be another file's when Python closes it once more.
        self._ready.close()
        os.close(self._hearing)
        return self._telling

    def tell_failure(self, error: MoichordError) -> None:
        """Say in the terminal why it did not start; harmless once nobody listens."""
        words = {"problem": error.problem, "remedy": error.remedy, "exit_code": error.exit_code}
        with suppress(OSError):
            os.write(self._telling, json.dumps(words).encode())

    # In the parent

    def wait(self, first_child: int) -> str | None:
        """Return once the daemon is ready, with what it says of its state; raise what it failed with."""
        os.close(self._telling)
        try:
            os.waitpid(first_child, 0)  # it ends as soon as its own child has left
            return self._outcome()
        finally:
            self.close()

    def close(self) -> None:
        """The end of the parent's side."""
        self._ready.close()
        os.close(self._hearing)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _outcome(self) -> str | None:
        status, failed = None, b""
        while True:
            spoken, _, _ = select.select([self._ready.fileno(), self._hearing], [], [])
            # What it says last comes before its end.
            if self._ready.fileno() in spoken:
                messages = dict(line.split("=", 1) for line in self._heard() if "=" in line)
                status = messages.get("STATUS", status)
                if messages.get("READY") == "1":
                    return status
                continue
            words = os.read(self._hearing, LONGEST_MESSAGE)
            if not words:
                raise _failure(failed)
            failed += words

    def _heard(self) -> list[str]:
        return self._ready.recv(LONGEST_MESSAGE).decode("utf-8", "replace").splitlines()


def _failure(words: bytes) -> MoichordError:
    if not words:
        return MoichordError(
            "The daemon ended before it was ready, and did not say why.",
            remedy="Look into its log, or start it in the foreground to see what happens: moichord run",
        )
    said = json.loads(words)
    error = MoichordError(said["problem"], remedy=said["remedy"])
    error.exit_code = said["exit_code"]
    return error
