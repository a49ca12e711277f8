"""Would the folders, the state and this machine serve us? Tried with what the daemon itself does.

Owns those trials; each leaves everything as it was. It must not know the servers. No error leaves it: what cannot be
looked at is a finding.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from moichord import durable
from moichord.checks.finding import Finding, failed, ok, warning
from moichord.checks.mounts import check_mounts
from moichord.config import Folders, Settings
from moichord.errors import FoldersUnwritable, MoichordError, StateOutdated
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.filesystem import filesystem_type, reports_no_events
from moichord.queue.database import Database
from moichord.queue.holder import daemon_holds
from moichord.sample import printable
from moichord.spool import Spool

NO_SPACE = 100 * 2**20
NAMED = 3


def check_places(settings: Settings) -> Iterator[Finding]:
    """Findings in the order in which they are best mended."""
    folders = settings.folders
    if os.name == "posix" and os.geteuid() == 0:
        yield warning(
            "user",
            "This check runs as root, who may do everything: it says nothing about what the daemon's own user may.",
            "Run it as that user too: sudo -u moichord moichord check",
        )
    yield from (_folder(key, folder) for key, folder in _places(folders).items())
    yield from check_mounts(settings)
    yield from _mount_marker(folders.inbox, settings.watch.mount_marker)
    yield _work(folders.inbox, folders.work)
    yield from _not_takable(folders.inbox)
    if _is_folder(folders.inbox):
        yield _watch(settings)
    yield _state(settings.state)
    places = {**_places(folders), "work": folders.work, "state": settings.state.parent}
    yield from _space(places, settings.watch.min_free_space)


def _places(folders: Folders) -> dict[str, Path]:
    return {"inbox": folders.inbox, "done": folders.done, "failed": folders.failed}


def _folder(key: str, folder: Path) -> Finding:
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return failed(key, f"{folder} is not a folder.", f"Make it one, or change folders.{key}.")
    except PermissionError as error:
        remedy = "Let moichord's user look into every folder above it: sudo chmod o+x (or g+x) on each."
        return failed(key, f"{folder}: {error.strerror}.", remedy)
    except OSError as error:
        remedy = f"Create it, mount the share that holds it, or change folders.{key}."
        return failed(key, f"{folder}: {error.strerror}.", remedy)
    problem = _unwritable(folder)
    if problem is not None:
        return failed(key, f"moichord may not write in {folder}: {problem}.", f"Let its user do so: {_own(folder)}")
    return ok(key, f"{folder} can be written.")


def _is_folder(path: Path) -> bool:
    """Whether it is a folder as far as this user can tell."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _mount_marker(inbox: Path, marker: str | None) -> Iterator[Finding]:
    if marker is None or not _is_folder(inbox):
        return
    with suppress(OSError):
        if any(fnmatchcase(path.name.lower(), marker.lower()) for path in inbox.iterdir()):
            return
    remedy = f"Mount the share, or make the file on it once: touch {inbox / marker}"
    yield failed("mount", f"{inbox} holds no {marker} (watch.mount_marker): the share counts as gone.", remedy)


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be made in this folder, found out by making an empty folder there; None if it can."""
    probe = folder / f"{durable.TEMPORARY_PREFIX}probe-{secrets.token_hex(8)}"
    try:
        probe.mkdir(0o700)
        probe.rmdir()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _own(folder: Path) -> str:
    return f"sudo chown moichord: {folder} (or give its group the right to write)"


def _work(inbox: Path, work: Path) -> Finding:
    """Whether a sample can be taken: renamed from the inbox into work."""
    if not _is_folder(inbox):
        return warning("take", "Whether samples can be taken is not known: there is no inbox.", "Mend the inbox first.")
    if not _is_folder(work):
        problem = _unwritable(work.parent) if _is_folder(work.parent) else "it does not exist"
        if problem is not None:
            remedy = f"Create {work} for the user that moichord runs as, with mode 0700."
            return failed("take", f"{work} is missing, and cannot be made in {work.parent}: {problem}.", remedy)
        if work.parent.stat().st_dev != inbox.stat().st_dev:
            return failed("take", f"{work} would not lie on the file system of {inbox}.", _BESIDE)
        return ok("take", f"{work} is made when the daemon starts for the first time.")
    try:
        problem = Spool(inbox, work, inbox, inbox, "").rename_problem()
    except FoldersUnwritable as error:
        return failed("take", f"{error.problem}.", error.remedy or "")
    if problem is not None:
        return failed("take", f"{problem}.", f"{_BESIDE} It must belong to the user that moichord runs as.")
    return ok("take", f"Samples can be taken: a folder was renamed from {inbox} to {work} and removed.")


_BESIDE = "Put folders.work beside the inbox, on the same file system."


def _not_takable(inbox: Path) -> Iterator[Finding]:
    """Samples in the inbox now that may not be renamed or changed, as the folders of other users are by default."""
    try:
        with os.scandir(inbox) as entries:
            folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    foreign = sorted(os.path.basename(path) for path in folders if not _may_write_throughout(path))
    if foreign:
        named = ", ".join(printable(name) for name in foreign[:NAMED])
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        yield failed(
            "inbox permissions",
            f"Folders in the inbox belong to other users and cannot be taken: {named}{more}.",
            f"Give moichord's group the right to write in them: chmod -R g+rwX {inbox}, and for new ones: "
            f"chmod g+s {inbox} && setfacl -d -m g::rwX {inbox} (Samba: force group, force directory mode = 2770)",
        )


def _may_write_throughout(folder: str) -> bool:
    """Whether this user may replace files in the folder and in every one below it."""
    return all(os.access(here, os.W_OK | os.X_OK) for here, _, _ in os.walk(folder))


def _watch(settings: Settings) -> Finding:
    """Whether changes ring early, tried with the daemon's own doorbell."""
    inbox, wanted = settings.folders.inbox, settings.watch.observer
    interval = f"the inbox is read every {settings.watch.scan_interval:g} s in any case"
    doorbell = Doorbell(inbox, _unheard, wanted)
    doorbell.start()
    kind = doorbell.kind
    doorbell.stop()
    if kind == "native":
        return ok("watch", f"The system reports changes in the inbox at once; {interval}.")
    if kind == "polling" and (wanted == "polling" or reports_no_events(filesystem_type(inbox))):
        return ok("watch", f"The inbox is watched by polling, since its file system reports no events; {interval}.")
    return warning(
        "watch",
        f"The system cannot report changes in the inbox ({_inotify_limits()}); {interval}, so samples only come later.",
        "Raise the limits: sysctl fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=512",
    )


def _unheard() -> None:
    """A change during the check is nobody's business."""


def _inotify_limits(root: Path = Path("/proc/sys/fs/inotify")) -> str:
    """What this system allows (inotify(7))."""
    found = []
    for name in ("max_user_watches", "max_user_instances"):
        try:
            found.append(f"{name} is {(root / name).read_text('ascii').strip()}")
        except OSError:
            continue
    return ", ".join(found) or "its limits are not known"


def _state(state: Path) -> Finding:
    folder = state.parent
    if not _is_folder(folder):
        remedy = f"Create {folder} for the user that moichord runs as; `moichord init` does so."
        return failed("state", f"The folder of the state, {folder}, does not exist, or may not be looked into.", remedy)
    problem = _unwritable(folder)
    if problem is not None:
        return failed("state", f"moichord may not write in {folder}: {problem}.", f"Let its user do so: {_own(folder)}")
    kind = filesystem_type(folder)
    if reports_no_events(kind):
        remedy = "Put `state` on a local disk: on a network share a database is damaged sooner or later."
        return failed("state", f"{folder} lies on a network file system ({kind}).", remedy)
    return _database(state)


def _database(state: Path) -> Finding:
    if not state.exists():
        return ok("state", f"{state} is made when the daemon starts for the first time.")
    database = Database(state)
    try:
        database.attach()
        running = daemon_holds(state)
    except StateOutdated as error:
        return warning("state", error.problem, error.remedy or "Restart the daemon.")
    except MoichordError as error:
        return failed("state", error.problem, error.remedy or "Check `state`.", error.exit_code)
    except OSError as error:
        return failed("state", f"{state}: {error.strerror}.", "Run this check as the user that moichord runs as.")
    finally:
        database.close()
    return ok("state", f"{state} is in order; {'a daemon runs with it' if running else 'no daemon runs with it'}.")


def _space(places: dict[str, Path], wanted: int) -> Iterator[Finding]:
    """Free space, once for each file system."""
    of_device: dict[int, list[str]] = {}
    at: dict[int, Path] = {}
    for key, folder in places.items():
        try:
            device = folder.stat().st_dev
        except OSError:
            continue  # said already, as a finding about that folder
        of_device.setdefault(device, []).append(key)
        at.setdefault(device, folder)
    for device, folder in at.items():
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield failed("space", f"{folder}: {error.strerror}.", "See whether that disk or share is in order.")
            continue
        yield _free(free, of_device[device], wanted)


def _free(free: int, holds: list[str], wanted: int) -> Finding:
    """`wanted` is what the daemon wants to be free before it begins or files anything."""
    text = f"{free / 2**30:.1f} GiB free for {', '.join(holds)}."
    remedy = "Free some: while a sample is filed it needs its own size again."
    if free < wanted and not {"state", "work", "done"}.isdisjoint(holds):
        remedy = f"{remedy} Below watch.min_free_space ({wanted / 2**30:.1f} GiB) samples wait."
        return failed("space", text, remedy)
    return failed("space", text, remedy) if free < NO_SPACE else ok("space", text)
