"""What befell all, in history."""

from moichord.errors import ApiOutage
from moichord.queue.occasions import NOBODY, Occasions
from moichord.sample import Api, Step
from moichord.status.sentences import told as told_in_words
from tests.unit.status.lab import REFUSED, Lab


def told(lab: Lab) -> list[tuple[str, str]]:
    events = lab.views.history(None, None)
    return [(event.detail["occasion"], event.text) for event in events if event.sample_id == NOBODY]


def test_a_pause_and_its_end_are_remembered_once_each(lab: Lab) -> None:
    for ask in (lab.requests.pause, lab.requests.pause, lab.requests.resume, lab.requests.resume):
        ask()
    assert [kind for kind, _ in told(lab)] == ["paused", "resumed"]


def test_an_outage_is_remembered_when_it_begins_and_when_it_ends(lab: Lab) -> None:
    sample = lab.outage(lab.processing("MO-1", Step.UPLOAD))
    again = ApiOutage(REFUSED, api=Api.UPLOAD)
    lab.journal(sample).failed(Step.UPLOAD, again)
    lab.journal(sample).answered(Api.UPLOAD)
    lab.journal(sample).answered(Api.UPLOAD)
    assert told(lab) == [
        ("outage_began", f"the upload API is held: {REFUSED}"),
        ("outage_ended", "the upload API answers again"),
    ]


def test_the_daemons_start_and_stop_are_remembered(lab: Lab) -> None:
    occasions = Occasions(lab.database, lab.clock)
    occasions.started("1.2.3")
    occasions.stopped()
    assert told(lab) == [("started", "moichord 1.2.3 has started"), ("stopped", "moichord has stopped")]


def test_what_befell_all_is_in_no_samples_history(lab: Lab) -> None:
    lab.taken("MO-1")
    lab.requests.pause()
    assert [event.text for event in lab.views.history("MO-1", None)] == ["taken from the inbox"]


def test_history_calls_servers_as_everywhere(lab: Lab) -> None:
    lab.journal(lab.outage(lab.processing("MO-1", Step.UPLOAD))).answered(Api.UPLOAD)
    said = [told_in_words(event) for event in lab.views.history(None, None) if event.sample_id == NOBODY]
    assert said == [f"the image server cannot be used: {REFUSED}", "the image server answers again"]
