"""What is drawn at a glance, and live."""

import io
import threading
from dataclasses import replace

from rich.console import Console

from moichord.sample import State, Step
from moichord.status.standing import Standing
from moichord.status.terminal import console_for, draw, watch
from tests.unit.status.lab import MIB, HandClock, Lab, whole_story


def console(width: int = 100, *, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False, markup=False
    )


def drawn(standing: Standing, width: int = 100, *, terminal: bool = False, most: int | None = None) -> str:
    on = console(width, terminal=terminal)
    on.print(draw(standing, on, most=most))
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_every_sample_is_in_its_part(lab: Lab) -> None:
    whole_story(lab)
    text = drawn(lab.standing())
    parts = {
        "Arriving": {"MO-1005"},
        "On the way": {"MO-1001", "MO-1002", "MO-1006", "MO-1007"},
        "Needs attention": {"MO-1003", "my slides (2)"},
        "Finished lately": {"MO-1000", "MO-1009"},
    }
    for heading, names in parts.items():
        part = text.split(f"\n{heading}\n")[1].split("\n\n")[0]
        assert {name for name in set().union(*parts.values()) if name in part} == names


def test_what_waits_while_all_is_paused_says_so_and_how_to_go_on(lab: Lab) -> None:
    lab.transient(lab.processing("MO-1"))
    lab.taken("MO-2")
    lab.requests.pause()
    text = drawn(replace(lab.standing(), command="moichord -c x.yaml"))
    assert text.count("Moichord is paused: it goes on after `moichord -c x.yaml resume`") == 2
    assert "Next try" not in text


def test_no_retry_is_advised_of_a_sample_that_lies_nowhere(lab: Lab) -> None:
    lab.endings.conclude_without_folder(lab.processing("MO-1"), State.FAILED, "It was removed.", "Drop it again.")
    text = drawn(lab.standing())
    assert "MO-1  Needs attention" in text.split("\nNeeds attention\n")[1]
    assert "moichord retry" not in text


def test_a_sample_that_is_being_sent_shows_how_far_it_is(lab: Lab) -> None:
    sending = lab.processing("MO-1001", Step.UPLOAD)
    lab.sent(sending, 2)
    lab.bulletin.publish([], {sending.uuid: 9 * MIB})
    text = drawn(lab.standing())
    assert "Sending 59 %" in text
    assert "2 of 3 images, 59 MiB of 100 MiB" in text


def test_bars_are_drawn_on_terminals_only(lab: Lab) -> None:
    lab.sent(lab.processing("MO-1001", Step.UPLOAD), 2)
    assert "━" in drawn(lab.standing(), terminal=True)
    assert "━" not in drawn(lab.standing(), terminal=False)


def test_a_failed_sample_shows_its_cause_what_to_do_and_the_command(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "One image is not DICOM.", "Export it again.")
    text = drawn(lab.standing())
    assert "One image is not DICOM." in text
    assert "Export it again." in text
    assert "moichord retry MO-1" in text


def test_a_server_that_is_down_is_explained_once_however_many_wait(lab: Lab) -> None:
    for name in ("MO-1", "MO-2", "MO-3"):
        lab.outage(lab.processing(name, Step.UPLOAD))
    text = drawn(lab.standing())
    assert text.count("nothing listens there") == 1
    assert text.count("Waiting for the image server") == 3


def test_a_narrow_terminal_breaks_no_name_and_loses_no_word(lab: Lab) -> None:
    whole_story(lab)
    text = drawn(lab.standing(), 80, terminal=True)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    assert "MO-1001  Sending" in text


def test_a_part_that_is_too_long_says_how_much_is_left(lab: Lab) -> None:
    for number in range(7):
        lab.taken(f"MO-{number}")
    text = drawn(lab.standing(), most=5)
    assert "MO-4" in text
    assert "MO-5" not in text
    assert "and 2 more" in text


def test_names_are_text_not_markup_and_never_control_characters(lab: Lab) -> None:
    lab.arriving("[red]x[/red] \x1b[31m", sample_id=None)
    text = drawn(lab.standing())
    assert "[red]x[/red] \\x1b[31m" in text
    assert "\x1b" not in text


def test_what_is_no_terminal_gets_whole_lines_without_colour(lab: Lab) -> None:
    reason = "this reason is long " * 20
    lab.ended(lab.processing("MO-1"), State.FAILED, reason.strip())
    stream = io.StringIO()
    console = console_for(stream)
    console.print(draw(lab.standing(), console))
    assert reason.strip() in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_watching_draws_until_it_is_stopped_and_tells_what_it_saw_last(lab: Lab) -> None:
    lab.taken("MO-1")
    stop = threading.Event()
    seen: list[Standing] = []

    def look() -> Standing:
        seen.append(replace(lab.standing(), at=float(len(seen))))
        if len(seen) == 3:
            stop.set()
        return seen[-1]

    last = watch(look, console(terminal=True), stop, HandClock(), screen=False)
    assert last is seen[-1]
    assert len(seen) == 4
