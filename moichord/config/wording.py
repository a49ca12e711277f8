"""What is wrong with a configured value, in plain words.

Owns the sentences for pydantic's error types and how a wrong value is shown. It must not know the keys.
No error leaves it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moichord.sample import printable

LONGEST_SHOWN = 60

Details = Mapping[str, Any]
PLAIN_WORDS: Mapping[str, Callable[[Details, object], str]] = {
    "missing": lambda _, __: "is missing",
    "bool_type": lambda _, value: f"must be true or false, not {shown(value)}",
    "int_type": lambda _, value: f"must be a whole number, not {shown(value)}",
    "int_from_float": lambda _, value: f"must be a whole number, not {shown(value)}",
    "string_type": lambda _, value: f"must be a text, not {shown(value)}; put it in quotes",
    "tuple_type": lambda _, value: f"must be a list such as [a, b], not {shown(value)}",
    "model_type": lambda _, value: f"must be a block of keys, not {shown(value)}",
    "model_attributes_type": lambda _, value: f"must be a block of keys, not {shown(value)}",
    "greater_than": lambda details, value: f"must be more than {details['gt']:g}, not {shown(value)}",
    "greater_than_equal": lambda details, value: f"must be at least {details['ge']:g}, not {shown(value)}",
    "less_than_equal": lambda details, value: f"must be at most {details['le']:g}, not {shown(value)}",
    "literal_error": lambda details, value: f"must be {details['expected'].replace(chr(39), '')}, not {shown(value)}",
}


def in_plain_words(kind: str, details: Details, value: object, otherwise: str) -> str:
    """The sentence for one of pydantic's error types; `otherwise` where there is none."""
    words = PLAIN_WORDS.get(kind)
    return words(details, value) if words else otherwise


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest one that does."""
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(key, names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known here are {', '.join(names)}"
    return f"is not a known key; {advice}"


def shown(value: object) -> str:
    """A wrong value as its author may recognise it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            text = printable(value)
            return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "...")
        case Mapping():
            return "a block of keys"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)
