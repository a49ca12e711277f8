"""What of a reply is read, kept and quoted."""

import json

import pytest

from moichord.apis.replies import DEEPEST, KEPT_JSON, KEPT_TEXT, QUOTED, NotJson, kept, parse, quote


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"{", b"\xff\xfe\xfd", b"NaN", b"[" * 50, b"1" * 10_000, b'{"a": Infinity}'],
)
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(NotJson):
        parse(content)


def nested(levels: int) -> bytes:
    return b'[{"a": ' * (levels // 2) + b"[]" * (levels % 2) + b"0" * (1 - levels % 2) + b"}]" * (levels // 2)


@pytest.mark.parametrize("levels", [DEEPEST + 1, DEEPEST + 2, 900, 980, 990, 1000, 100_000])
def test_json_that_is_nested_too_deeply_to_be_written_again_is_refused_and_kept_as_text(levels: int) -> None:
    content = nested(levels)
    with pytest.raises(NotJson, match="is JSON of more than 100 levels"):
        parse(content)
    assert kept(content) == content.decode()[:KEPT_TEXT]


@pytest.mark.parametrize("content", [nested(DEEPEST), nested(DEEPEST - 1), b"[" + b"[], " * 500 + b"{}]"])
def test_json_of_many_brackets_is_read_if_it_is_not_too_deep(content: bytes) -> None:
    assert parse(content) == json.loads(content)


@pytest.mark.parametrize(
    ("content", "value"),
    [(b'{"a": 1}', {"a": 1}), (b"\xef\xbb\xbf[]", []), ('"ä"'.encode("utf-16"), "ä"), (b" null ", None)],
)
def test_json_is_read_in_any_unicode_encoding(content: bytes, value: object) -> None:
    assert parse(content) == value


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"", None),
        (b" \r\n", None),
        (b'{"ID": "x"}', {"ID": "x"}),
        (b"stored\x1b[31m\x00", "stored\\x1b[31m\\x00"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_reply_is_kept_as_json_or_printable_text_or_not_at_all(content: bytes, value: object) -> None:
    assert kept(content) == value


def test_a_long_reply_is_kept_cut_short() -> None:
    assert kept(b"x" * 5000) == "x" * KEPT_TEXT
    large = json.dumps(["x" * KEPT_JSON]).encode()
    assert kept(large) == large.decode()[:KEPT_TEXT]


def test_a_quote_is_one_short_printable_line() -> None:
    assert quote(b"") is None
    assert quote(b" one\r\n  two\t\x1b") == "one two \\x1b"
    text = quote("ä".encode() * 5000)
    assert text is not None
    assert len(text) == QUOTED
    assert text.endswith("…")
