"""The house holds: who may import whom, which library lives where, and the rules of the style.

The tables below are the plan. A module that no table knows fails here: give it a room, and say it in the README.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "moichord"

GROUND = {"sample", "errors", "clock", "durable", "templates", "tag_rules", "logs", "pulse"}
"""The ground floor, which every room above it may import."""

ONLY = {
    "__init__": set(),
    "sample": set(),
    "errors": {"sample"},
    "clock": set(),
    "pulse": {"clock"},
    "durable": {"errors"},
    "templates": set(),
    "tag_rules": {"templates", "dicom.dictionary"},
    "logs": {"sample", "errors"},
    "outage": {"sample"},
    "retry": {"errors", "outage", "sample"},
    "queue": {"sample", "errors", "clock", "durable", "pulse", "retry", "outage"},
    "spool": {"sample", "errors", "clock", "durable"},
    "dicom": set(),
    "apis": {"errors", "sample", "clock", "pulse"},
    "config": {"sample", "errors", "templates", "tag_rules", "dicom.dictionary"},
}
"""Rooms that may import nothing but these."""

BESIDES_GROUND = {
    "receipt": set(),
    "inbox": {"queue", "spool", "dicom"},
    "pipeline": {"dicom", "apis", "receipt", "spool", "outage"},
    "storage": set(),
    "ending": set(),
    "cancelling": set(),
    "conclusion": {"ending", "pipeline", "queue", "spool", "storage", "receipt"},
    "way_back": {"queue", "spool"},
    "seats": set(),
    "worker": {
        *("cancelling", "conclusion", "ending", "pipeline", "queue", "seats", "spool", "storage", "retry", "outage"),
    },
    "attendant": {"cancelling", "conclusion", "ending", "queue", "spool", "storage", "way_back", "worker"},
    "watching": {"config", "dicom", "inbox", "pipeline"},
    "recovery": {"put_back", "queue", "spool", "way_back"},
    "put_back": {"queue", "spool"},
    "housekeeping": {"queue", "spool", "storage"},
    "status": {"queue", "config", "outage", "receipt"},
    "hindrances": {"inbox", "queue", "spool", "storage"},
    "announcing": {"apis", "composition", "config", "queue", "reload", "status", "storage"},
    "checks": {"apis", "config", "inbox", "pipeline", "queue", "spool", "status", "storage", "wiring"},
    "first_setup": {"config"},
    "oneshot": {"pipeline", "config", "retry", "outage", "wiring"},
    "sandbox": {"queue", "config", "status"},
    "wiring": {"apis", "config", "pipeline", "retry"},
    "daemonize": set(),
    "sd_notify": set(),
    "composition": {
        *("attendant", "cancelling", "conclusion", "config", "hindrances", "housekeeping", "inbox", "pipeline"),
        *("queue", "seats", "spool", "status", "storage", "watching", "way_back", "wiring", "worker"),
    },
    "supervision": {"sd_notify", "status"},
    "reload": {"apis", "config", "status", "wiring"},
    "service": {
        *("announcing", "composition", "config", "queue", "recovery", "reload", "sd_notify", "status", "supervision"),
        *("wiring",),
    },
}
"""Rooms that may import the ground floor, and these."""

ANYTHING = {"cli", "__main__"}

LIBRARIES = {
    "PIL": {"sandbox", "dicom.thumbnail"},
    "anyio": {"status.web"},
    "apprise": {"status.notify.receivers"},
    "backoff": {"apis", "retry"},
    "blake3": {"dicom", "durable", "pipeline"},
    "click": {"cli"},
    "daemon": {"daemonize"},
    "jinja2": {"status.web"},
    "jmespath": {"tag_rules"},
    "prometheus_client": {"status.metrics"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "pydicom": {"dicom", "sandbox", "status"},
    "pythonjsonlogger": {"logs"},
    "requests": {"apis"},
    "rich": {"cli", "status", "oneshot.bars"},
    "sqlalchemy": {"queue"},
    "sqlite3": {"queue"},
    "starlette": {"status.web"},
    "urllib3": {"apis"},
    "uvicorn": {"status.web"},
    "watchdog": {"inbox.doorbell"},
    "yaml": {"config"},
}
"""Each library and the places that may import it."""

PURE = {"sample", "errors", "retry", "outage", "apis.answers", "inbox.settling", "dicom.coercion"}
SIDE_EFFECTS = {"io", "os", "pathlib", "requests", "shutil", "socket", "sqlite3", "subprocess", "threading", "time"}
NAMES_OF_FILES = {"sample": {"os", "pathlib"}}
"""What a pure module may import all the same: sample turns names into paths, and opens none."""

POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios"}
CATCH_ALL = {"worker", "service"}
LONGEST_FILE = 320
LONGEST_FUNCTION = 42


@dataclass(frozen=True)
class Import:
    """One import: the module that has it, the full name that it imports, and whether it is done at import."""

    by: str
    name: str
    line: int
    at_import: bool

    @property
    def own(self) -> str | None:
        """The imported module within moichord; None for libraries, and for moichord itself."""
        return self.name.removeprefix("moichord.") if self.name.startswith("moichord.") else None

    @property
    def library(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.by} (line {self.line}) imports {self.name}"


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text("utf-8"), str(file))
    return found


@cache
def imports() -> tuple[Import, ...]:
    return tuple(one for name, tree in modules().items() for one in imports_of(name, tree, at_import=True))


def imports_of(by: str, node: ast.AST, *, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(by, alias.name, child.lineno, at_import)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"{by} imports relatively; write the whole name"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                known = whole.removeprefix("moichord.") in modules()
                yield Import(by, whole if known else str(child.module), child.lineno, at_import)
        yield from imports_of(by, child, at_import=at_import and not inside)


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_module_has_a_room() -> None:
    rooms = {room(module) for module in modules()}
    assert rooms <= {*ONLY, *BESIDES_GROUND, *ANYTHING}


def test_imports_only_go_where_the_plan_allows() -> None:
    against = []
    for one in imports():
        here = room(one.by)
        if one.own is None or room(one.own) == here or here in ANYTHING:
            continue
        allowed = ONLY[here] if here in ONLY else GROUND | BESIDES_GROUND[here]
        if not within(one.own, allowed):
            against.append(str(one))
    assert against == []


def test_each_library_is_imported_in_its_place_only() -> None:
    against = [
        str(one)
        for one in imports()
        if one.library != "moichord"
        and (one.library in LIBRARIES or one.library not in sys.stdlib_module_names)
        and not within(one.by, LIBRARIES.get(one.library, set()))
    ]
    assert against == []


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_imports_nothing_with_side_effects(module: str) -> None:
    forbidden = SIDE_EFFECTS - NAMES_OF_FILES.get(module, set())
    assert [str(one) for one in imports() if one.by == module and one.library in forbidden] == []


def test_nothing_that_only_posix_has_is_imported_where_windows_would_see_it() -> None:
    assert [str(one) for one in imports() if one.at_import and one.library in POSIX_ONLY] == []


def test_every_module_says_what_it_owns() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_exceptions_are_caught_by_name_but_in_the_two_places_that_guard_others() -> None:
    against = [
        f"{name}, line {node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and name not in CATCH_ALL
    ]
    assert against == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id == "Exception") for kind in caught)


def test_nobody_sleeps() -> None:
    against = [
        f"{name}, line {node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.alias) and getattr(node, "attr", getattr(node, "name", "")) == "sleep"
    ]
    assert against == []


def test_files_and_functions_stay_short() -> None:
    long = [name for name, tree in modules().items() if last_line(tree) > LONGEST_FILE]
    long += [
        f"{name}.{node.name}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and last_line(node) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def last_line(node: ast.Module | ast.FunctionDef) -> int:
    return max((getattr(inner, "end_lineno", 0) or 0 for inner in ast.walk(node)), default=0)


def test_no_room_has_a_name_that_says_nothing() -> None:
    empty = {"common", "helpers", "manager", "misc", "util", "utils"}
    assert [name for name in modules() if empty & set(name.split("."))] == []


def test_the_code_structure_table_of_the_readme_names_every_room_and_no_other() -> None:
    readme = (PACKAGE.parent / "README.md").read_text("utf-8")
    table = readme[readme.index("## The code") :]
    named = {name.rstrip("/") for name in re.findall(r"`((?:moichord|tests)/[\w./]+)`", table)}
    rooms = {
        f"moichord/{path.name}" for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"moichord/__init__.py"}
    assert rooms - named == set()
    assert {name for name in named if not (PACKAGE.parent / name).exists()} == set()
