"""moichord on a machine with systemd: installed by systemd/install, configured as an administrator does, and used.

Owns the checkout that is installed, the packages that it needs (fetched beforehand, since the machine has no network),
the stand-in APIs inside, and what people drop. What happened is read as administrators see it: from systemctl, the
journal, the folders and the commands.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from moichord.sample import Api
from moichord.sandbox.received import Received, read_record
from tests.lifecycle.machine import Machine

REPOSITORY = Path(__file__).parents[2]
WHEELS = REPOSITORY / ".test-data" / "wheels"
PARTS = ("moichord", "systemd", "setup.cfg", "pyproject.toml", "README.md")
CHECKOUT, PACKAGES, SAMPLES = "/opt/checkout", "/opt/packages", "/opt/samples"
HIDDEN = ("/root/", "/home/", "/tmp/")  # noqa: S108
SENT_TO = {"MD_URL": "metadata", "U_URL": "upload", "A_URL": "analytics"}
QUICK = {
    "settle_time: 60s": "settle_time: 300ms",
    "scan_interval: 10s": "scan_interval: 150ms",
    "min_free_space: 5GiB": "min_free_space: 0B",
    "first_delay: 2s": "first_delay: 100ms",
    "max_delay: 15m": "max_delay: 400ms",
}


def python_of_the_machine() -> str:
    """An interpreter that a service can see, as an administrator would name it."""
    for candidate in (sys._base_executable, "/usr/local/bin/python3", "/usr/bin/python3"):  # type: ignore[attr-defined]
        if not Path(candidate).exists():
            continue
        asked = "import ensurepip, os, sys; print(sys.version_info >= (3, 11), os.path.realpath(sys.base_prefix) + '/')"
        said = subprocess.run([candidate, "-c", asked], capture_output=True, text=True, check=False).stdout.split()
        if len(said) == 2 and said[0] == "True" and not said[1].startswith(HIDDEN):
            return candidate
    raise AssertionError("no Python 3.11 with ensurepip outside of /root, /home and /tmp: install python3-venv")


def packages_for(python: str) -> Path:
    """A folder with all that moichord needs as wheels for this interpreter; fetched once for each list of them."""
    version = subprocess.run([python, "-VV"], capture_output=True, check=True).stdout
    wanted = hashlib.sha256((REPOSITORY / "setup.cfg").read_bytes() + version).hexdigest()[:16]
    folder = WHEELS / wanted
    if not folder.is_dir():
        shutil.rmtree(WHEELS, ignore_errors=True)
        fetching = WHEELS / "fetching"
        subprocess.run([python, "-m", "venv", fetching / "venv"], check=True)
        checkout = copy_of_checkout(fetching / "checkout")
        pip = [fetching / "venv" / "bin" / "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "wheel", "--wheel-dir", fetching / "wheels", checkout, "setuptools>=68"], check=True)
        (fetching / "wheels").rename(folder)
        shutil.rmtree(fetching)
    return folder


def copy_of_checkout(folder: Path) -> Path:
    """What is installed must not change while it is."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / part)
    return folder


class Installation:
    """What an administrator and a technician do on `machine`. `samples` is the folder seen there as SAMPLES."""

    def __init__(self, machine: Machine, python: str, samples: Path) -> None:
        self.machine = machine
        self.samples = samples
        self._environ = {"PYTHON": python, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": PACKAGES}

    def install(self, *options: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        return self.machine.run(f"{CHECKOUT}/systemd/install", *options, may_fail=may_fail, environ=self._environ)

    def moichord(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, as the service's user."""
        return self.machine.run("runuser", "-u", "moichord", "--", "moichord", *arguments, may_fail=True)

    # The stand-in APIs

    def serve(self, port: int, *options: str) -> dict[str, str]:
        """Stand-in APIs at this port; their addresses and keys by the names of the variables."""
        unit = f"stand-ins-{port}"
        files = ("--record", f"/var/lib/{unit}.json", "--keep-files", f"/var/lib/{unit}")
        sandbox = ("/opt/moichord/current/bin/moichord", "sandbox", "--any-sample", "--port", str(port))
        self.machine.run("systemd-run", f"--unit={unit}", "--setenv=PYTHONUNBUFFERED=1", *sandbox, *files, *options)
        said = self.machine.wait_for(lambda: self._announced(unit), "the stand-in APIs")
        return dict(line.removeprefix("export ").split("=", 1) for line in said if line.startswith("export "))

    def _announced(self, unit: str) -> list[str]:
        lines = self.machine.says("journalctl", "-o", "cat", "-u", unit).splitlines()
        return lines if any("is known" in line or line.startswith("# known") for line in lines) else []

    def received(self, port: int, api: Api) -> list[Received]:
        """What the stand-in APIs at this port were asked, by now."""
        record = self.machine.root / f"var/lib/stand-ins-{port}.json"
        return [one for one in read_record(record) if one.api is api and one.method != "OPTIONS"]

    # The configuration

    def configure(
        self, apis: Mapping[str, str], name: str = "config", changes: Mapping[str, str] | None = None
    ) -> None:
        """Edit what the installer wrote: addresses, keys, and a quicker pace."""
        path = f"/etc/moichord/{name}.yaml"
        edits = {f"${{{variable}}}": apis[variable] for variable in SENT_TO} | QUICK | dict(changes or {})
        self.edit(path, edits)
        for variable in ("MD_KEY", "U_KEY", "A_KEY"):
            self.machine.write(f"/etc/moichord/{variable.lower()}", f"{apis[variable]}\n", mode=0o600)

    def edit(self, path: str, edits: Mapping[str, str]) -> None:
        file = self.machine.root / path.lstrip("/")
        text = file.read_text()
        for before, after in edits.items():
            assert before in text, f"{path} has no {before}"
            text = text.replace(before, after)
        file.write_text(text)

    def drop_in(self, text: str, unit: str = "moichord.service") -> None:
        """A change of the unit, until the machine ends or it is replaced."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    # Samples

    def drop(self, sample_id: str, inbox: str = "/srv/moichord/inbox") -> None:
        """As a technician does who is in the group."""
        copy = f"umask 002 && cp -r --no-preserve=mode {SAMPLES}/{sample_id} {inbox}/"
        self.machine.run("runuser", "-u", "technician", "--", "bash", "-c", copy)

    def lies_in(self, folder: str, sample_id: str) -> bool:
        return (
            self.machine.run("test", "-e", f"{folder}/{sample_id}/moichord-receipt.json", may_fail=True).returncode == 0
        )

    def wait_until_done(self, sample_id: str, done: str = "/srv/moichord/done") -> None:
        try:
            self.machine.wait_for(lambda: self.lies_in(done, sample_id), f"{sample_id} to be done")
        except AssertionError:
            print(self.machine.says("journalctl", "--no-pager", "-o", "short", "-n", "40"))
            raise


def pid_of(machine: Machine, unit: str) -> int:
    return int(machine.property(unit, "MainPID"))


def is_active(machine: Machine, unit: str) -> bool:
    return machine.property(unit, "ActiveState") == "active"


def owner_of(machine: Machine, path: str) -> str:
    """As in "moichord:moichord 2775"."""
    return machine.run("stat", "--format=%U:%G %a", path).stdout.strip()
