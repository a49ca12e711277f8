"""A YAML document as plain data, in which every value knows its line and column.

Owns the YAML dialect: YAML 1.2's core schema (only `true` and `false` are booleans, `on` and `12:30:00` are
texts), duplicate keys are errors, and `${NAME}` or `${NAME:-default}` in a text stands for an environment variable.
It must not know what the keys mean. No error leaves it: problems are collected beside the data.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from moichord.sample import printable
from moichord.templates import KeyPath

DEPTH_LIMIT = 50
LONGEST_NUMBER = 100
VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}|(?P<wrong>\$\{[^}]*\}?)")
TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the file, both counted from 1."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and at which path of keys."""

    place: Place
    path: KeyPath
    message: str


@dataclass(slots=True)
class Document:
    """`data` is None if the text is no YAML at all; `values` and `keys` give the place of each path.

    `spoiled` are the paths whose value is not what was meant, so that nothing more should be said about it.
    """

    data: object = None
    values: dict[KeyPath, Place] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[KeyPath] = field(default_factory=set)

    def place(self, path: KeyPath) -> Place:
        """Where the value at `path` stands, or the nearest key above it that is written."""
        if path in self.values:
            return self.values[path]
        return self.key_place(path[:-1]) if path else START

    def key_place(self, path: KeyPath) -> Place:
        """Where the key at `path` stands, or the nearest written key above it."""
        while path:
            if path in self.keys:
                return self.keys[path]
            if path in self.values:
                return self.values[path]
            path = path[:-1]
        return START


def parse(text: str, environ: Mapping[str, str]) -> Document:
    """Read one YAML document."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f", {error.context}" if error.context else ""
        document.problems.append(Problem(_place(mark), (), f"not YAML: {error.problem}{context}"))
    except yaml.YAMLError as error:
        document.problems.append(Problem(_place_of_character(text, error), (), f"not YAML: {error}".splitlines()[0]))
    except RecursionError:
        document.problems.append(Problem(START, (), "not YAML that can be read: it is nested too deeply"))
    else:
        if root is not None:
            document.data = _Construction(document, environ).value(root, ())
    return document


class _CoreLoader(yaml.SafeLoader):
    """Resolves plain scalars by YAML 1.2's core schema (YAML 1.2.2, 10.3.2), without its infinities."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own attribute)


_CoreLoader.add_implicit_resolver(TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_CoreLoader.add_implicit_resolver(TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_CoreLoader.add_implicit_resolver(
    TAG + "int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_CoreLoader.add_implicit_resolver(
    TAG + "float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


@dataclass(slots=True)
class _Construction:
    """One walk over the nodes, which fills the document."""

    document: Document
    environ: Mapping[str, str]

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self.document.values[path] = _place(node.start_mark)
        if len(path) > DEPTH_LIMIT:
            self._spoil(node, path, "is nested too deeply, or contains itself")
            return None
        match node:
            case yaml.MappingNode():
                return dict(self._items(node, path))
            case yaml.SequenceNode():
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, object]]:
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a text; quote values that begin with { or [")
                continue
            key = str(key_node.value)
            if key in seen:
                self._problem(key_node, (*path, key), f"is written twice, first in line {seen[key].line}")
                continue
            seen[key] = self.document.keys[*path, key] = _place(key_node.start_mark)
            yield key, self.value(value_node, (*path, key))

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text = str(node.value)
        match node.tag.removeprefix(TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) > LONGEST_NUMBER:
                self._spoil(node, path, f"is a number of more than {LONGEST_NUMBER} digits")
                return None
            case "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            case "float":
                return float(text)
            case "str":
                return self._expanded(text, node, path)
            case _:
                self._spoil(node, path, f"the YAML tag {node.tag} is not known here")
                return None

    def _expanded(self, text: str, node: yaml.Node, path: KeyPath) -> str:
        return VARIABLE.sub(lambda match: self._variable(match, node, path), text)

    def _variable(self, match: re.Match[str], node: yaml.Node, path: KeyPath) -> str:
        name, default = match["name"], match["default"]
        if name is not None:
            found = self.environ.get(name)
            if found or (found is not None and default is None):
                return found
            if default is not None:
                return default
            self._spoil(node, path, f"environment variable {name} is not set")
        elif match["wrong"]:
            advice = "write ${NAME} or ${NAME:-default}, and $${ where ${ itself is meant"
            self._spoil(node, path, f"{printable(match['wrong'])} is no environment variable: {advice}")
        return "${"

    def _spoil(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self.document.spoiled.add(path)
        self._problem(node, path, message)

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self.document.problems.append(Problem(_place(node.start_mark), path, message))


def _place(mark: yaml.Mark | None) -> Place:
    return START if mark is None else Place(mark.line + 1, mark.column + 1)


def _place_of_character(text: str, error: yaml.YAMLError) -> Place:
    position = getattr(error, "position", 0)
    before = text[:position]
    return Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
