"""Where samples and the state lie: how paths are written, what they become, and which do not go together.

Owns these rules and defaults, and the short way for a command that only looks and is to answer at once: `plain_places`
reads a configuration in which they are written without mistake, and pydantic need not be loaded. It must not say what
is wrong with one (`loading` does). Errors are ValueErrors, which pydantic collects.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moichord.config.document import Problem, parse
from moichord.config.wording import shown

INBOX, DONE, FAILED = "/srv/moichord/inbox", "/srv/moichord/done", "/srv/moichord/failed"
STATE = "/var/lib/moichord/state.db"


@dataclass(frozen=True, slots=True)
class Places:
    """The four folders, and the state."""

    inbox: Path
    work: Path
    done: Path
    failed: Path
    state: Path


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


def work_beside(inbox: Path) -> Path:
    """Where samples are processed, unless the configuration says it."""
    return inbox.parent / "work"


def clashes(folders: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The folders that do not go together with one named before: the name, and what is wrong with it."""
    names = list(folders)
    for index, name in enumerate(names):
        related = ((_relation(folders[name], folders[earlier]), earlier) for earlier in names[:index])
        relation, earlier = next((pair for pair in related if pair[0]), ("", ""))
        if relation:
            yield name, f"{folders[name]} {relation} {earlier}: each of the four needs a place of its own"


def holding(state: Path, folders: Mapping[str, Path]) -> Iterator[str]:
    """The names of the folders in which the state lies, though it must not."""
    return (name for name, folder in folders.items() if state.is_relative_to(folder))


def plain_places(file: Path, environ: Mapping[str, str]) -> Places | None:
    """What the configuration in `file` says, if it is written without mistake; None if there is anything to say."""
    try:
        document = parse(file.read_text(encoding="utf-8-sig"), environ)
        match document.data:
            case {**keys} if not any(map(_matters, document.problems)) and repr(keys.get("version", 1)) == "1":
                return _places(keys.get("folders", {}), keys.get("state", STATE))
    except (OSError, ValueError, TypeError):
        return None
    return None


def _matters(problem: Problem) -> bool:
    return not problem.path or problem.path[0] in {"version", "folders", "state"}


def _places(folders: object, state: object) -> Places | None:
    match folders:
        case {**written} if written.keys() <= {"inbox", "work", "done", "failed"}:
            inbox = full_path(written.get("inbox", INBOX))
            named = written.get("work")
            found = {
                "inbox": inbox,
                "work": work_beside(inbox) if named is None else full_path(named),
                "done": full_path(written.get("done", DONE)),
                "failed": full_path(written.get("failed", FAILED)),
            }
            places = Places(**found, state=state_path(state))
            well = not any(clashes(found)) and not any(holding(places.state, found))
            return places if well else None
    return None


def _relation(path: Path, other: Path) -> str | None:
    if path == other:
        return "is the same as"
    if path.is_relative_to(other):
        return "lies inside"
    return "contains" if other.is_relative_to(path) else None
