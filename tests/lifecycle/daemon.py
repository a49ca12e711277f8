"""A daemon under test: started, watched, traced, stopped. Owns processes; it must not know what a sample is.

`TimeoutError` leaves it where a daemon does not do what it should within `PATIENCE` seconds.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from moichord.sample import Api
from moichord.sandbox import catalogue

PATIENCE = 30.0
KEYS = {
    "MD_KEY": catalogue.KEYS[Api.METADATA],
    "U_KEY": catalogue.KEYS[Api.UPLOAD],
    "A_KEY": catalogue.KEYS[Api.ANALYTICS],
}
LOOK_SECONDS = 0.005
READY = " is ready"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trap:
    """Send `signal` to the daemon just before the `number`th `call` of one thread."""

    call: str
    number: int
    signal: str = "KILL"

    def options(self) -> list[str]:
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:signal={self.signal}:when={self.number}"]


def until(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """What `look` gives once that is true; TimeoutError, with `what`, after `patience` seconds."""
    pause = threading.Event()
    for _ in range(int(patience / LOOK_SECONDS)):
        found = look()
        if found:
            return found
        pause.wait(LOOK_SECONDS)
    raise TimeoutError(f"not within {patience:g} s: {what}")


class Launcher:
    """A context manager around the launcher process; one daemon at a time.

    With `one_worker_thread` no thread of its daemons stands by for when large samples are being sent.
    """

    _daemon: "Daemon | None" = None

    def __init__(self, *, one_worker_thread: bool = False) -> None:
        self._options = ["--one-worker-thread"] if one_worker_thread else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lifecycle.launcher", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | KEYS,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def start(self, config: Path, log: Path, gate: Path, passed: Path | None = None) -> "Daemon":
        """A daemon that waits at its gate; its clocks are ahead by the seconds in the file `passed`."""
        with contextlib.suppress(FileNotFoundError):
            gate.unlink()
        os.mkfifo(gate)
        order = {"config": str(config), "log": str(log), "gate": str(gate), "passed": passed and str(passed)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        log.touch()
        self._daemon = Daemon(self._heard()["pid"], log, gate, lambda: self._heard()["status"])
        return self._daemon

    def clear(self) -> None:
        """End what still runs."""
        if self._daemon is not None and not self._daemon.ended:
            self._daemon.kill()
            self._daemon.wait()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the launcher has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Daemon:
    """One daemon process from its gate to its end."""

    def __init__(self, pid: int, log: Path, gate: Path, reaped: Callable[[], int]) -> None:
        self.pid = pid
        self._log = log
        self._gate = gate
        self._skip = log.stat().st_size
        self._status: int | None = None
        self._ended = threading.Event()
        self._tracers: list[subprocess.Popen[str]] = []
        threading.Thread(target=self._reap, args=(reaped,), daemon=True).start()

    def _reap(self, reaped: Callable[[], int]) -> None:
        self._status = reaped()
        self._ended.set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def begin(self) -> None:
        """Open the gate."""
        self._gate.write_bytes(b"")

    def wait_ready(self) -> bool:
        """Return once it says that it is ready; False if it has ended instead."""
        until(lambda: self.ended or READY in self.said(), f"ready: {self.said()}")
        return not self.ended

    def said(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._skip)
            return file.read().decode()

    def threads(self, name: str) -> list[int]:
        """The kernel's numbers of the threads NAME and NAME-*, which are there; `main` is the main thread."""
        return [self.pid] if name == "main" else until(lambda: self._named(name), f"a thread {name}")

    def _named(self, name: str) -> list[int]:
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                comm = (task / "comm").read_text().strip()
                if comm == name or comm.startswith(f"{name}-"):
                    found.append(int(task.name))
        return found

    def trap(self, trap: Trap, threads: Sequence[int] | None = None) -> None:
        """Set a trap in each of some threads, or in all, those to come as well."""
        whom = ["-f", "-p", str(self.pid)] if threads is None else [o for one in threads for o in ("-p", str(one))]
        self._trace([*whom, *trap.options()])

    def note(self, calls: Iterable[str], file: Path) -> None:
        """Write all `calls` of all threads down from now on, and what they say; `noted` reads it."""
        names = ",".join(f"?{call}" for call in ("write", *calls))
        self._trace(["-f", "-p", str(self.pid), "-o", str(file), "-s", "200", "-e", f"trace={names}"])

    def _trace(self, options: list[str]) -> None:
        strace = shutil.which("strace")
        assert strace is not None, "the crash points need strace"
        tracer = subprocess.Popen([strace, *options], stderr=subprocess.PIPE, text=True)
        self._tracers.append(tracer)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            raise RuntimeError(f"strace did not attach: {line}{tracer.stderr.read()}")
        threading.Thread(target=tracer.stderr.read, daemon=True).start()

    def stop(self) -> None:
        """SIGSTOP: as if no time passed for it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def freeze(self) -> None:
        """Return once every thread has stopped; a traced one may still finish the call that it is in."""
        self.stop()
        until(self.stands_still, f"all threads stopped: {self.states()}")

    def stands_still(self) -> bool:
        """Whether no thread does anything, be it stopped or held by a tracer for a moment."""
        return self.states() <= {"T", "t"}

    def states(self) -> set[str]:
        """The states of its threads (proc(5)): T is stopped, t is held by a tracer, stopped or not."""
        found = set()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.add((task / "stat").read_text().rpartition(")")[2].split()[0])
        return found

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status once it and its tracers have ended."""
        if not self._ended.wait(patience):
            self.kill()
            self._ended.wait(PATIENCE)
            raise TimeoutError(f"the daemon did not end within {patience:g} s: {self.said()}")
        for tracer in self._tracers:
            tracer.wait(PATIENCE)
        assert self._status is not None
        return self._status


def noted(file: Path, words: str | None = None) -> Iterator[tuple[int, str]]:
    """What `Daemon.note` wrote down, in its order: thread and call; until one says `words`, if they are given."""
    for line in file.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if found is not None and found[2] != "write":
            yield int(found[1]), found[2]
        elif words is not None and words in line:
            return
