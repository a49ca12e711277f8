"""The process that decodes images, and that may break or be ended without any harm.

Owns that process: it is started when it is first needed, ended when it takes too long, and ends by itself when nobody
asks. What it is asked and answers is described in `moichord.dicom.thumbnail`. It must not know which images there are.
No error leaves it but NotNow.
"""

import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import moichord
from moichord.clock import Clock

log = logging.getLogger(__name__)

LONGEST_SECONDS = 10.0
LARGEST_PICTURE = 4 * 2**20
UNREADABLE = 0xFFFFFFFF
WANTED_OF_THE_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT", "TMPDIR")


class NotNow(Exception):  # nothing is wrong for good
    """There is no answer that will hold: the file cannot be read now, or the process could not be started."""


class Decoder:
    """Asked by one thread at a time; others wait."""

    def __init__(self, clock: Clock, longest: float = LONGEST_SECONDS) -> None:
        self._clock = clock
        self._longest = longest
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def picture(self, file: Path, *, identifying: bool) -> bytes | None:
        """A small JPEG of the image, or None if there is none; with `identifying` of labels too. Raises NotNow."""
        asked = f"{int(identifying)} {os.fsencode(file).hex()}\n".encode()
        with self._lock:
            try:
                process = self._running()
                assert process.stdin is not None  # noqa: S101  # it is a pipe
                process.stdin.write(asked)
                process.stdin.flush()
                answer = self._answer(process)
            except OSError as error:
                self._end()
                raise NotNow from error
            except TimeoutError as error:
                raise NotNow from error
        return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes | None:
        deadline = self._clock.monotonic() + self._longest
        head = self._read(process, 4, deadline)
        length = int.from_bytes(head or b"", "big")
        if head is not None and length == UNREADABLE:
            raise NotNow
        body = self._read(process, length, deadline) if head and length <= LARGEST_PICTURE else None
        if body is None:
            log.info("an image could not be shown: decoding it broke off, or took too long")
            self._end()
        return body or None

    def _read(self, process: subprocess.Popen[bytes], length: int, deadline: float) -> bytes | None:
        """That many bytes; None if they do not come in time, or at all."""
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        read = b""
        while len(read) < length:
            left = deadline - self._clock.monotonic()
            ready = left > 0 and select.select([process.stdout], [], [], left)[0]
            piece = os.read(process.stdout.fileno(), length - len(read)) if ready else b""
            if not piece:
                return None
            read += piece
        return read

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "moichord.dicom.thumbnail"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(),
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _environment() -> dict[str, str]:
    """What the process needs, and no key of any server."""
    kept = {name: os.environ[name] for name in WANTED_OF_THE_ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(moichord.__file__).parents[1])}
