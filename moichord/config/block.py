"""What all blocks of the configuration have in common.

Owns strictness: unknown keys and wrong types are errors, and so are combinations that a block calls impossible.
It must not know the keys. Errors: pydantic's.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from moichord.templates import KeyPath, Unusable

Impossible = Iterator[tuple[KeyPath, str]]


def entry(
    default: object, description: str, *, alias: str | None = None, example: str | None = None, hidden: bool = False
) -> Any:
    """One key: its default as it would be written in the file, and what it means.

    `default` is `...` where the key must be written; `example` then stands in config.example.yaml. A `hidden` value
    is not part of the settings' repr.
    """
    examples = None if example is None else [example]
    return Field(default, description=description, alias=alias, examples=examples, repr=not hidden)


class Block(BaseModel):
    """A block of keys. `INLINE` blocks are written on one line in the example."""

    # Commands that read only the whereabouts need not wait for the validators of all other blocks.
    model_config = ConfigDict(
        frozen=True, defer_build=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True
    )
    INLINE: ClassVar[bool] = False

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """The keys as they are written, in order."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    def impossible(self) -> Impossible:
        """What is wrong with this block though each of its keys is right by itself."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_the_impossible(self) -> Self:
        problems = list(self.impossible())
        if problems:
            raise Unusable(problems)
        return self


def block_at(block: type[Block], path: KeyPath) -> type[Block]:
    """The block that stands at `path` below `block`. Raises TypeError if no block stands there."""
    for name in path:
        inner = block.keys()[str(name)].annotation
        if not (isinstance(inner, type) and issubclass(inner, Block)):
            raise TypeError(f"{name} is not a block")
        block = inner
    return block
