"""The daemon as a separate process with folders, state and configuration of its own, and what people do to it.

Owns the process: it is started, asked, stopped and killed by its own process ID. What it did is read as users see it:
from the folders, the receipts and the state's read models.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from moichord.clock import SystemClock
from moichord.queue.database import Database
from moichord.queue.glance import Overview
from moichord.queue.requests import Requests
from moichord.queue.views import Detail, Views
from moichord.sample import FAILED_NAME, FINISHED, RECEIPT_NAME, Arrival, State, Submission

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
LOOK_AGAIN_AFTER = 0.02
PATIENCE = 60.0
SETTLE_SECONDS = 0.3

QUICK: Mapping[str, Any] = {
    "version": 1,
    "watch": {"settle_time": "300ms", "scan_interval": "150ms", "min_free_space": "0B"},
    "metadata": {"url": "${MD_URL}"},
    "upload": {"url": "${U_URL}"},
    "analytics": {"url": "${A_URL}"},
    "retry": {"first_delay": "100ms", "max_delay": "400ms"},
    "drain_timeout": "5s",
    "web": {"enabled": False},
}


class Daemon:
    """One moichord daemon below `root`. `settings` are laid over the quick ones, block by block."""

    def __init__(self, root: Path, environ: Mapping[str, str], settings: Mapping[str, Any] | None = None) -> None:
        self.root = root
        self.environ = dict(environ)
        root.mkdir()
        self.keep_state_in(root)
        self.config = root / "moichord.yaml"
        self.log_file = root / "daemon.log"
        self.log_file.touch()
        folders = {name: str(root / name) for name in ("inbox", "done", "failed")}
        self.settings = _laid_over(QUICK, {"folders": folders, "state": str(self.state)})
        self.configure(settings or {})
        for folder in (self.inbox, self.done, self.failed):
            folder.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def keep_state_in(self, folder: Path) -> None:
        """Where the state lies, before it is there; the configuration says the same."""
        self.state = folder / "state.db"
        database = Database(self.state)
        self._views = Views(database)
        self._requests = Requests(database, SystemClock())

    @property
    def inbox(self) -> Path:
        return Path(self.settings["folders"]["inbox"])

    @property
    def work(self) -> Path:
        return self.inbox.parent / "work"

    @property
    def done(self) -> Path:
        return Path(self.settings["folders"]["done"])

    @property
    def failed(self) -> Path:
        return Path(self.settings["folders"]["failed"])

    # Its life

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Write the configuration anew with these changes; it is read at the next start."""
        self.settings = _laid_over(self.settings, changes)
        self.config.write_text(yaml.safe_dump(self.settings))

    def start(self, says: str = " is ready") -> "Daemon":
        """Start it, and return when it says that it is ready (or something else)."""
        begins = self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("run"), cwd=self.root, env=self._environment(), stdout=log, stderr=log
            )
        self.wait_for(
            lambda: says in self.log_file.read_bytes()[begins:].decode(errors="replace"), f"the word {says!r}"
        )
        return self

    def stop(self) -> int:
        """SIGTERM; its exit status, once it has ended."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, without waiting for the end."""
        self._running.send_signal(signal.SIGTERM)

    def hang_up(self) -> None:
        """SIGHUP."""
        self._running.send_signal(signal.SIGHUP)

    def wait_until_ended(self) -> int:
        """Its exit status."""
        status = self._running.wait(PATIENCE)
        self._process = None
        return status

    def close(self) -> None:
        """End it, however far it is."""
        if self._process is not None:
            self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self._running.send_signal(number)
        return self.wait_until_ended()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the daemon does not run"
        return self._process

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of moichord with this configuration, carried out to its end."""
        return subprocess.run(
            self._command(*arguments),
            cwd=self.root,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "moichord", "-c", str(self.config), *arguments]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        return {**os.environ, **self.environ, "PYTHONPATH": path}

    # What it did

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
        """What `condition` says as soon as that is true; the test fails if the daemon ends or time is up."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the daemon ended ({self._process.returncode}), waiting for {what}")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout:g} s in vain for {what}")
            time.sleep(LOOK_AGAIN_AFTER)
        return result

    def overview(self) -> Overview:
        return self._views.overview()

    def arrival(self, folder_name: str) -> Arrival | None:
        """The folder as the daemon sees it in the inbox."""
        return next((a for a in self.overview().receiving if a.folder_name == folder_name), None)

    def submissions(self, sample_id: str) -> list[Submission]:
        return self._views.submissions_of(sample_id)

    def newest(self, sample_id: str) -> Submission | None:
        return self._views.newest(sample_id)

    def detail(self, submission: Submission) -> Detail:
        return self._views.detail(submission.uuid)

    def is_in(self, sample_id: str, state: State, attempt: int = 1) -> Submission | None:
        submission = self.newest(sample_id)
        right = submission and submission.attempt_number == attempt and submission.state is state
        return submission if right else None

    def wait_until(self, sample_id: str, state: State, attempt: int = 1, timeout: float = PATIENCE) -> Submission:
        """The submission, once it is in this state; at once an error if it has ended otherwise."""

        def there() -> Submission | None:
            asked = {request.submission.uuid for request in self._requests.open()}
            submission = self.newest(sample_id)
            if submission is None or submission.attempt_number != attempt:
                return None
            if submission.uuid in asked and submission.state is not state:
                return None  # somebody has asked for something that the daemon has still to carry out
            if submission.state in FINISHED and submission.state is not state and submission.intent is None:
                raise AssertionError(f"{sample_id} is {submission.state}: {submission.reason}")
            return submission if submission.state is state else None

        return self.wait_for(there, f"{sample_id} to be {state}", timeout)

    def folder_of(self, submission: Submission) -> Path:
        """Where a finished submission lies."""
        assert submission.place is not None
        return (self.done if submission.state is State.DONE else self.failed) / submission.place

    def wait_until_done(self, sample_id: str, attempt: int = 1, timeout: float = PATIENCE) -> Path:
        return self.folder_of(self.wait_until(sample_id, State.DONE, attempt, timeout))

    def wait_until_failed(self, sample_id: str, attempt: int = 1, timeout: float = PATIENCE) -> Path:
        return self.folder_of(self.wait_until(sample_id, State.FAILED, attempt, timeout))

    def places_of(self, sample_id: str) -> list[str]:
        """Every place below the root where a folder of this sample lies now, work included."""
        found = [*self.root.glob(f"*/{sample_id}*"), *self.work.glob(f"*/{sample_id}*")]
        return sorted(str(path.relative_to(self.root)) for path in found if path.is_dir())


def receipt_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RECEIPT_NAME).read_text("ascii"))


def failure_of(folder: Path) -> str:
    return (folder / FAILED_NAME).read_text()


@contextmanager
def daemons(root: Path, environ: Mapping[str, str]) -> Any:
    """A function that makes daemons, one for each name; they end, and tell their logs, with the context."""
    with ExitStack() as stack:

        def make(settings: Mapping[str, Any] | None = None, *, name: str = "house", **more: str) -> Daemon:
            daemon = Daemon(root / name, {**environ, **more}, settings)
            # Shown by pytest for a test that fails.
            stack.callback(lambda: print(f"--- log of {name}\n{daemon.log}"))
            stack.callback(daemon.close)
            return daemon

        yield make


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged
