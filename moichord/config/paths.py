"""How paths are written in the configuration, and what they become.

Owns that. It must not know which keys hold paths. Errors are ValueErrors, which pydantic collects.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BeforeValidator

from moichord.config.wording import shown


def full_path(value: object) -> Path:
    """A path from the root, without `.` and `..` in it."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a path, not {shown(value)}")
    if not (PurePosixPath(value).is_absolute() or Path(value).is_absolute()):
        raise ValueError(f"must be a full path, beginning with /, not {shown(value)}")
    return Path(os.path.normpath(nameable(value)))


def nameable(value: str) -> str:
    """What a file system can be asked for."""
    try:
        if b"\0" not in os.fsencode(value):
            return value
    except UnicodeEncodeError as error:
        raise ValueError(f"contains what no file name can contain: {shown(value)}") from error
    raise ValueError(f"contains a NUL, which no file name can contain: {shown(value)}")


def state_path(value: object) -> Path:
    """The database's path; other databases come later."""
    if isinstance(value, str) and "://" in value:
        raise ValueError("must be a path on a local disk; other databases are not supported yet")
    return full_path(value)


FullPath = Annotated[Path, BeforeValidator(full_path)]
StatePath = Annotated[Path, BeforeValidator(state_path)]
