"""A list of expected samples, and what became of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from moichord.cli import main
from moichord.config.example import example
from moichord.queue.arrivals import Arrival
from moichord.queue.views import Newest
from moichord.sample import State, Step
from moichord.status.reconcile import ListUnreadable, expected_ids, listed_ids, reconcile, summary
from tests.fault_server import FaultServer, answering
from tests.unit.status.lab import NOON, Lab

Said = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", []),
        (b"\n \n# only a comment\n", []),
        (b"MO-1\nMO-2\r\n\nMO-1\n", ["MO-1", "MO-2"]),
        (b"\xef\xbb\xbfsample_id,species\nMO-1,dog\nMO-2,cat\n", ["MO-1", "MO-2"]),
        (b'"MO-1";"dog, small"\n"MO-2";cat\n', ["MO-1", "MO-2"]),
        (b"MO-1\tdog\n  MO-2 \tcat\n", ["MO-1", "MO-2"]),
        ("ID\r\nMO-1\r\n".encode("utf-16"), ["MO-1"]),
        (b"caf\xe9\n", ["caf\udce9"]),
        (b"MO-1\x00\n", ["MO-1"]),
    ],
)
def test_a_list_is_a_name_a_line_or_the_first_column_of_a_table(content: bytes, names: list[str]) -> None:
    assert expected_ids(content) == names


def newest(name: str, state: State) -> Newest:
    return Newest(name, 1, state, None, NOON, None)


def test_every_sample_is_of_one_kind() -> None:
    known = [newest(str(state), state) for state in State if state is not State.RECEIVING]
    arriving = [
        Arrival("done", "done", "so", "m", NOON, NOON, 1, 1, 1),
        Arrival("?", None, "so", "m", NOON, NOON, 1, 1, 1),
    ]
    result = reconcile(["done", "ready", "failed", "nowhere", "cancelled"], known, arriving)
    kinds = {kind: [one.sample_id for one in result.of(kind)] for kind in ("missing", "failed", "waiting", "done")}
    assert kinds == {
        "missing": ["nowhere"],
        "failed": ["failed", "cancelled"],
        "waiting": ["done", "ready"],
        "done": [],
    }
    assert [one.sample_id for one in result.unexpected] == ["processing", "waiting"]
    assert summary(result) == "5 expected: 2 waiting, 2 failed, 1 missing; 2 unexpected"


@pytest.fixture
def here(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a configuration, whose state knows three samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOICHORD_CONFIG", raising=False)
    (tmp_path / "moichord.yaml").write_text(example(tmp_path, lab.state))
    lab.ended(lab.processing("MO-1"), State.FAILED, "It was broken.")
    lab.ended(lab.processing("MO-1", Step.ARCHIVE), State.DONE)
    lab.ended(lab.processing("MO-2"), State.FAILED, "It is broken.")
    lab.arriving("MO-3", "waiting for COMPLETE")
    yield tmp_path


def test_a_missing_sample_is_named_and_the_exit_code_is_3(here: Path, capsys: Said) -> None:
    (here / "list").write_text("MO-1\nMO-2\nMO-4\n")
    assert main(["reconcile", "list"]) == 3
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[0] == ["missing", "MO-4"]
    assert words[1][:2] == ["failed", "MO-2"]
    assert words[2][:3] == ["unexpected", "MO-3", "receiving"]
    assert " ".join(words[3]) == "3 expected: 1 done, 1 failed, 1 missing; 1 unexpected."


def test_the_report_is_json_on_request_and_the_exit_code_0_when_nothing_is_missing(here: Path, capsys: Said) -> None:
    (here / "list").write_text("MO-1\n")
    assert main(["reconcile", "list", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"expected": 1, "missing": 0, "failed": 0, "waiting": 0, "done": 1, "unexpected": 2}
    assert report["done"][0]["attempt_number"] == 2


def test_what_came_long_ago_does_not_count_with_since(here: Path, capsys: Said) -> None:
    (here / "list").write_text("MO-1\n")
    assert main(["reconcile", "list", "--since", "7d", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert [one["sample_id"] for one in report["missing"]] == ["MO-1"]


@pytest.mark.usefixtures("here")
def test_a_list_without_samples_is_wrong_usage(capsys: Said) -> None:
    Path("list").touch()
    assert main(["reconcile", "list"]) == 2
    assert "names no sample" in capsys.readouterr().err


def test_names_in_a_list_are_text_not_markup_and_never_control_characters(here: Path, capsys: Said) -> None:
    (here / "list").write_bytes(b"[red]x[/red] \x1b[31m\n\xff\xfe-caf\xe9\n")
    assert main(["reconcile", "list"]) == 3
    said = capsys.readouterr().out
    assert "[red]x[/red] \\x1b[31m" in said
    assert "\x1b" not in said
    assert main(["reconcile", "list", "--json"]) == 3
    assert [one["sample_id"] for one in json.loads(capsys.readouterr().out)["missing"]][1] == "\\xff\\xfe-caf\\xe9"


# The list of the laboratory's system


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ([], []),
        (["MO-1", " MO-2 ", "MO-1"], ["MO-1", "MO-2"]),
        ([4711, "4712"], ["4711", "4712"]),
        ([{"sample_id": "MO-1", "owner": "Ann"}, {"sample_id": 7}], ["MO-1", "7"]),
    ],
)
def test_a_servers_list_holds_ids_or_objects_with_a_sample_id(reply: object, names: list[str]) -> None:
    assert listed_ids(reply) == names


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "holds no list"),
        ({"results": []}, "holds no list"),
        (["MO-1", None], "entry 2"),
        ([True], "entry 1"),
        ([{"barcode": "MO-1"}], "entry 1"),
        ([[]], "entry 1"),
        ([" "], "entry 1"),
    ],
)
def test_what_is_no_list_of_samples_is_refused_with_the_key_that_mends_it(reply: object, said: str) -> None:
    with pytest.raises(ListUnreadable, match=said) as caught:
        listed_ids(reply)
    assert "metadata.list_ids" in (caught.value.remedy or "")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MD_KEY": "md-secret", "U_KEY": "u", "A_KEY": "a"}.items():
        monkeypatch.setenv(name, value)
    for name in ("MD_URL", "U_URL", "A_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")


def configure(here: Path, **metadata: object) -> None:
    file = here / "moichord.yaml"
    content = yaml.safe_load(file.read_text())
    content["metadata"] |= metadata
    file.write_text(yaml.safe_dump(content))


@pytest.mark.usefixtures("keys")
def test_without_a_file_the_metadata_server_is_asked_for_the_list(here: Path, capsys: Said) -> None:
    with FaultServer(answering(200, b'{"open": [{"barcode": "MO-1"}, {"barcode": "MO-4"}]}')) as server:
        configure(here, list_url=f"{server.url}?open=1", list_ids="open[].barcode", method="POST")
        assert main(["reconcile"]) == 3
    (seen,) = server.requests
    assert seen.line.startswith("GET ")
    assert "?open=1" in seen.line
    assert seen.headers["x-api-key"] == "md-secret"
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()[:1]] == [["missing", "MO-4"]]
    assert "md-secret" not in said.out + said.err


@pytest.mark.usefixtures("keys")
def test_an_empty_list_of_the_server_means_that_nothing_is_expected(here: Path, capsys: Said) -> None:
    with FaultServer(answering(200, b"[]")) as server:
        configure(here, list_url=server.url)
        assert main(["reconcile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["unexpected"] == 3


@pytest.mark.usefixtures("here", "keys")
def test_without_a_file_and_without_a_servers_list_it_says_what_to_give(capsys: Said) -> None:
    assert main(["reconcile"]) == 1
    said = capsys.readouterr().err
    assert "No list of expected samples is given." in said
    assert "metadata.list_url" in said


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, b"<html>", 75, "is not JSON"),
        (204, b"", 1, "holds no list"),
        (200, b'{"results": []}', 1, "metadata.list_ids"),
        (503, b"", 75, "Try again later."),
        (401, b"", 75, "Check metadata.key"),
        (404, b"", 1, "Check metadata.list_url."),
        (400, b"no such thing", 1, "It wrote: no such thing"),
        (302, b"", 75, "final address into metadata.list_url"),
    ],
)
def test_a_list_that_cannot_be_had_is_explained_and_nothing_counts_as_missing(
    here: Path, capsys: Said, status: int, body: bytes, code: int, said: str
) -> None:
    with FaultServer(answering(status, body)) as server:
        configure(here, list_url=server.url)
        assert main(["reconcile"]) == code
    told = capsys.readouterr()
    assert said in told.err
    assert "moichord tries again" not in told.err
    assert told.out == ""
