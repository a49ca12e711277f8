"""The language of .env files, and who wins."""

from pathlib import Path

import pytest

from moichord.oneshot.environment import parse, variables


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=v", "v"),
        ("K = v ", "v"),
        ("export K=v", "v"),
        ("export  K='v'", "v"),
        ("K=", ""),
        ("K=a=b", "a=b"),
        ("K=a b", "a b"),
        ("K=a#b", "a#b"),
        ("K=a # b", "a"),
        ("K=# b", ""),
        ("K='a # b' # c", "a # b"),
        (r"K='a\n$b'", r"a\n$b"),
        ('K="a # b"', "a # b"),
        (r'K="a\"b\\c\nd\$e\f"', 'a"b\\c\nd$e\\f'),
        ("K=$HOME/x", "$HOME/x"),
        ("K=it's", "it's"),
        ("K=Żubr", "Żubr"),
    ],
)
def test_one_line_sets_one_variable(line: str, value: str) -> None:
    found = parse(line)
    assert (found.values, found.problems) == ({"K": value}, ())


@pytest.mark.parametrize("text", ["", "\n\n", "# K=v", "   # K=v\r\n"])
def test_blank_lines_and_comments_set_nothing(text: str) -> None:
    assert parse(text).values == {}
    assert parse(text).problems == ()


def test_lines_may_end_as_on_windows_and_the_later_one_counts() -> None:
    assert parse("A=1\r\nB=2\r\nA=3\r\n").values == {"A": "3", "B": "2"}


def test_every_line_that_cannot_be_understood_is_named_without_its_value() -> None:
    found = parse('A=1\nsecret words\n2B=secret\nC=\'secret\nD="sec"ret"\n', "my.env")
    assert found.values == {"A": "1"}
    assert found.problems == (
        "my.env:2: is not NAME=VALUE",
        "my.env:3: is not NAME=VALUE",
        "my.env:4: C: the quotes do not match",
        "my.env:5: D: the quotes do not match",
    )


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes("\ufeffA=file\nB=file\n".encode())
    assert variables({"A": "environment"}, file).values == {"A": "environment", "B": "file"}


def test_no_file_or_a_folder_of_its_name_sets_nothing(tmp_path: Path) -> None:
    assert variables({"A": "1"}, tmp_path / ".env").values == {"A": "1"}
    (tmp_path / ".env").mkdir()
    assert variables({"A": "1"}, tmp_path / ".env").values == {"A": "1"}


def test_what_is_set_does_not_show_itself() -> None:
    assert "hidden" not in repr(parse("U_KEY=hidden"))


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [(0o644, "U_KEY=k", True), (0o640, "U_KEY=k", True), (0o600, "U_KEY=k", False), (0o644, "U_URL=u", False)],
)
def test_keys_that_others_can_read_are_warned_of(tmp_path: Path, mode: int, text: str, warned: bool) -> None:
    file = tmp_path / ".env"
    file.write_text(text)
    file.chmod(mode)
    said = (".env holds keys and can be read by others: run chmod 600 .env.",) if warned else ()
    assert variables({}, file).warnings == said
