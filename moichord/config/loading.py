"""From a file, or the environment alone, to settings, or to every problem at once with its place.

Owns the meeting of a document's places with what the settings find wrong. It must not know single keys.
Errors: `ConfigurationInvalid`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from moichord.config.block import Block, block_at
from moichord.config.document import Document, Problem, parse
from moichord.config.whereabouts import Whereabouts
from moichord.config.wording import in_plain_words, unknown_key
from moichord.errors import ConfigurationInvalid
from moichord.sample import printable
from moichord.templates import KeyPath, Unusable

if TYPE_CHECKING:
    from moichord.config.settings import PageAndWhereabouts, Settings

ENVIRONMENT: Mapping[str, KeyPath] = {
    "MD_URL": ("metadata", "url"),
    "MD_KEY": ("metadata", "key"),
    "U_URL": ("upload", "url"),
    "U_KEY": ("upload", "key"),
    "A_URL": ("analytics", "url"),
    "A_KEY": ("analytics", "key"),
}
"""The variables of the one-shot, which has no configuration file, and the keys that they stand for."""

REMEDY = "moichord init writes a file to start with."

B = TypeVar("B", bound=Block)


def load(path: Path, environ: Mapping[str, str]) -> "Settings":
    """The settings in the file at `path`; secrets are read, and `${NAME}` is looked up in `environ`.

    Raises ConfigurationInvalid, whose problems are `file:line:column: key: what is wrong`, in the file's order.
    """
    return read(_text(path), str(path), environ)


def read(text: str, name: str, environ: Mapping[str, str]) -> "Settings":
    """Like `load`, for a text; `name` stands for the file in problems."""
    from moichord.config.settings import Settings

    document = parse(text, environ)
    _drop_what_is_disabled(document)
    return _validated(Settings, document, name, environ)


def load_whereabouts(path: Path, environ: Mapping[str, str]) -> Whereabouts:
    """Only where the folders and the state are. No secret is read, and mistakes in other keys do not matter.

    Raises ConfigurationInvalid.
    """
    return _part(Whereabouts, path, environ)


def load_page(path: Path, environ: Mapping[str, str]) -> "PageAndWhereabouts":
    """The same, and the settings of the page."""
    from moichord.config.settings import PageAndWhereabouts

    return _part(PageAndWhereabouts, path, environ)


def _part(kind: type[B], path: Path, environ: Mapping[str, str]) -> B:
    document = parse(_text(path), environ)
    wanted = set(kind.model_fields)
    document.problems = [problem for problem in document.problems if not problem.path or problem.path[0] in wanted]
    if isinstance(document.data, dict):
        document.data = {key: value for key, value in document.data.items() if key in wanted}
    return _validated(kind, document, str(path), environ)


def from_environment(environ: Mapping[str, str]) -> "Settings":
    """Default settings with the three APIs from the environment variables MD_URL, MD_KEY, U_URL, U_KEY, A_URL, A_KEY.

    Raises ConfigurationInvalid, naming every variable that is missing or wrong.
    """
    from moichord.config.settings import Settings

    missing = [name for name in ENVIRONMENT if not environ.get(name)]
    blocks: dict[object, dict[object, object]] = {"metadata": {}, "upload": {}, "analytics": {}}
    for name, (block, key) in ENVIRONMENT.items():
        blocks[block][key] = {"env": name} if key == "key" else environ.get(name)
    try:
        return Settings.model_validate(blocks, context={"environ": environ})
    except ValidationError as error:
        problems = [f"environment: {name}: is not set" for name in missing]
        problems += _by_variable(error, missing)
        raise ConfigurationInvalid(problems, remedy="Set it in the environment or in a .env file.") from error


def _by_variable(error: ValidationError, missing: list[str]) -> list[str]:
    variables = {path: name for name, path in ENVIRONMENT.items()}
    details = error.errors(include_url=False)
    problems = ((variables.get(path[:2], _spelled(path)), text) for detail in details for path, text in _wrong(detail))
    return [f"environment: {name}: {text}" for name, text in problems if name not in missing]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationInvalid([f"{path}: cannot be read: {error.strerror}"], remedy=REMEDY) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationInvalid(
            [f"{path}:{line}: is not a text in UTF-8"], remedy="Save the file in UTF-8, as every editor can."
        ) from error


def _drop_what_is_disabled(document: Document) -> None:
    """An API that is not called needs no address, so it may name variables that are not set."""
    match document.data:
        case {"analytics": {"enabled": False} as block}:
            for path in [path for path in document.spoiled if path[0] == "analytics"]:
                block.pop(path[1], None)
                document.problems = [problem for problem in document.problems if problem.path != path]


def _validated(kind: type[B], document: Document, name: str, environ: Mapping[str, str]) -> B:
    if not isinstance(document.data, dict) and not document.problems:
        raise ConfigurationInvalid([f"{name}:1:1: the file must hold a block of keys"], remedy=REMEDY)
    problems = document.problems
    if isinstance(document.data, dict):
        try:
            settings = kind.model_validate(document.data, context={"environ": environ})
        except ValidationError as error:
            problems += _placed(error, document)
        else:
            if not problems:
                return settings
    problems.sort(key=lambda problem: (problem.place.line, problem.place.column))
    raise ConfigurationInvalid([_line(name, problem) for problem in problems])


def _placed(error: ValidationError, document: Document) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        place = document.key_place if detail["type"] == "extra_forbidden" else document.place
        for path, message in _wrong(detail):
            if path not in document.spoiled:
                yield Problem(place(path), path, message)


def _wrong(detail: ErrorDetails) -> Iterator[tuple[KeyPath, str]]:
    """What one of pydantic's errors says: the path of keys, and the sentence; several for `Unusable`."""
    path: KeyPath = detail["loc"]
    context = detail.get("ctx", {})
    match context.get("error"):
        case Unusable(problems=problems):
            yield from (((*path, *below), message) for below, message in problems)
        case ValueError() as cause:
            yield path, str(cause)
        case _ if detail["type"] == "extra_forbidden":
            from moichord.config.settings import Settings

            yield path, unknown_key(str(path[-1]), block_at(Settings, path[:-1]).keys())
        case _:
            yield path, in_plain_words(detail["type"], context, detail["input"], detail["msg"])


def _line(name: str, problem: Problem) -> str:
    key = f"{_spelled(problem.path)}: " if problem.path else ""
    first, *more = problem.message.splitlines()
    place = f"{name}:{problem.place.line}:{problem.place.column}"
    return "\n".join([f"{place}: {key}{first}", *(f"    {line}" for line in more)])


def _spelled(path: KeyPath) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{printable(step)}" for step in path)
    return "".join(steps).removeprefix(".")
