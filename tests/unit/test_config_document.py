"""The YAML dialect of the configuration, and the places of its values."""

import pytest

from moichord.config.document import Place, parse


def data(text: str, **environ: str) -> object:
    document = parse(text, environ)
    assert document.problems == []
    return document.data


def problems(text: str, **environ: str) -> list[tuple[int, int, str]]:
    return [(p.place.line, p.place.column, p.message) for p in parse(text, environ).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:00", "12:30:00"),
        ("2026-01-31", "2026-01-31"),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("10s", "10s"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("[a, 1]", ["a", 1]),
        ("<<", "<<"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert data(f"key: {text}") == {"key": value}


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert data("on: 1\n12: 2\nnull: 3\n(0010,0010): 4\n") == {"on": 1, "12": 2, "null": 3, "(0010,0010)": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x-${A}-${B:-two}", "x-one-two"),
        ("'${EMPTY:-default}'", "default"),
        ("'${EMPTY}'", ""),
        ("${B:-}", ""),
        ("$${A}", "${A}"),
        ("'^a$'", "^a$"),
        ("$A", "$A"),
    ],
)
def test_environment_variables_stand_in_texts(text: str, value: str) -> None:
    assert data(f"key: {text}", A="one", EMPTY="") == {"key": value}


def test_a_variables_text_is_not_expanded_again() -> None:
    assert data("key: ${A}", A="${B}") == {"key": "${B}"}


@pytest.mark.parametrize("text", ["${A", "${a b}", "${}", "${A:=x}", "${A-x}"])
def test_what_only_resembles_a_variable_is_an_error(text: str) -> None:
    ((line, column, message),) = problems(f"k: '{text}'")
    assert (line, column) == (1, 4)
    assert "is no environment variable: write ${NAME}" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", (3, 1, "is written twice, first in line 1")),
        ("a:\n  - b: 1\n    b: 2", (3, 5, "is written twice, first in line 2")),
        ("a: ${NOPE}", (1, 4, "environment variable NOPE is not set")),
        (
            "a: !!python/object:os.system x",
            (1, 4, "the YAML tag tag:yaml.org,2002:python/object:os.system is not known"),
        ),
        ("? [a]\n: b", (1, 3, "a key must be a text")),
        ("a: [", (1, 5, "not YAML: expected the node content")),
        ("a: b: c", (1, 5, "not YAML: mapping values are not allowed here")),
        ("a: 1\n---\nb: 2", (2, 1, "not YAML: but found another document")),
        ("a: *x", (1, 4, "not YAML: found undefined alias")),
        ("a: 1\nb: \x07", (2, 4, "not YAML: unacceptable character")),
        pytest.param(
            "a: " + "[" * 5000, (1, 1, "not YAML that can be read: it is nested too deeply"), id="depth of lists"
        ),
        pytest.param(
            "a: " + "{b: " * 3000, (1, 1, "not YAML that can be read: it is nested too deeply"), id="depth of blocks"
        ),
        pytest.param("a: " + "9" * 5000, (1, 4, "is a number of more than 100 digits"), id="digits"),
        ("\ta: 1", (1, 1, "not YAML: found character '\\t' that cannot start any token")),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, expected: tuple[int, int, str]) -> None:
    ((line, column, message),) = problems(text)
    assert (line, column) == expected[:2]
    assert message.startswith(expected[2])


def test_a_value_that_contains_itself_ends() -> None:
    ((line, _, message),) = problems("a: &x [*x]")
    assert line == 1
    assert message == "is nested too deeply, or contains itself"


def test_every_value_and_key_knows_its_place() -> None:
    document = parse("a:\n  b: [x, y]\n  c:\n", {})
    assert document.place(("a", "b", 1)) == Place(2, 10)
    assert document.key_place(("a", "b")) == Place(2, 3)
    assert document.place(("a", "absent")) == Place(1, 1)
    assert document.place(("nowhere", "at", "all")) == Place(1, 1)
