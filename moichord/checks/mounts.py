"""Are done and failed on the shares on which they have served? And the word of an administrator that they have moved.

Owns that question, and the one thing that a check writes, if asked to: where the folders lie now is where they belong.
OSError, StateUnusable, StateUnwritable and UsageRefused leave `accept_folders` only.
"""

from collections.abc import Iterator
from contextlib import suppress

from moichord.checks.finding import Finding, failed, ok
from moichord.config import Settings
from moichord.errors import MoichordError
from moichord.queue.database import Database
from moichord.queue.mounts import Mounts
from moichord.storage import ACCEPT, missing_mount, mount_point


def check_mounts(settings: Settings) -> Iterator[Finding]:
    """Done and failed, where their share has served before and is not mounted."""
    database = Database(settings.state)
    try:
        database.attach()
        known = Mounts(database).known()
    except (MoichordError, OSError):
        return  # what is wrong with the state is said below
    finally:
        database.close()
    for key, folder in (("done", settings.folders.done), ("failed", settings.folders.failed)):
        with suppress(OSError):
            if (missing := missing_mount(folder, known.get(folder))) is not None:
                remedy = f"Mount it. {ACCEPT.capitalize()}"
                yield failed("mount", f"The share of the folder {key} is not mounted ({missing}).", remedy)


def accept_folders(settings: Settings) -> list[Finding]:
    """Remember where done and failed lie now as where they belong. StateUnusable, UsageRefused, StateUnwritable."""
    folders = [settings.folders.done, settings.folders.failed, settings.folders.work]
    found = {folder: mount_point(folder) for folder in folders if folder.exists()}
    database = Database(settings.state)
    try:
        database.attach(writing=True)
        Mounts(database).remember(found)
    finally:
        database.close()
    return [ok("accepted", f"{folder} lies on the file system of {mount}.") for folder, mount in found.items()]
