"""Where the demonstration happens: its folder, its configuration, the scanner and the daemon's process.

Owns what is made and started, and that it is ended again. It must not know what the samples show. Errors:
`UsageRefused` for a folder that is in use, `OSError` where something cannot be written or started.
"""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from moichord.errors import UsageRefused
from moichord.sample import printable
from moichord.sandbox.demo.cast import IMAGES, Role
from moichord.sandbox.samples import Manner, drop, make_sample

FOLDER_NAME = "moichord-demo"
STOP_SECONDS = 15.0
LAST_WORDS = 10
CONFIGURATION = """\
# What `moichord demo` ran with: a complete configuration. The times are short, so that there is something to see.
version: 1
folders:
  inbox: {inbox}
  done: {done}
  failed: {failed}
state: {state}
watch: {{settle_time: 1s, scan_interval: 250ms, min_free_space: 0B}}
metadata:
  url: {metadata}
upload:
  url: {upload}
  concurrency: 2
analytics:
  url: {analytics}
retry: {{first_delay: 500ms}}
drain_timeout: 5s
web: {{listen: {listen}}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The demonstration's folder and what is in it."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def done(self) -> Path:
        return self.root / "done"

    @property
    def failed(self) -> Path:
        return self.root / "failed"

    @property
    def scanner(self) -> Path:
        """The samples as the scanner made them."""
        return self.root / "scanner"

    @property
    def image_server(self) -> Path:
        """The images as the stand-in server stored them."""
        return self.root / "image-server"

    @property
    def state(self) -> Path:
        return self.root / "state.db"

    @property
    def config(self) -> Path:
        return self.root / "moichord.yaml"

    @property
    def log(self) -> Path:
        return self.root / "moichord.log"

    def last_of_log(self) -> list[str]:
        """The daemon's last words."""
        text = self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""
        return [printable(line) for line in text.splitlines()[-LAST_WORDS:]]


def set_up(folder: Path | None) -> Stage:
    """A new or empty folder; None: `moichord-demo` here, or a temporary one if that cannot be made."""
    stage = Stage(_chosen(folder).resolve())
    for path in (stage.inbox, stage.done, stage.failed, stage.scanner):
        path.mkdir()
    return stage


def _chosen(folder: Path | None) -> Path:
    if folder is None:
        here = Path(FOLDER_NAME)
        try:
            here.mkdir()
        except OSError:
            return Path(tempfile.mkdtemp(prefix=f"{FOLDER_NAME}-"))
        return here
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageRefused(
            f"{folder} is not empty, and the demonstration overwrites nothing.",
            remedy="Name a new or empty folder, or none.",
        )
    return folder


def write_configuration(stage: Stage, environment: Mapping[str, str], port: int) -> None:
    """A configuration for the APIs of `environment`, with the page at `port`.

    The keys of the APIs are not in it: the daemon's environment has them.
    """
    values = {
        "inbox": str(stage.inbox),
        "done": str(stage.done),
        "failed": str(stage.failed),
        "state": str(stage.state),
        "metadata": environment["MD_URL"],
        "upload": environment["U_URL"],
        "analytics": environment["A_URL"],
        "listen": f"127.0.0.1:{port}",
    }
    text = CONFIGURATION.format_map({name: _quoted(value) for name, value in values.items()})
    stage.config.write_text(text, "utf-8")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def _quoted(value: str) -> str:
    """A text as YAML, in which "${" stands for itself."""
    return json.dumps(value.replace("${", "$${"))


class Daemon:
    """`moichord run` as a process of its own; leaving the context ends it."""

    def __init__(self, stage: Stage, environment: Mapping[str, str]) -> None:
        self._stage = stage
        self._environment = environment

    def __enter__(self) -> Self:
        with self._stage.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moichord", "-c", str(self._stage.config), "run"],
                cwd=self._stage.root,
                env={**os.environ, **self._environment, **_search_path()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def runs(self) -> bool:
        return self._process.poll() is None


def _search_path() -> dict[str, str]:
    """What lets another Python find this very moichord, where it runs from its sources without being installed."""
    home = str(Path(__file__).parents[3])
    if home in sysconfig.get_paths().values():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))}


class Scanner:
    """Makes the samples and drops them slowly, one after the other, in a thread; leaving the context stops it."""

    def __init__(self, stage: Stage, roles: Iterable[Role]) -> None:
        self._stage = stage
        self._roles = tuple(roles)
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, "scanner")

    def __enter__(self) -> Self:
        self._work: Future[None] = self._thread.submit(self._scan)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()

    def raise_trouble(self) -> None:
        """Raise what broke the scanner, if anything did."""
        if self._work.done():
            self._work.result()

    def _scan(self) -> None:
        for number, role in enumerate(self._roles):
            if self._stop.is_set():
                return
            sample = self._stage.scanner / role.sample_id
            make_sample(sample, role.sample_id, role.animal, seed=number, images=IMAGES)
            drop(sample, self._stage.inbox, Manner.SLOWLY, stop=self._stop, pause=0.08, piece=32 << 10)
