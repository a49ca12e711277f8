"""What is wanted of a DICOM tag: a rule that makes a value from the metadata reply, and what to do with an old one.

Owns the configured shapes of a rule and the JMESPath expressions. It must not know files or which value a tag has
now; `moichord.dicom.coercion` compares and decides.

Errors: `Unusable` for rules that cannot work, `ValueUnsuitable` when a reply has a value that is no text.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from moichord.dicom.dictionary import Attribute, lookup
from moichord.templates import REPLY_NAMES, KeyPath, Template, Unusable, ValueMissing, ValueUnsuitable, text_of

OnMismatch = Literal["update", "fail", "keep"]
Kind = Literal["jmespath", "template", "value"]
ORIGINS: Mapping[str, Kind] = {"from": "jmespath", "template": "template", "value": "value"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A JMESPath expression (jmespath.org specification). Raises Unusable, with a caret below the place."""

    text: str
    parsed: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import jmespath
        from jmespath.exceptions import JMESPathError, JMESPathTypeError

        try:
            object.__setattr__(self, "parsed", jmespath.compile(self.text))
            self.parsed.search({})
        except JMESPathTypeError:
            pass  # an empty reply need not suit a function's arguments
        except JMESPathError as error:
            raise Unusable([((), f"{error}")]) from error
        except RecursionError as error:
            raise Unusable([((), "is nested too deeply")]) from error

    def search(self, reply: object) -> object:
        """What the expression finds in `reply`; None if nothing. Raises ValueUnsuitable."""
        from jmespath.exceptions import JMESPathError

        try:
            return cast(object, self.parsed.search(reply))
        except JMESPathError as error:
            raise ValueUnsuitable(self.text, "does not suit the functions that the expression uses") from error

    def holds(self, reply: object) -> bool:
        """Whether the expression gives exactly true for `reply`: the test for success of an upload's answer."""
        try:
            return self.search(reply) is True
        except ValueUnsuitable:
            return False


@dataclass(frozen=True, slots=True)
class TagRule:
    """One configured tag: `expression` is a JMESPath into the reply, a template or a fixed value, as `kind` says.

    `required`: no value fails the sample; otherwise the tag is left as it is.
    """

    attribute: Attribute
    kind: Kind
    expression: str
    on_mismatch: OnMismatch = "update"
    required: bool = True
    compiled: Expression | Template | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", _compiled(self.kind, self.expression))

    @property
    def source(self) -> str:
        """Where the value comes from, for messages."""
        match self.kind:
            case "jmespath":
                return f"metadata field {self.expression}"
            case "template":
                return f"template {self.expression}"
            case "value":
                return "the configured value"

    def value(self, reply: Mapping[str, object], names: Mapping[str, object]) -> str | None:
        """The wanted value; None if the reply has none (null, missing or blank).

        `names` are the values of the names that a template may use, but for `metadata`, which is `reply`.
        Raises ValueUnsuitable for true, false, a list or an object.
        """
        match self.compiled:
            case Expression():
                return text_of(self.compiled.search(reply), self.expression)
            case Template():
                try:
                    return self.compiled.render({**names, "metadata": reply})
                except ValueMissing:
                    return None
            case _:
                return self.expression


def parse(tags: object) -> tuple[TagRule, ...]:
    """Rules from the configured block: keyword or `(gggg,eeee)` to a JMESPath text or a block of keys.

    Raises Unusable with every problem and its path.
    """
    if not isinstance(tags, Mapping):
        raise Unusable([((), "must be a block of DICOM keywords")])
    rules: dict[int, TagRule] = {}
    problems: list[tuple[KeyPath, str]] = []
    for name, shape in tags.items():
        try:
            rule = _rule(name, shape)
            if rule.attribute.tag in rules:
                raise Unusable([((), f"names the same tag as another key: {rule.attribute.keyword}")])
            rules[rule.attribute.tag] = rule
        except Unusable as error:
            problems.extend(((name, *path), message) for path, message in error.problems)
    if problems:
        raise Unusable(problems)
    return tuple(rules.values())


def _rule(name: str, shape: object) -> TagRule:
    block = {"from": shape} if isinstance(shape, str) else shape
    problems = list(_shape_problems(block, inner=block is shape))
    try:
        attribute = lookup(name)
    except ValueError as error:
        problems.append(((), str(error)))
    if problems or not isinstance(block, Mapping):
        raise Unusable(problems)
    origin = next(key for key in ORIGINS if key in block)
    return TagRule(
        attribute=attribute,
        kind=ORIGINS[origin],
        expression=str(block[origin]),
        on_mismatch=block.get("on_mismatch", "update"),
        required=block.get("required", True),
    )


def _shape_problems(block: object, *, inner: bool) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with the block of one tag; `inner` says whether the file has a block there, or only a text."""
    if not isinstance(block, Mapping):
        yield (), "must be a JMESPath in quotes, {from: ...}, {template: ...} or {value: ...}"
        return
    origins = [key for key in ORIGINS if key in block]
    if len(origins) != 1:
        yield (), "needs exactly one of from, template and value"
    for key in block:
        if key not in (*ORIGINS, "on_mismatch", "required"):
            yield (key,), f"is not a key of a tag; known are {', '.join(ORIGINS)}, on_mismatch, required"
    for key in origins:
        yield from (((key, *path) if inner else path, message) for path, message in _origin_problems(key, block[key]))
    if block.get("on_mismatch", "update") not in get_args(OnMismatch):
        yield ("on_mismatch",), f"must be one of {', '.join(get_args(OnMismatch))}"
    if not isinstance(block.get("required", True), bool):
        yield ("required",), "must be true or false"


def _origin_problems(key: str, value: object) -> Iterable[tuple[KeyPath, str]]:
    number = key == "value" and isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not number:
        return [((), "must be a text in quotes")]
    if not str(value).strip():
        return [((), "must not be empty")]
    try:
        _compiled(ORIGINS[key], str(value))
    except Unusable as error:
        return error.problems
    return []


def _compiled(kind: Kind, expression: str) -> Expression | Template | None:
    match kind:
        case "jmespath":
            return Expression(expression)
        case "template":
            return Template(expression, REPLY_NAMES)
        case "value":
            return None
