"""The bars: real ones, drawn by rich into a text."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from moichord.oneshot.bars import Bars, _shortened
from moichord.oneshot.progress import Silence, showing
from moichord.sample import Image


@pytest.fixture
def display() -> Progress:
    return Progress(console=Console(file=io.StringIO(), width=100, force_terminal=True), auto_refresh=False)


def image(name: str, size: int, **more: str) -> Image:
    return Image(name, size, 0, 1, "2.25.1", size, "d", size, 0, **more)  # type: ignore[arg-type]


def test_the_whole_is_the_sum_of_what_has_gone_out(display: Progress) -> None:
    bars = Bars(display)
    bars.expect([image("a.dcm", 100), image("b.dcm", 300), image("c.dcm", 100, duplicate_of="a.dcm")])
    bars.at("sending")
    bars.sent("s", "a.dcm", 100)
    bars.sent("s", "b.dcm", 150)
    whole = display.tasks[0]
    assert (whole.description, whole.completed, whole.total) == ("sending", 250, 400)
    assert [(task.description, task.completed) for task in display.tasks[1:]] == [("a.dcm", 100), ("b.dcm", 150)]


def test_an_image_on_its_way_has_a_bar_until_its_request_ends(display: Progress) -> None:
    bars = Bars(display)
    bars.expect([image("a.dcm", 100)])
    bars.sent("s", "a.dcm", 100)
    bars.sent("s", "a.dcm", None)
    assert len(display.tasks) == 1
    assert display.tasks[0].completed == 100


def test_what_was_cut_off_counts_for_nothing(display: Progress) -> None:
    bars = Bars(display)
    bars.expect([image("a.dcm", 100)])
    bars.sent("s", "a.dcm", 60)
    bars.sent("s", "a.dcm", None)
    assert display.tasks[0].completed == 0


def test_an_end_without_a_byte_is_fine(display: Progress) -> None:
    bars = Bars(display)
    bars.expect([image("a.dcm", 100)])
    bars.sent("s", "a.dcm", None)
    assert display.tasks[0].completed == 0


def test_names_are_shown_as_they_are(display: Progress) -> None:
    bars = Bars(display)
    bars.expect([image("[red]a.dcm", 100)])
    bars.sent("s", "[red]a.dcm", 10)
    assert "[red]a.dcm" in "".join(str(one) for one in display.console.render_lines(display.get_renderable()))


def test_long_names_keep_their_end() -> None:
    assert _shortened("a/b.dcm") == "a/b.dcm"
    short = _shortened("x" * 40 + "/b.dcm")
    assert (len(short), short[0], short[-6:]) == (32, "…", "/b.dcm")


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    with showing(io.StringIO()) as progress:
        assert isinstance(progress, Silence)
        progress.at("sending")
        progress.expect([])
        progress.sent("s", "a.dcm", 1)
