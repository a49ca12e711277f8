"""From the configured tags and a metadata reply to the values that are wanted."""

import pytest

from moichord.tag_rules import Expression, TagRule, parse
from moichord.templates import Unusable, ValueUnsuitable

NAMES = {"sample_id": "A123", "attempt_number": 2, "submission": "0e4e"}
REPLY = {
    "patient-name": "Rex",
    "age": 4,
    "weight": 3.5,
    "ill": True,
    "tags": ["a"],
    "owner": {"name": "X"},
    "blank": " ",
}


def rule(shape: object, keyword: str = "PatientName") -> TagRule:
    (only,) = parse({keyword: shape})
    return only


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ('"patient-name"', "Rex"),
        ({"from": "owner.name"}, "X"),
        ("age", "4"),
        ("weight", "3.5"),
        ("absent", None),
        ("blank", None),
        ("owner.absent.deeper", None),
        ("tags[0]", "a"),
        ({"template": "{sample_id}-{attempt_number:03d}"}, "A123-002"),
        ({"template": "{metadata[patient-name]} ({metadata[age]})"}, "Rex (4)"),
        ({"template": "{metadata[absent]}"}, None),
        ({"value": "Dr. {Who}"}, "Dr. {Who}"),
        ({"value": 12}, "12"),
    ],
)
def test_a_rule_makes_a_value_of_the_reply(shape: object, value: str | None) -> None:
    assert rule(shape).value(REPLY, NAMES) == value


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ("ill", '"ill" is true or false'),
        ("tags", '"tags" is a list'),
        ("owner", '"owner" is an object'),
        ("length(age)", '"length\\(age\\)" does not suit the functions'),
        ({"template": "x{metadata[owner]}"}, '"owner" is an object'),
    ],
)
def test_a_value_that_is_no_text_is_refused_by_name(shape: object, problem: str) -> None:
    with pytest.raises(ValueUnsuitable, match=problem):
        rule(shape).value(REPLY, NAMES)


def test_a_rule_knows_what_to_do_with_another_value() -> None:
    assert (rule("a").on_mismatch, rule("a").required) == ("update", True)
    kept = rule({"from": "a", "on_mismatch": "keep", "required": False})
    assert (kept.on_mismatch, kept.required) == ("keep", False)


def test_a_tag_may_be_written_as_number() -> None:
    assert rule("a", "(0010,0010)").attribute.keyword == "PatientName"


def test_a_rule_says_where_its_value_comes_from() -> None:
    assert rule("name").source == "metadata field name"
    assert rule({"template": "{sample_id}"}).source == "template {sample_id}"
    assert rule({"value": "x"}).source == "the configured value"


def test_every_problem_of_the_tags_is_told_at_once_with_its_path() -> None:
    with pytest.raises(Unusable) as refused:
        parse(
            {
                "PatientNam": "a",
                "PatientID": {"template": "{sample}", "on_mismatch": "never", "require": True},
                "PatientSex": "foo[",
                "PatientAge": {"from": "a", "value": "b"},
                "PatientName": {"value": True, "required": "yes"},
                "StudyDate": ["a"],
                "StudyTime": {"from": " "},
            }
        )
    assert [path for path, _ in refused.value.problems] == [
        ("PatientNam",),
        ("PatientID", "require"),
        ("PatientID", "template"),
        ("PatientID", "on_mismatch"),
        ("PatientSex",),
        ("PatientAge",),
        ("PatientName", "value"),
        ("PatientName", "required"),
        ("StudyDate",),
        ("StudyTime", "from"),
    ]


def test_one_tag_cannot_have_two_rules() -> None:
    with pytest.raises(Unusable, match="the same tag as another key: PatientName"):
        parse({"PatientName": "a", "(0010,0010)": "b"})


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "TransferSyntaxUID", "PixelData", "(0009,1001)", "A.B"])
def test_what_must_not_change_cannot_be_a_tag(keyword: str) -> None:
    with pytest.raises(Unusable, match=r"\w"):
        parse({keyword: "a"})


def test_a_wrong_expression_shows_a_caret_at_its_place() -> None:
    with pytest.raises(Unusable) as refused:
        Expression("foo[")
    assert str(refused.value).splitlines()[-1].strip() == "^"


def test_an_unknown_function_is_found_when_it_is_configured() -> None:
    with pytest.raises(Unusable, match="Unknown function"):
        Expression("nofunc(a)")


@pytest.mark.parametrize(
    ("reply", "holds"),
    [({"Status": "Success"}, True), ({"Status": "Failure"}, False), ({}, False), (None, False), ("text", False)],
)
def test_a_test_for_success_holds_only_if_it_gives_true(reply: object, holds: bool) -> None:
    assert Expression("Status == 'Success'").holds(reply) is holds


def test_a_test_that_gives_a_value_other_than_true_does_not_hold() -> None:
    assert not Expression("Status").holds({"Status": "Success"})
    assert not Expression("length(Status) > `1`").holds({"Status": 5})
