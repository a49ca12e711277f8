"""The small language of configured texts."""

import pytest

from moichord.templates import (
    REPLY_NAMES,
    SAMPLE_NAMES,
    JsonTemplate,
    Template,
    Unusable,
    ValueMissing,
    ValueUnsuitable,
)

VALUES = {
    "sample_id": "A123",
    "attempt_number": 7,
    "submission": "0e4e",
    "metadata": {"test_type": "blood", "patient-name": "Rex", "count": 5, "blank": " ", "nothing": None, "list": ["a"]},
}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{sample_id}-{attempt_number:03d}", "A123-007"),
        ("{attempt_number}", "7"),
        ("{attempt_number:2d}", " 7"),
        ("{{{sample_id}}}", "{A123}"),
        ("{metadata[patient-name]}", "Rex"),
        ("{metadata[count]} of {metadata[test_type]}", "5 of blood"),
    ],
)
def test_gaps_are_filled(text: str, rendered: str) -> None:
    assert Template(text, REPLY_NAMES).render(VALUES) == rendered


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{sampl_id}", "{sampl_id} is not known here; known are {sample_id}, {attempt_number}, {submission}"),
        ("{metadata[x]}", "is not known here"),
        ("{}", "is not a name"),
        ("{0}", "is not a name"),
        ("{sample_id.__class__}", "is not a name"),
        ("{sample_id!r}", "is not a name"),
        ("{sample_id[0]}", "must be written {sample_id}"),
        ("{sample_id:>9}", "after the colon nothing may follow"),
        ("{attempt_number:x}", "a width such as 03d may follow"),
        ("{attempt_number:{sample_id}}", "a width such as 03d may follow"),
        ("{attempt_number:000999999999d}", "a width such as 03d may follow"),
        ("a } b", "a brace without its partner"),
        ("{sample_id", "a brace without its partner"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_configured(text: str, problem: str) -> None:
    with pytest.raises(Unusable) as refused:
        Template(text, SAMPLE_NAMES)
    assert problem in str(refused.value)


@pytest.mark.parametrize("text", ["{metadata}", "{metadata[a][b]}", "{metadata[a].b}", "{metadata[]}"])
def test_only_one_field_of_the_reply_can_be_named(text: str) -> None:
    with pytest.raises(Unusable):
        Template(text, REPLY_NAMES)


@pytest.mark.parametrize("field", ["absent", "blank", "nothing"])
def test_a_field_without_a_value_is_named(field: str) -> None:
    with pytest.raises(ValueMissing, match=field):
        Template(f"x{{metadata[{field}]}}", REPLY_NAMES).render(VALUES)


def test_a_list_cannot_become_a_text() -> None:
    with pytest.raises(ValueUnsuitable, match='"list" is a list'):
        Template("x{metadata[list]}", REPLY_NAMES).render(VALUES)


def test_texts_within_json_are_templates_and_all_else_stands() -> None:
    template = JsonTemplate(
        {"id": "{sample_id}", "n": 2, "deep": [{"x": "a{attempt_number}"}, None, True]}, SAMPLE_NAMES
    )
    assert template.render(VALUES) == {"id": "A123", "n": 2, "deep": [{"x": "a7"}, None, True]}


def test_a_lone_field_of_the_reply_keeps_its_kind_in_json() -> None:
    template = JsonTemplate({"n": "{metadata[count]}", "l": "{metadata[list]}", "t": "{attempt_number}"}, REPLY_NAMES)
    assert template.render(VALUES) == {"n": 5, "l": ["a"], "t": "7"}


def test_a_lone_field_without_a_value_is_missing_in_json_too() -> None:
    with pytest.raises(ValueMissing, match="blank"):
        JsonTemplate(["{metadata[blank]}"], REPLY_NAMES).render(VALUES)


def test_every_wrong_text_within_json_is_told_with_its_path() -> None:
    with pytest.raises(Unusable) as refused:
        JsonTemplate({"a": ["{x}", "fine"], "b": {"c": "{"}}, SAMPLE_NAMES)
    assert [path for path, _ in refused.value.problems] == [("a", 0), ("b", "c")]


def test_templates_that_say_the_same_are_equal() -> None:
    assert Template("{sample_id}", SAMPLE_NAMES) == Template("{sample_id}", REPLY_NAMES)
    assert JsonTemplate(["a"], SAMPLE_NAMES) != JsonTemplate(["b"], SAMPLE_NAMES)
