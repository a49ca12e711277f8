"""What `moichord init` does: the folders, the state's folder, and a commented configuration.

Owns the making of them and their modes. It must not replace anything that is there. Errors: UsageRefused when the
configuration exists, `OSError` where something cannot be made.
"""

import os
import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moichord import durable
from moichord.config import Whereabouts, load_page
from moichord.config.example import example
from moichord.errors import UsageRefused

# Scanners and technicians write through the group; the daemon alone looks into work and state.
MODES = {"inbox": 0o2775, "done": 0o2755, "failed": 0o2775, "work": 0o700, "state": 0o750}
OPEN_TO_GROUP = ("inbox", "failed")
EVERY_ID = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Made:
    """What there is now; `created` are the folders that were not there before."""

    config: Path
    whereabouts: Whereabouts
    created: tuple[Path, ...]


def set_up(
    config: Path,
    folders: Path | None,
    state: Path | None,
    service_user: str | None = None,
    listen: str | None = None,
) -> Made:
    """Make the folders (below `folders`, or where the defaults say) and write the configuration.

    `listen` is where the page is, HOST:PORT; ConfigurationInvalid if it is none.

    With `service_user` they are that user's and its group's, the group alone may read the configuration, and the keys
    in it are credentials of the systemd unit. Needs root then.
    """
    if config.exists():
        raise UsageRefused(
            f"{config} exists: it is not overwritten.",
            remedy="Name another file with -c, or move that one away first.",
        )
    config.parent.mkdir(parents=True, exist_ok=True)
    try:
        with config.open("x", encoding="utf-8") as file:
            file.write(example(folders, state, listen, credentials=service_user is not None))
        if service_user is not None:
            shutil.chown(config, group=_group_of(service_user))
            config.chmod(0o640)
        whereabouts = load_page(config, {})
        created = tuple(_make_all(whereabouts, service_user))
    except BaseException:
        # A configuration whose folders could not be made would stop the next attempt.
        config.unlink(missing_ok=True)
        raise
    durable.fsync_folder(config.parent)
    return Made(config, whereabouts, created)


def _group_of(user: str) -> int:
    try:
        import pwd

        return pwd.getpwnam(user).pw_gid
    except (ImportError, KeyError) as error:
        raise UsageRefused(
            f"There is no user {user} here.", remedy="systemd/install makes the user moichord."
        ) from error


def _make_all(whereabouts: Whereabouts, owner: str | None) -> list[Path]:
    folders = whereabouts.folders
    places = {"inbox": folders.inbox, "work": folders.work, "done": folders.done, "failed": folders.failed}
    places["state"] = whereabouts.state.parent
    return [folder for key, folder in places.items() if _make(folder, MODES[key], owner, shared=key in OPEN_TO_GROUP)]


def _make(folder: Path, mode: int, owner: str | None, *, shared: bool) -> bool:
    """Make a folder, unless it is there; the mode is set afterwards, since the umask takes from mkdir's."""
    if folder.is_dir():
        return False
    folder.mkdir(parents=True)
    if owner is not None:
        shutil.chown(folder, owner, _group_of(owner))
    if os.name == "posix":
        folder.chmod(mode)
        if shared:
            _let_group_write_inside(folder)
    return True


def _let_group_write_inside(folder: Path) -> None:
    """Whatever is made in `folder` may be changed by its group, whatever the maker's umask: a default ACL.

    Source: acl(5), and linux/posix_acl_xattr.h for the form of `system.posix_acl_default`.
    """
    setxattr = getattr(os, "setxattr", None)
    if setxattr is None:
        return
    user, group, other = (0x01, 7), (0x04, 7), (0x20, 5)
    entries = b"".join(struct.pack("<HHI", tag, permissions, EVERY_ID) for tag, permissions in (user, group, other))
    with suppress(OSError):  # not every file system has ACLs; `check` says when a sample cannot be taken
        setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + entries)
