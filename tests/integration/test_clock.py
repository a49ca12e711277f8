"""The machine's clock is set, or the machine sleeps: no sample fails for it, and none waits for it."""

import logging
from collections.abc import Iterator

import pytest

from moichord.queue.requests import Requests
from moichord.sample import Api, State, Step
from tests.house import Called, House, Says, house

DAY = 86400.0
HOUR = 3600.0


@pytest.fixture
def lab() -> Iterator[House]:
    with house({"retry": {"give_up_after": "3h", "max_tries": 1000}}) as made:
        yield made


def refuse_bad(called: Called) -> Says | None:
    """BAD fails every ten minutes, and nobody else."""
    bad = called.sample_id == "BAD" and called.api is Api.UPLOAD
    return Says(500, {"Retry-After": "600"}) if bad else None


def failing(lab: House) -> None:
    """BAD has failed for half an hour while others went through; it waits for its next try."""
    lab.script = refuse_bad
    lab.drop("BAD")
    go_on(lab, 0.5)
    assert lab.views.detail(lab.newest("BAD").uuid).steps[Step.UPLOAD].tries > 1
    assert lab.state("BAD") is State.WAITING


def go_on(lab: House, hours: float) -> None:
    """That time passes, and every quarter of an hour another sample goes through: what fails meanwhile counts."""
    for _ in range(round(4 * hours)):
        name = f"GOOD-{len(lab.calls)}"
        lab.drop(name)
        lab.run(HOUR / 4)
        assert lab.state(name) is State.DONE


def require_three_hours(lab: House) -> None:
    """BAD has hardly more than half an hour of its own behind it: it is given up when it has had three."""
    go_on(lab, 2)
    assert lab.state("BAD") is State.WAITING, "its own time is not over yet"
    go_on(lab, 1)
    assert lab.state("BAD") is State.FAILED
    assert "given up after 3" in (lab.newest("BAD").reason or "")


def test_it_is_given_up_after_a_time_that_passed(lab: House) -> None:
    failing(lab)
    require_three_hours(lab)


@pytest.mark.parametrize("days", [4, 400, -4])
def test_a_clock_that_is_set_does_not_count_towards_giving_up(lab: House, days: int) -> None:
    failing(lab)
    lab.clock.jump(days * DAY)
    require_three_hours(lab)


def test_a_clock_that_is_set_to_and_fro_changes_nothing(lab: House) -> None:
    failing(lab)
    for days in (50, -50, -7, 7):
        lab.clock.jump(days * DAY)
        lab.run(1)
    require_three_hours(lab)


def test_a_step_is_forgotten_by_no_restart(lab: House) -> None:
    failing(lab)
    lab.clock.jump(4 * DAY)
    lab.run(1)
    lab.close()
    lab.start()
    require_three_hours(lab)


@pytest.mark.parametrize("days", [4, 400, -4])
def test_a_clock_that_is_set_while_no_daemon_runs_does_not_count_either(lab: House, days: int) -> None:
    failing(lab)
    lab.close()
    lab.clock.advance(HOUR)
    lab.clock.jump(days * DAY)
    lab.start()
    go_on(lab, 2)
    assert lab.state("BAD") is State.WAITING


def test_a_holiday_without_a_daemon_does_not_count_even_if_somebody_asked_for_a_retry_before_its_end(
    lab: House,
) -> None:
    failing(lab)
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("LOST")
    lab.run(1)
    lab.script = refuse_bad
    lab.clock.advance(4 * DAY)
    Requests(lab.database, lab.clock).ask_retry(lab.newest("LOST"), None)  # as the command does, beside no daemon
    lab.close()
    lab.start()
    require_three_hours(lab)


@pytest.mark.parametrize("days", [4, -4])
def test_a_clock_that_is_set_in_a_pause_does_not_count(lab: House, days: int) -> None:
    failing(lab)
    requests = Requests(lab.database, lab.clock)
    requests.pause()
    lab.clock.jump(days * DAY)
    lab.run(HOUR)
    lab.clock.advance(4 * DAY)
    requests.resume()
    require_three_hours(lab)


@pytest.mark.parametrize("days", [4, -4])
@pytest.mark.parametrize("when", ["at its beginning", "at its end"])
def test_a_clock_that_is_set_just_when_a_pause_begins_or_ends_counts_once(lab: House, days: int, when: str) -> None:
    failing(lab)
    before = held(lab)
    requests = Requests(lab.database, lab.clock)
    if when == "at its beginning":
        lab.clock.jump(days * DAY)  # and the daemon has not looked since
    requests.pause()
    lab.run(DAY if when == "at its beginning" else 0)
    lab.clock.advance(0 if when == "at its beginning" else DAY)
    if when == "at its end":
        lab.clock.jump(days * DAY)
    requests.resume()
    lab.run(1)
    assert held(lab) - before == pytest.approx((days + 1) * DAY, abs=10)
    require_three_hours(lab)


def held(lab: House) -> float:
    with lab.database.read() as connection:
        return float(
            connection.exec_driver_sql("SELECT held_seconds FROM submissions WHERE sample_id = 'BAD'").scalar_one()
        )


@pytest.mark.parametrize("days", [4, -4])
def test_a_clock_that_is_set_while_a_server_is_down_is_excluded_once(lab: House, days: int) -> None:
    failing(lab)
    lab.script = lambda called: Says(401) if called.api is Api.UPLOAD else None
    lab.run(HOUR)
    assert lab.newest("BAD").held_by == "api:upload"
    lab.clock.jump(days * DAY)
    lab.run(HOUR)
    lab.script = refuse_bad
    require_three_hours(lab)


@pytest.mark.parametrize("days", [0.5, 1, 4, 20_000])
@pytest.mark.parametrize("running", [True, False])
def test_a_clock_that_is_set_back_lets_nothing_wait_longer_than_it_had_to(
    lab: House, days: float, running: bool
) -> None:
    answers = iter([Says(503, {"Retry-After": "600"})])
    lab.script = lambda called: next(answers, None) if called.api is Api.UPLOAD else None
    lab.drop("S1")
    lab.run(1)
    assert lab.state("S1") is State.WAITING
    if running:
        lab.clock.jump(-days * DAY)
    else:
        lab.close()
        lab.clock.jump(-days * DAY)
        lab.start()
    lab.run(5)
    assert lab.state("S1") is State.WAITING, "it still has to wait for what the server asked for"
    lab.run(600)
    assert lab.state("S1") is State.DONE


def test_a_clock_that_is_set_back_keeps_no_probe_waiting(lab: House) -> None:
    lab.script = lambda called: Says(401) if called.api is Api.UPLOAD else None
    lab.drop("S1")
    lab.run(HOUR)
    lab.clock.jump(-12 * HOUR)
    lab.script = lambda _: None
    lab.run(301)
    assert lab.state("S1") is State.DONE


def test_what_is_believed_of_files_that_settle_in_work_does_not_follow_the_clock(lab: House) -> None:
    (one,) = lab.drop("S1")
    folder = lab.rooms.spool.folder(one.uuid, one.folder_name)
    whole = (folder / "0.dcm").read_bytes()
    (folder / "0.dcm").write_bytes(whole[:-10])
    lab.run(2)
    assert "still being written" in (lab.newest("S1").reason or "")
    lab.clock.jump(4 * DAY)
    lab.run(60)
    assert lab.state("S1") is State.WAITING, "nobody has watched it for incomplete_timeout"
    (folder / "0.dcm").write_bytes(whole)
    lab.run(60)
    assert lab.state("S1") is State.DONE


@pytest.mark.parametrize("running", [True, False])
def test_a_late_laboratory_has_its_whole_time_though_the_clock_is_set_ahead(running: bool) -> None:
    with house({"metadata": {"unknown_sample_grace": "2h"}}) as lab:
        lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
        lab.drop("LATE")
        lab.run(HOUR / 2)
        if running:
            lab.clock.jump(4 * DAY)
            lab.run(HOUR)
        else:
            lab.close()
            lab.clock.jump(4 * DAY)
            lab.start()
            lab.run(HOUR)
        assert lab.state("LATE") is State.WAITING
        lab.run(HOUR)
        assert lab.state("LATE") is State.FAILED


def test_to_and_fro_leaves_a_late_laboratory_its_time() -> None:
    with house({"metadata": {"unknown_sample_grace": "2h"}}) as lab:
        lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
        lab.drop("LATE")
        for days in (50, -50):
            lab.clock.jump(days * DAY)
            lab.run(HOUR / 2)
        assert lab.state("LATE") is State.WAITING
        lab.run(1.5 * HOUR)
        assert lab.state("LATE") is State.FAILED


@pytest.mark.parametrize("running", [True, False])
def test_what_is_incomplete_is_waited_for_as_long_though_the_clock_is_set_ahead(running: bool) -> None:
    with house({"watch": {"settle_time": "1s", "incomplete_timeout": "2h", "min_free_space": "0B"}}) as lab:
        folder = lab.settings.folders.inbox / "HALF"
        folder.mkdir()
        (folder / "0.dcm").write_bytes(b"")
        look(lab)
        if running:
            lab.clock.jump(4 * DAY)
            lab.run(10)
        restart(lab, jump=0.0 if running else 4 * DAY)
        look(lab)
        assert [one.folder_name for one in lab.views.overview().receiving] == ["HALF"]
        lab.clock.advance(2 * HOUR)
        restart(lab)
        look(lab)
        assert lab.views.overview().receiving == []
        assert "Still incomplete after 2 h" in (lab.newest("HALF").doomed or "")


def restart(lab: House, jump: float = 0.0) -> None:
    lab.close()
    lab.clock.jump(jump)
    lab.start()
    lab.rooms.intake.restore()


def look(lab: House) -> None:
    for _ in range(4):
        lab.rooms.intake.look()
        lab.clock.advance(2)


def test_a_step_is_said_once(lab: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    lab.clock.jump(4 * DAY)
    lab.drop("S1", "S2", "S3")
    lab.run(60)
    lab.clock.jump(30)  # corrected a little: nothing to say
    lab.run(60)
    lab.clock.jump(-HOUR)
    lab.run(60)
    said = [one.getMessage() for one in caplog.records if one.name == "moichord.queue.timekeeping"]
    assert [one.split(":")[0] for one in said] == [
        "the clock of this machine went 345600 s ahead",
        "the clock of this machine went back by 3570 s",
    ]
