"""One sample, drawn."""

import io
from pathlib import Path

from moichord.sample import State, Step
from moichord.status.terminal import console_for
from moichord.status.timeline import draw_arrival, draw_history, draw_sample
from tests.unit.status.lab import PATIENT, Lab, whole_story


def story_of(lab: Lab, sample_id: str) -> str:
    submission = lab.views.newest(sample_id)
    assert submission is not None
    stream = io.StringIO()
    console = console_for(stream)
    others = lab.views.submissions_of(sample_id)
    console.print(draw_sample(lab.views.detail(submission.uuid), others, lab.standing(), Path("/srv/it"), console))
    return stream.getvalue()


def test_a_story_has_the_place_the_steps_and_the_timeline(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.", "Mend it.")
    text = story_of(lab, "MO-1")
    for words in ("MO-1, attempt 1  Needs attention", "It is broken.", "Mend it.", "/srv/it", "taken from the inbox"):
        assert words in text


def test_a_sample_that_was_removed_from_work_lies_nowhere(lab: Lab) -> None:
    lab.endings.conclude_without_folder(lab.processing("MO-1"), State.FAILED, "It was removed.", "Drop it again.")
    text = story_of(lab, "MO-1")
    assert "removed from work: it lies nowhere" in text
    assert "/srv/it" not in text


def test_a_waiting_sample_says_that_all_is_paused(lab: Lab) -> None:
    lab.transient(lab.processing("MO-1"))
    lab.requests.pause()
    text = story_of(lab, "MO-1")
    assert "Moichord is paused: it goes on after `moichord resume`" in text
    assert "Next try" not in text


def test_the_step_at_which_it_failed_is_marked(lab: Lab) -> None:
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.ended(sample, State.FAILED, "It is broken.")
    steps = story_of(lab, "MO-1").split("\nSteps\n")[1].split("\n\n")[0].split("\n")
    marks = [line.split()[:2] for line in steps]
    later = [mark[0] for mark in marks[3:]]
    assert [mark[1] for mark in marks] == [str(step) for step in Step]
    assert marks[0][0] == marks[1][0] != marks[2][0] != later[0] == later[1]


def test_images_are_counted_by_what_became_of_them(lab: Lab) -> None:
    sample = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sample, 1)
    lab.refused(sample, "The image server finds the request too large (413).")
    text = story_of(lab, "MO-1")
    assert "1 of 3 stored on the image server, 1 refused (20 MiB of 100 MiB)" in text
    assert "slide-2.dcm  refused: The image server finds the request too large (413)." in text


def test_no_value_of_a_patient_is_drawn(lab: Lab) -> None:
    lab.sent(lab.processing("MO-1", Step.UPLOAD), 2)
    assert PATIENT not in story_of(lab, "MO-1")


def test_earlier_attempts_are_named(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    lab.taken("MO-1")
    text = story_of(lab, "MO-1")
    assert "MO-1, attempt 2  Ready" in text
    assert "Attempt 1" in text


def test_an_arriving_sample_says_why_it_is_not_taken_yet(lab: Lab) -> None:
    arrival = lab.arriving("MO-1", "waiting for COMPLETE")
    stream = io.StringIO()
    console_for(stream).print(draw_arrival(arrival, lab.clock.at))
    assert "waiting for COMPLETE" in stream.getvalue()
    assert "20 s ago" in stream.getvalue()


def test_history_has_a_line_for_every_event(lab: Lab) -> None:
    whole_story(lab)
    events = lab.views.history(None, None)
    stream = io.StringIO()
    console_for(stream).print(draw_history(events, lab.clock.at))
    assert len(stream.getvalue().splitlines()) == len(events)


def test_a_story_that_is_watched_ends_with_its_newest_events(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    submission = lab.views.newest("MO-1")
    assert submission is not None
    stream = io.StringIO()
    console = console_for(stream)
    detail = lab.views.detail(submission.uuid)
    console.print(draw_sample(detail, [], lab.standing(), Path("/srv/it"), console, most_events=1))
    timeline = stream.getvalue().split("\nTimeline\n")[1]
    assert "failed" in timeline
    assert "taken from the inbox" not in timeline
