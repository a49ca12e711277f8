"""The one line that `systemctl status` shows."""

from dataclasses import replace

import pytest

from moichord.outage import Circuit
from moichord.pulse import Pulse
from moichord.queue.glance import Glance, Group, Overview, Progress
from moichord.queue.views import Views
from moichord.sample import Api, State, Step, Submission
from moichord.status.line import REST, UNCHANGED_SECONDS, Teller, line, sent_now
from moichord.status.pace import Pace
from moichord.status.phrases import moment
from moichord.status.standing import Standing
from tests.unit.status.lab import NOON, HandClock, Lab

MIB = 2**20


@pytest.fixture
def submission(lab: Lab) -> Submission:
    """Any one; its fields are set as a case needs them."""
    return lab.processing("LINE-1")


def standing(unfinished: list[Submission] | None = None, **more: object) -> Standing:
    """`unfinished` are all that are in work; none of them but those in hand was read as a row."""
    them = unfinished or []
    groups = tuple(Group(one.state, one.step, one.intent, one.held_by, 1, one.taken_at, one.taken_at) for one in them)
    processing = tuple(one for one in them if one.state is State.PROCESSING)
    overview = Overview([], [], [], {}, {}, [], None, [], groups, processing, bytes_left=0)
    attention = more.pop("attention", [])
    sending = more.pop("sending", {})
    return Standing(NOON, replace(overview, **more), attention, daemon=True, sending=sending)  # type: ignore[arg-type]


def test_nothing_to_do_is_said() -> None:
    assert line(standing(), Pace()) == "nothing to do"


def test_what_samples_do_is_counted_and_how_far_they_are(submission: Submission) -> None:
    def at(uuid: str, step: Step, state: State = State.PROCESSING, intent: str | None = None) -> Submission:
        return replace(submission, uuid=uuid, step=step, state=state, intent=intent)

    unfinished = [
        at("a", Step.UPLOAD),
        at("b", Step.UPLOAD),
        at("c", Step.METADATA),
        at("d", Step.TAGS),
        at("e", Step.ARCHIVE),
        at("f", Step.UPLOAD, intent="conclude"),
        at("g", Step.UPLOAD, State.WAITING),
        at("h", Step.METADATA, State.READY),
    ]
    now = standing(
        unfinished,
        progress={"a": Progress(2, 1, 60 * MIB, 30 * MIB), "b": Progress(1, 0, 40 * MIB, 0), "g": Progress(1, 0, 9, 0)},
        sending={"a": 10 * MIB, "b": 2 * MIB},
        attention=[submission],
    )
    pace = Pace()
    pace.note(0.0, {"a": 39 * MIB, "b": 2 * MIB})
    pace.note(10.0, sent_now(now))

    assert line(now, pace) == "2 sending (42 %, 9 min left), 2 checking, 2 finishing, 2 waiting, 1 needs attention"
    assert line(now, Pace()) == "2 sending (42 %), 2 checking, 2 finishing, 2 waiting, 1 needs attention"


def test_what_ails_all_of_them_is_said_after_the_counts(submission: Submission) -> None:
    down = Circuit(Api.UPLOAD, open_since=NOON, reason="refused")
    now = standing(
        [replace(submission, state=State.WAITING)],
        circuits=[down],
        paused_at=NOON,
        notices=["the disk is full"],
        attention=[submission, submission],
    )

    when = moment(NOON, NOON)
    assert line(now, Pace()) == (
        f"1 waiting, 2 need attention; the image server cannot be used since {when}; paused since {when}; "
        "the disk is full"
    )


@pytest.mark.parametrize(
    ("notes", "left"),
    [
        ([], None),
        ([(0, {"a": 5})], None),
        ([(0, {"a": 0}), (4, {"a": 40})], None),
        ([(0, {"a": 0}), (10, {"a": 100})], 10.0),
        ([(0, {"a": 100}), (10, {"a": 100})], None),
        ([(0, {"a": 100}), (5, {"a": 0}), (10, {"a": 50})], 20.0),
        ([(0, {"a": 0}), (10, {"a": 50, "b": 1000})], 20.0),
        ([(0, {"a": 0}), (10, {"a": 9000}), (20, {"a": 9000}), (75, {"a": 9055})], 100.0),
    ],
    ids=["nothing", "one look", "too early", "steady", "stands still", "sent again", "a new sample", "the last minute"],
)
def test_how_long_the_rest_takes(notes: list[tuple[float, dict[str, int]]], left: float | None) -> None:
    pace = Pace()
    for at, sent in notes:
        pace.note(at, sent)

    assert pace.seconds_for(100) == (None if left is None else pytest.approx(left))


class Counted(Views):
    """Counts how often everything is looked at."""

    looks = 0

    def glance(self, *, since: float, recent: int, most: int | None) -> Glance:
        self.looks += 1
        return super().glance(since=since, recent=recent, most=most)


class SlowlyCounted(Counted):
    """Takes two seconds for a look, by the clock of the lab."""

    clock: HandClock

    def glance(self, *, since: float, recent: int, most: int | None) -> Glance:
        self.clock.at += 2.0
        return super().glance(since=since, recent=recent, most=most)


def test_the_line_is_made_anew_only_when_the_state_has_changed(lab: Lab) -> None:
    views = Counted(lab.database)
    teller = Teller(views, lab.failed, lab.clock, Pulse(lab.clock))
    lab.processing("LINE-1")
    assert len({teller(), teller(), teller()}) == 1
    assert views.looks == 1
    lab.bulletin.publish(["the disk is full"], {})
    assert teller().endswith("the disk is full")
    assert views.looks == 2
    lab.clock.at += UNCHANGED_SECONDS  # somebody may have taken a folder out of failed
    teller()
    assert views.looks == 3


def test_a_look_that_takes_long_is_followed_by_a_long_rest(lab: Lab) -> None:
    views = SlowlyCounted(lab.database)
    views.clock = lab.clock
    teller = Teller(views, lab.failed, lab.clock, Pulse(lab.clock))
    teller()
    for number in range(int(3 * REST)):
        lab.bulletin.publish([f"notice {number}"], {})
        lab.clock.at += 1.0
        teller()
    assert views.looks == 2
