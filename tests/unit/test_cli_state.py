"""The commands that look at a state, and those that ask the daemon for something."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.cli import main
from moichord.config.example import example
from moichord.queue.database import Database
from moichord.queue.holder import lock_of
from moichord.sample import RECEIPT_NAME, State, Step
from tests.unit.status.lab import HandClock, Lab

Said = pytest.CaptureFixture[str]
AT_ONCE = "The daemon carries it out within a second."
LATER = "No daemon is running: it is carried out when one starts."
MEND = "Mend it."


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOICHORD_CONFIG", raising=False)
    lab = Lab(tmp_path)
    (tmp_path / "moichord.yaml").write_text(example(tmp_path, lab.state))
    yield lab
    lab.close()


@pytest.fixture
def daemon(lab: Lab) -> Iterator[None]:
    lock = lock_of(lab.state)
    assert lock.try_acquire()
    yield
    lock.release()


def failed(lab: Lab, name: str) -> None:
    lab.ended(lab.processing(name), State.FAILED, "It is broken.", MEND)


def asked(lab: Lab) -> list[tuple[str, str, Step | None]]:
    return [(one.kind, one.submission.sample_id, one.from_step) for one in lab.requests.open()]


def test_status_needs_no_daemon_and_says_that_none_runs(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["status"]) == 0
    said = capsys.readouterr()
    assert "No daemon is running" in said.out
    assert "MO-1  Needs attention" in said.out
    assert said.err == ""


@pytest.mark.usefixtures("daemon")
def test_status_says_that_a_daemon_runs(lab: Lab, capsys: Said) -> None:
    assert main(["status"]) == 0
    assert "The daemon is running." in capsys.readouterr().out


def test_status_is_json_on_request_and_nothing_else(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["status", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["version"] == 1
    assert report["daemon"] == {"running": False}
    assert [one["sample_id"] for one in report["attention"]] == ["MO-1"]


def test_status_of_one_sample_says_where_it_lies(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    in_work = lab.taken("MO-2")
    for name, place in {"MO-1": lab.failed / "MO-1", "MO-2": lab.root / "work" / in_work.uuid / "MO-2"}.items():
        assert main(["status", name]) == 0
        assert str(place) in capsys.readouterr().out


def test_status_of_an_arriving_sample_says_why_it_is_not_taken(lab: Lab, capsys: Said) -> None:
    lab.arriving("MO-1", "waiting for COMPLETE")
    lab.arriving("my slides", "its name is not a sample ID", sample_id=None)
    assert main(["status", "MO-1"]) == 0
    assert "waiting for COMPLETE" in capsys.readouterr().out
    assert main(["status", "my slides", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "its name is not a sample ID"


def test_a_sample_that_was_dropped_again_shows_both(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    lab.arriving("MO-1", "waiting for COMPLETE")
    assert main(["status", "MO-1"]) == 0
    said = capsys.readouterr().out
    assert "It is broken." in said
    assert "waiting for COMPLETE" in said


@pytest.mark.parametrize("given", [["status"], ["history"], ["retry"], ["cancel"]])
def test_an_unknown_sample_is_refused_by_name(lab: Lab, given: list[str], capsys: Said) -> None:
    assert main([*given, "NOPE"]) == 1
    assert "No sample NOPE is known." in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--watch", "--json"], ["--watch", "MO-1"], ["--watch"]])
def test_watching_is_for_people_at_a_terminal(lab: Lab, given: list[str]) -> None:
    assert main(["status", *given]) == 2


@pytest.mark.parametrize("given", [["status"], ["history"], ["retry", "MO-1"], ["pause"]])
def test_without_a_state_it_says_so_and_makes_none(lab: Lab, given: list[str], capsys: Said) -> None:
    lab.close()
    shutil.rmtree(lab.state.parent)
    lab.state.parent.mkdir()
    assert main(given) == 1
    assert "There is no state" in capsys.readouterr().err
    assert list(lab.state.parent.iterdir()) == []


def test_a_state_of_another_version_is_refused_and_left_alone(lab: Lab, capsys: Said) -> None:
    set_version = "UPDATE facts SET value = '99' WHERE name = 'schema_version'"
    lab.database.write(lambda connection: connection.exec_driver_sql(set_version).rowcount)
    assert main(["pause"]) == 78
    assert "99" in capsys.readouterr().err
    assert lab.views.fact("schema_version") == 99


def test_history_is_told_of_all_of_one_and_since_a_time(lab: Lab, capsys: Said) -> None:
    lab.clock.at = 1000.0
    failed(lab, "MO-1")
    lab.clock.at = 2_000_000_000.0
    failed(lab, "MO-2")
    counts = {}
    for given in ([], ["MO-1"], ["--since", "100d"], ["MO-1", "--since", "1h"]):
        assert main(["history", *given]) == 0
        counts[" ".join(given)] = len(capsys.readouterr().out.splitlines())
    assert main(["history", "MO-1", "--json"]) == 0
    assert [event["state"] for event in json.loads(capsys.readouterr().out)["events"]] == [
        *("ready", "processing", "failed")
    ]
    assert (counts[""], counts["MO-1"], counts["--since 100d"]) == (6, 4, 3)


def test_the_history_of_a_sample_has_a_heading_for_each_attempt(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    lab.taken("MO-1")
    assert main(["history", "MO-1"]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Attempt")]
    assert headings == ["Attempt 1", "Attempt 2"]


def test_hints_name_the_configuration_that_the_command_was_given(
    lab: Lab, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(lab, "MO-1")
    (lab.root / "elsewhere").mkdir()
    monkeypatch.chdir(lab.root / "elsewhere")
    config = lab.root / "moichord.yaml"
    for given, code in {("pause",): 0, ("status",): 0, ("status", "MO-9"): 1}.items():
        assert main(["-c", str(config), *given]) == code
        said = "".join(capsys.readouterr())
        assert f"moichord -c {config} " in said
        assert "moichord resume" not in said
        assert "moichord status" not in said
        assert "moichord run" not in said


def test_a_time_that_is_none_is_wrong_usage(lab: Lab, capsys: Said) -> None:
    assert main(["history", "--since", "yesterday"]) == 2
    assert "--since" in capsys.readouterr().err


def test_retry_asks_the_daemon_and_says_when_it_happens(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["retry", "MO-1"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("MO-1: goes on at metadata.\n", f"{LATER}\n")
    assert asked(lab) == [("retry", "MO-1", None)]


@pytest.mark.usefixtures("daemon")
def test_a_running_daemon_carries_it_out_at_once(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    for given in (["retry", "MO-1"], ["pause"], ["resume"]):
        assert main(given) == 0
        assert capsys.readouterr().err == f"{AT_ONCE}\n"


def test_a_retry_while_all_is_paused_says_that_nothing_goes_on_yet(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    lab.requests.pause()
    assert main(["retry", "MO-1"]) == 0
    assert "moichord is paused: nothing goes on before `moichord resume`." in capsys.readouterr().err


def test_a_sample_that_was_removed_from_work_cannot_be_retried(lab: Lab, capsys: Said) -> None:
    lab.endings.conclude_without_folder(lab.processing("MO-1"), State.FAILED, "It was removed.", "Drop it again.")
    assert main(["retry", "MO-1"]) == 1
    said = capsys.readouterr().err
    assert "The folder of MO-1 was removed from work" in said
    assert "Drop the sample into the inbox again." in said
    assert asked(lab) == []


def test_quiet_leaves_out_what_is_not_wrong(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["-q", "retry", "MO-1"]) == 0
    assert capsys.readouterr().err == ""


def test_asking_twice_asks_once(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    lab.taken("MO-2")
    for given in (["retry", "MO-1"], ["cancel", "MO-2"]):
        assert main(given) == main(given) == 0
        assert "asked for already" in capsys.readouterr().out
    assert [kind for kind, _, _ in asked(lab)] == ["retry", "cancel"]


def test_retry_all_takes_those_that_need_somebody(lab: Lab) -> None:
    failed(lab, "MO-1")
    failed(lab, "MO-2")
    lab.ended(lab.processing("MO-3"), State.CANCELLED, "Cancelled by request.")
    lab.ended(lab.processing("MO-4", Step.ARCHIVE), State.DONE)
    assert main(["retry", "--all"]) == 0
    assert [sample for _, sample, _ in asked(lab)] == ["MO-1", "MO-2"]


def test_retry_all_of_nothing_is_fine(lab: Lab, capsys: Said) -> None:
    assert main(["retry", "--all"]) == 0
    assert "No sample has failed" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["retry"], ["retry", "--all", "MO-1"], ["retry", "MO-1", "--from", "lunch"]])
def test_retry_wants_either_names_or_all(lab: Lab, given: list[str]) -> None:
    assert main(given) == 2


def test_what_cannot_be_retried_is_refused_with_the_reason(lab: Lab, capsys: Said) -> None:
    lab.taken("MO-1")
    lab.ended(lab.processing("MO-2", Step.ARCHIVE), State.DONE)
    failed(lab, "MO-3")
    refusals = {
        ("MO-1",): "only a failed or cancelled sample can be retried",
        ("MO-2",): "only analytics can be repeated",
        ("MO-3", "--from", "upload"): "it can only begin at metadata",
    }
    for given, reason in refusals.items():
        assert main(["retry", *given]) == 1
        assert reason in capsys.readouterr().err
    assert asked(lab) == []


def test_analytics_of_a_done_sample_can_be_repeated(lab: Lab) -> None:
    lab.ended(lab.processing("MO-2", Step.ARCHIVE), State.DONE)
    assert main(["retry", "MO-2", "--from", "analytics"]) == 0
    assert asked(lab) == [("retry", "MO-2", Step.ANALYTICS)]


def with_another_receipt(folder: Path) -> None:
    (folder / RECEIPT_NAME).write_text('{"submission": "3f9b0c6e-9f6b-4c1c-8f0e-6f6d8f3d1a11"}')


@pytest.mark.parametrize(
    "spoil",
    [shutil.rmtree, lambda folder: next(folder.iterdir()).unlink(), with_another_receipt],
    ids=["gone", "altered", "of another"],
)
def test_a_folder_that_is_gone_or_altered_is_refused_by_name(
    lab: Lab, spoil: Callable[[Path], None], capsys: Said
) -> None:
    failed(lab, "MO-1")
    spoil(lab.failed / "MO-1")
    assert main(["retry", "MO-1"]) == 1
    assert str(lab.failed / "MO-1") in capsys.readouterr().err
    assert asked(lab) == []


def failed_while_sending(lab: Lab, name: str) -> list[Path]:
    """Its upload had begun; the files of its images, as they were planned."""
    submission = lab.processing(name, Step.UPLOAD)
    lab.sent(submission, 1)
    lab.ended(submission, State.FAILED, "It is broken.", MEND)
    files = []
    for image in lab.journal(submission).images():
        file = lab.failed / name / image.relative_path
        file.touch()
        os.truncate(file, image.size)
        files.append(file)
    return files


@pytest.mark.parametrize(
    ("spoil", "change"),
    [(Path.unlink, "is gone"), (lambda file: os.truncate(file, 7), "has another size")],
    ids=["gone", "cut"],
)
def test_once_it_was_sent_in_part_a_sample_with_altered_images_is_refused_by_name(
    lab: Lab, spoil: Callable[[Path], None], change: str, capsys: Said
) -> None:
    *_, last = failed_while_sending(lab, "MO-1")
    spoil(last)
    assert main(["retry", "MO-1"]) == 1
    assert f"{lab.failed / 'MO-1'} was altered: {last.name} {change}" in capsys.readouterr().err
    assert asked(lab) == []


def test_once_it_was_sent_in_part_a_sample_with_the_same_images_is_retried(lab: Lab, capsys: Said) -> None:
    failed_while_sending(lab, "MO-1")
    assert main(["retry", "MO-1"]) == 0
    assert capsys.readouterr().out == "MO-1: goes on at upload.\n"


def test_where_this_user_may_not_look_the_daemon_is_said_to_decide(
    lab: Lab, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    failed(lab, "MO-1")
    monkeypatch.setattr("moichord.spool.receipt_owner", forbidden)  # tests may run as root, who may look anywhere
    assert main(["retry", "MO-1"]) == 0
    assert "you may not look into it; the daemon will" in capsys.readouterr().out
    assert asked(lab) == [("retry", "MO-1", None)]


def test_a_refusal_of_the_daemon_is_shown_to_whoever_asked(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["retry", "MO-1"]) == 0
    (request,) = lab.requests.open()
    lab.requests.done(request, "refused: failed/MO-1 was altered: b.dcm was added")
    capsys.readouterr()
    for given in (["status", "MO-1"], ["history", "MO-1"]):
        assert main(given) == 0
        assert "retry refused: failed/MO-1 was altered: b.dcm was added" in capsys.readouterr().out


def test_a_request_that_was_carried_out_adds_nothing_to_what_happened(lab: Lab) -> None:
    failed(lab, "MO-1")
    assert main(["retry", "MO-1"]) == 0
    (request,) = lab.requests.open()
    before = lab.views.history("MO-1", None)
    lab.requests.done(request, "goes on at metadata")
    assert lab.views.history("MO-1", None) == before


def test_of_several_those_that_can_be_are_retried_and_the_exit_code_is_3(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    assert main(["retry", "MO-1", "NOPE"]) == 3
    said = capsys.readouterr()
    assert "MO-1: goes on" in said.out
    assert "NOPE" in said.err
    assert asked(lab) == [("retry", "MO-1", None)]


def test_cancel_asks_for_what_is_on_the_way(lab: Lab, capsys: Said) -> None:
    lab.taken("MO-1")
    assert main(["cancel", "MO-1"]) == 0
    assert asked(lab) == [("cancel", "MO-1", None)]
    assert "is to be cancelled" in capsys.readouterr().out


def test_cancel_refuses_what_has_ended_and_what_is_still_arriving(lab: Lab, capsys: Said) -> None:
    failed(lab, "MO-1")
    lab.arriving("MO-2")
    assert main(["cancel", "MO-1"]) == 1
    assert "already" in capsys.readouterr().err
    assert main(["cancel", "MO-2"]) == 1
    assert "out of the inbox" in capsys.readouterr().err


def test_pause_lasts_until_resume_and_both_may_be_repeated(lab: Lab, capsys: Said) -> None:
    assert main(["pause"]) == main(["pause"]) == 0
    assert "was paused already" in capsys.readouterr().out
    assert lab.requests.is_paused()
    assert main(["resume"]) == main(["resume"]) == 0
    assert "was not paused" in capsys.readouterr().out
    assert not lab.requests.is_paused()


def test_pausing_again_keeps_the_first_moment(lab: Lab) -> None:
    lab.requests.pause()
    main(["pause"])
    assert lab.views.overview().paused_at == HandClock().at


def test_no_command_that_looks_leaves_the_writer_running(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "write", lambda *_: pytest.fail("wrote"))
    assert main(["status"]) == main(["history"]) == 0
