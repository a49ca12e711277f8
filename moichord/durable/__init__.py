"""What lets a change of files survive a power cut: the only package that knows file-system durability.

    files    one file: opened safely, synced, renamed without replacing, replaced as a whole
    trees    whole folders: copied and verified, synced, removed
    lock     one holder at a time

Owns what moichord knows of fsync(2), renameat2(2), flock(2) and of file systems that lack them. It must not know
samples, moichord's folders or the state. It imports on Windows; there folders are not synced, `os.rename` itself
refuses an existing name, and `Lock` cannot be used. `NotRegular` and `OSError` leave it.
"""

from moichord.durable.files import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    NotRegular,
    Replacement,
    fsync_file,
    fsync_folder,
    kind_of,
    open_flags,
    open_regular,
    put_in_place,
    rename_noreplace,
    replace_bytes,
    replace_file,
    replace_text,
)
from moichord.durable.lock import Lock
from moichord.durable.trees import copy_tree_verified, holds_all, remove_leftovers, remove_tree, sync_tree

__all__ = [
    "TEMPORARY_PREFIX",
    "TEMPORARY_SUFFIX",
    "Lock",
    "NotRegular",
    "Replacement",
    "copy_tree_verified",
    "fsync_file",
    "fsync_folder",
    "holds_all",
    "kind_of",
    "open_flags",
    "open_regular",
    "put_in_place",
    "remove_leftovers",
    "remove_tree",
    "rename_noreplace",
    "replace_bytes",
    "replace_file",
    "replace_text",
    "sync_tree",
]
