"""Configured texts with named gaps: `{sample_id}-{attempt_number:03d}`, `{metadata[test_type]}`.

Owns their small language: a name, a name with a number's width, one field of the metadata reply, and `{{` `}}`
for braces. There are no attributes, conversions or code. It must not know where the values come from.

Errors: `Unusable` when a text is configured that cannot work, `ValueMissing` and `ValueUnsuitable` when a value
of this one sample does not fit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter
from types import MappingProxyType

GAP = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\[(?P<member>[^\[\]{}]+)\])?")
WIDTH = re.compile(r"0?[1-9][0-9]?d")

KeyPath = tuple[str | int, ...]
Names = Mapping[str, type]

SAMPLE_NAMES: Names = MappingProxyType({"sample_id": str, "attempt_number": int, "submission": str})
REPLY_NAMES: Names = MappingProxyType({**SAMPLE_NAMES, "metadata": Mapping})
"""What a gap may name before the metadata reply is there, and after."""


class Unusable(ValueError):
    """A configured text that cannot work; `problems` are (path of keys below the configured value, what is wrong)."""

    def __init__(self, problems: Iterable[tuple[KeyPath, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(message for _, message in self.problems))


class ValueMissing(LookupError):
    """The reply has no value for `field`: it is absent, null or blank."""

    def __init__(self, field: str) -> None:
        super().__init__(f'the metadata reply has no value for "{field}"')
        self.field = field


class ValueUnsuitable(ValueError):
    """The reply's value for `field` is of a kind that cannot be written as text."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f'the metadata reply\'s "{field}" {problem}')
        self.field = field


@dataclass(frozen=True, slots=True)
class Gap:
    """One `{name[member]:spec}`."""

    name: str
    member: str | None
    spec: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text with gaps; `names` are the names it may use, with their types. Raises Unusable."""

    text: str
    names: Names = field(repr=False, compare=False)
    parts: tuple[str | Gap, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "parts", tuple(_parse(self.text, self.names)))
        except ValueError as error:
            raise Unusable([((), str(error))]) from error

    def render(self, values: Mapping[str, object]) -> str:
        """The text with its gaps filled from `values`. Raises ValueMissing, ValueUnsuitable."""
        return "".join(part if isinstance(part, str) else _fill(part, values) for part in self.parts)

    @property
    def is_fixed(self) -> bool:
        """Whether it has no gaps: the same text for every sample."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def lone_member(self) -> Gap | None:
        """The gap, if the text is nothing but one field of the reply, such as `{metadata[test_type]}`."""
        match self.parts:
            case (Gap(member=str()) as gap,):
                return gap
        return None


@dataclass(frozen=True, slots=True)
class JsonTemplate:
    """A JSON value whose texts are templates. Raises Unusable, with the path of every text that is wrong.

    A text that is nothing but one field of the metadata reply stands for that field's own value, which may be a
    number, a list or an object; all other texts give texts. The keys of objects are not templates.
    """

    structure: object
    names: Names = field(repr=False, compare=False)
    parts: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems: list[tuple[KeyPath, str]] = []
        object.__setattr__(self, "parts", _compile(self.structure, self.names, (), problems))
        if problems:
            raise Unusable(problems)

    def render(self, values: Mapping[str, object]) -> object:
        """The JSON value with every gap filled. Raises ValueMissing, ValueUnsuitable."""
        return _render(self.parts, values)


def text_of(value: object, field: str) -> str | None:
    """A value of a JSON reply as text; None if it is null or blank. Numbers are written as JSON does.

    Raises ValueUnsuitable for true and false, lists and objects, naming `field`.
    """
    match value:
        case None:
            return None
        case str():
            return value if value.strip() else None
        case bool():
            raise ValueUnsuitable(field, "is true or false where a text is needed")
        case int() | float():
            return repr(value)
        case Mapping():
            raise ValueUnsuitable(field, "is an object where a text is needed")
        case _:
            raise ValueUnsuitable(field, "is a list where a text is needed")


def _parse(text: str, names: Names) -> Iterator[str | Gap]:
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError("has a brace without its partner; braces that mean themselves are {{ and }}") from error
    for literal, name, spec, conversion in pieces:
        if literal:
            yield literal
        if name is not None:
            yield _gap(name, spec or "", conversion, names)


def _gap(name: str, spec: str, conversion: str | None, names: Names) -> Gap:
    written = f"{{{name}}}"
    match = GAP.fullmatch(name)
    if not match or conversion:
        raise ValueError(f"{written} is not a name; braces that mean themselves are {{{{ and }}}}")
    gap = Gap(match["name"], match["member"], spec)
    if gap.name not in names:
        raise ValueError(f"{written} is not known here; known are {', '.join(_spelled(names))}")
    kind = names[gap.name]
    if (kind is Mapping) != (gap.member is not None):
        usage = f"{{{gap.name}[FIELD]}}" if kind is Mapping else f"{{{gap.name}}}"
        raise ValueError(f"{written} must be written {usage}")
    if spec and not (kind is int and WIDTH.fullmatch(spec)):
        allowed = "a width such as 03d" if kind is int else "nothing"
        raise ValueError(f"{{{name}:{spec}}}: after the colon {allowed} may follow")
    return gap


def _spelled(names: Names) -> Iterator[str]:
    return (f"{{{name}[FIELD]}}" if kind is Mapping else f"{{{name}}}" for name, kind in names.items())


def _fill(gap: Gap, values: Mapping[str, object]) -> str:
    if gap.spec:
        return format(values[gap.name], gap.spec)
    if gap.member is None:
        return str(values[gap.name])
    text = text_of(_member(gap, values), gap.member)
    if text is None:
        raise ValueMissing(gap.member)
    return text


def _member(gap: Gap, values: Mapping[str, object]) -> object:
    members = values[gap.name]
    if not isinstance(members, Mapping) or gap.member is None:
        raise TypeError(f"the value of {gap.name} must be a mapping")
    return members.get(gap.member)


def _compile(structure: object, names: Names, path: KeyPath, problems: list[tuple[KeyPath, str]]) -> object:
    match structure:
        case str():
            try:
                return Template(structure, names)
            except Unusable as error:
                problems.extend((path, message) for _, message in error.problems)
                return None
        case Mapping():
            return {key: _compile(value, names, (*path, key), problems) for key, value in structure.items()}
        case list() | tuple():
            return [_compile(value, names, (*path, index), problems) for index, value in enumerate(structure)]
        case _:
            return structure


def _render(part: object, values: Mapping[str, object]) -> object:
    match part:
        case Template():
            return _render_text(part, values)
        case dict():
            return {key: _render(value, values) for key, value in part.items()}
        case list():
            return [_render(value, values) for value in part]
        case _:
            return part


def _render_text(template: Template, values: Mapping[str, object]) -> object:
    gap = template.lone_member
    if gap is None or gap.member is None:
        return template.render(values)
    value = _member(gap, values)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueMissing(gap.member)
    return value
