"""Outages through the real worker, queue and pipeline, with scripted servers and a clock that the test moves."""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest

from moichord.errors import ApiOutage
from moichord.queue.requests import Requests
from moichord.sample import Api, State, Step
from moichord.wiring import endpoints
from tests.house import Called, House, Says, ScriptedClient, house

DAY = 86400.0
Change = Callable[[House, Mapping[str, str]], None]


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def refused_connection(api: Api) -> ApiOutage:
    return ApiOutage("nothing listens there", api=api, remedy="start the server", maybe_done=False)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "moichord.queue.circuits"]


def test_three_days_of_outage_with_500_waiting_samples_end_with_500_done(
    lab: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    names = [f"S-{number}" for number in range(500)]
    lab.drop(*names)
    up_again = lab.clock.now() + 3 * DAY

    def script(called: Called) -> ApiOutage | None:
        down = called.api is Api.UPLOAD and called.at < up_again
        return refused_connection(Api.UPLOAD) if down else None

    lab.script = script
    lab.run(3 * DAY)
    assert {one.state for one in lab.views.overview().unfinished} == {State.WAITING}
    assert len(lab.views.overview().unfinished) == 500
    probes = len(lab.calls_to(Api.UPLOAD))
    assert 3 * 288 <= probes <= 3 * 288 + 20, "one probe every five minutes"
    lab.run()

    assert lab.views.overview().counts == {State.DONE: 500}
    assert len(lab.calls_to(Api.UPLOAD)) == probes + 500
    assert len(lab.calls_to(Api.METADATA)) == len(lab.calls_to(Api.ANALYTICS)) == 500
    assert all(lab.views.detail(lab.newest(name).uuid).steps[Step.UPLOAD].tries == 0 for name in names[::50])
    assert alarms(caplog) == ["the upload API is held: nothing listens there", "the upload API answers again"]


def test_an_outage_is_shown_with_its_reason_its_remedy_and_since_when(lab: House) -> None:
    lab.drop("S1", "S2")
    lab.script = lambda called: refused_connection(called.api) if called.api is Api.UPLOAD else None
    lab.run(600)
    first = lab.sentences()[0]
    assert first.text.startswith("The image server cannot be used since ")
    assert "2 samples wait" in first.text
    assert (first.reason, first.remedy) == ("nothing listens there", "start the server")
    (circuit,) = [one for one in lab.views.overview().circuits if one.is_open]
    assert circuit.next_probe_at is not None
    assert {lab.newest(name).held_by for name in ("S1", "S2")} == {"api:upload"}


@pytest.mark.parametrize("api", Api)
def test_a_lone_sample_overnight_spends_no_tries_and_goes_on_in_the_morning(lab: House, api: Api) -> None:
    lab.drop("LONE")
    lab.script = lambda called: Says(500) if called.api is api else None
    lab.run(10 * 3600)
    waiting = lab.newest("LONE")
    assert waiting.state is State.WAITING
    assert lab.views.detail(waiting.uuid).steps[Step(str(api))].tries == 0
    lab.script = lambda _: None
    lab.run()
    assert lab.state("LONE") is State.DONE


def test_wrong_credentials_over_a_weekend_fail_nobody(lab: House) -> None:
    lab.script = lambda called: Says(401) if called.api is Api.METADATA else None
    lab.drop("S1", "S2", "S3")
    lab.run(2 * DAY)
    assert {one.state for one in lab.views.overview().unfinished} == {State.WAITING}
    lab.script = lambda _: None
    lab.run()
    assert lab.views.overview().counts == {State.DONE: 3}


def test_a_server_that_fails_one_request_in_five_stops_nobody(lab: House, caplog: pytest.LogCaptureFixture) -> None:
    lab.drop(*(f"S-{number}" for number in range(40)), images=3)
    numbers = {api: itertools.count(1) for api in Api}
    lab.script = lambda called: Says(500) if next(numbers[called.api]) % 5 == 0 else None
    lab.run()
    assert lab.views.overview().counts == {State.DONE: 40}
    assert alarms(caplog) == [], "one in five is no outage"


def test_a_sample_that_alone_draws_403_is_charged_alone_and_the_others_are_done(lab: House) -> None:
    lab.script = lambda called: Says(403) if called.sample_id == "BAD" and called.api is Api.UPLOAD else None
    lab.drop("BAD")
    for number in range(60):
        lab.drop(f"S-{number}")
        lab.run(1800)
        assert lab.state(f"S-{number}") is State.DONE
    bad = lab.newest("BAD")
    assert bad.state is State.FAILED
    assert "403" in (bad.reason or "")
    assert "given up after" in (bad.reason or "")


@pytest.mark.parametrize(("asked", "waited"), [("90", 90.0), ("3600", 3600.0), ("86400", 86400.0), ("999999", 86400.0)])
def test_retry_after_is_honoured_to_the_second_up_to_a_day(lab: House, asked: str, waited: float) -> None:
    lab.drop("S1")
    answers = iter([Says(503, {"Retry-After": asked})])
    lab.script = lambda called: next(answers, None) if called.api is Api.UPLOAD else None
    lab.run(2 * DAY)
    first, second = lab.calls_to(Api.UPLOAD)
    assert second.at - first.at == pytest.approx(waited, abs=0.02)
    assert first.key == second.key
    assert lab.state("S1") is State.DONE


def test_an_outage_of_one_server_does_not_hold_what_needs_another(lab: House) -> None:
    lab.drop("EARLY")
    lab.script = lambda called: refused_connection(Api.ANALYTICS) if called.api is Api.ANALYTICS else None
    lab.run(60)
    lab.drop("LATE")
    lab.run(60)
    assert [one.sample_id for one in lab.calls_to(Api.UPLOAD)] == ["EARLY", "LATE"]
    assert {lab.newest(name).held_by for name in ("EARLY", "LATE")} == {"api:analytics"}


# Somebody may have mended it


def reload(lab: House, changes: Mapping[str, str]) -> None:
    upload = lab.settings.upload.model_copy(update=dict(changes))
    lab.settings = lab.settings.model_copy(update={"upload": upload})
    lab.rooms.reload(lab.settings, {api: ScriptedClient(one, lab) for api, one in endpoints(lab.settings).items()})  # type: ignore[arg-type,misc]


def restart(lab: House, _: Mapping[str, str]) -> None:
    lab.close()
    lab.start()


def pause_and_resume(lab: House, _: Mapping[str, str]) -> None:
    requests = Requests(lab.database, lab.clock)
    requests.pause()
    requests.resume()


@pytest.mark.parametrize("change", [reload, restart, pause_and_resume])
def test_a_server_that_was_down_for_long_is_asked_at_once_after(lab: House, change: Change) -> None:
    lab.script = lambda called: refused_connection(called.api) if called.api is Api.UPLOAD else None
    lab.drop("S1")
    lab.run(3600)
    asked = len(lab.calls_to(Api.UPLOAD))
    change(lab, {})
    lab.run(1)
    assert len(lab.calls_to(Api.UPLOAD)) == asked + 1
    lab.script = lambda _: None
    lab.run(11)
    assert lab.state("S1") is State.DONE, "the waits began anew"


@pytest.mark.parametrize("change", [reload, restart, pause_and_resume])
def test_what_a_server_itself_has_asked_to_wait_stands_after(lab: House, change: Change) -> None:
    lab.script = lambda called: Says(403, {"Retry-After": "7200"}) if called.api is Api.UPLOAD else None
    lab.drop("S1")
    lab.run(10)
    change(lab, {})
    lab.run(3600)
    assert len(lab.calls_to(Api.UPLOAD)) == 1


def test_what_was_asked_of_another_address_does_not_stand(lab: House) -> None:
    lab.script = lambda called: Says(403, {"Retry-After": "7200"}) if called.api is Api.UPLOAD else None
    lab.drop("S1")
    lab.run(10)
    lab.script = lambda _: None
    reload(lab, {"url": "http://new-images.test/upload"})
    lab.run(1)
    assert lab.state("S1") is State.DONE
