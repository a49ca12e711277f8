"""A machine of its own with a real systemd: an overlay of this one, booted by systemd-nspawn, without a network.

Owns the boot, the commands that are run inside, and the end. It must not know moichord. Needs root and
systemd-container. What the machine writes lies in memory and is gone with it.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0
LOOK_AGAIN_AFTER = 0.05
# basic.target: servers that happen to be installed here must not start. Waiting for a network would take for ever.
BOOT = ("systemd.unit=basic.target", "systemd.mask=network-online.target")
NEW_HERE = ("opt/moichord", "etc/moichord", "var/lib/moichord")
# For data, a disk like any other: on an overlay files lie on another device than their folders.
DISK = "--tmpfs=/srv:mode=755"
HOW = ("--boot", "--private-network", "--register=no", "--keep-unit", "--console=pipe", DISK)


class Machine:
    """A booted machine. `root` is its root folder as this machine sees it; what is mounted inside is not seen there."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(
        self, *command: str, may_fail: bool = False, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command inside, carried out to its end; an error with all that it said if it fails."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", *command],
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C",
                **(environ or {}),
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        if done.returncode and not may_fail:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def says(self, *command: str) -> str:
        """What a command inside says, whether it fails or not."""
        return self.run(*command, may_fail=True).stdout.strip()

    def property(self, unit: str, name: str) -> str:
        return self.says("systemctl", "show", "--value", f"--property={name}", unit)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file on the machine's own disk."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def wait_for(self, condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
        """What `condition` says as soon as that is true; the test fails if time is up."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout:g} s in vain for {what}")
            time.sleep(LOOK_AGAIN_AFTER)
        return result


@contextmanager
def booted(folder: Path, visible: Mapping[Path, str]) -> Iterator[Machine]:
    """A machine that runs; `visible` folders of this one are there too, read-only, under the names given."""
    with ExitStack() as stack:
        root = _overlay(folder, stack)
        for below in NEW_HERE:
            subprocess.run(["rm", "-rf", root / below], check=True)
        binds = [f"--bind-ro={outside}:{inside}" for outside, inside in visible.items()]
        log = stack.enter_context((folder / "console.log").open("wb"))
        nspawn = subprocess.Popen(
            ["systemd-nspawn", f"--directory={root}", f"--machine=moichord-{os.getpid()}", *HOW, *binds, *BOOT],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        stack.callback(_end, nspawn)
        machine = Machine(root, _leader_of(nspawn, folder / "console.log"))
        machine.wait_for(lambda: machine.says("systemctl", "is-system-running") in ("running", "degraded"), "the boot")
        yield machine


def _overlay(folder: Path, stack: ExitStack) -> Path:
    """This machine's root, on which can be written without a trace."""
    memory, root = folder / "memory", folder / "root"
    memory.mkdir()
    root.mkdir()
    _mount(stack, memory, "-t", "tmpfs", "-o", "size=2g", "tmpfs")
    upper, work = memory / "upper", memory / "work"
    upper.mkdir()
    work.mkdir()
    _mount(stack, root, "-t", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", "overlay")
    return root


def _mount(stack: ExitStack, where: Path, *what: str) -> None:
    subprocess.run(["mount", *what, where], check=True)
    stack.callback(subprocess.run, ["umount", where], check=True)


def _leader_of(nspawn: subprocess.Popen[bytes], log: Path) -> int:
    """The process that is the first one inside."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while nspawn.poll() is None and time.monotonic() < deadline:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(LOOK_AGAIN_AFTER)
    raise AssertionError(f"the machine did not boot:\n{log.read_text(errors='replace')}")


def _end(nspawn: subprocess.Popen[bytes]) -> None:
    """By its own power-off: killing systemd-nspawn would leave the systemd inside alone."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        subprocess.run(
            ["nsenter", "--target", child, "--all", "systemctl", "poweroff"], check=False, capture_output=True
        )
    try:
        nspawn.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        for child in children.read_text().split():
            os.kill(int(child), 9)  # the first process of a PID namespace takes all others with it
        nspawn.wait(PATIENCE)
