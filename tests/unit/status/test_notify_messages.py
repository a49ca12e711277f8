"""Who is told what, once: receivers that fail, hang, come and go; conditions that begin and end; full disks."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection

from moichord.config import Notify
from moichord.errors import NotTold, StateUnwritable
from moichord.pulse import Pulse
from moichord.queue.announcements import Announcements
from moichord.queue.conditions import Condition, Conditions
from moichord.queue.occasions import note
from moichord.queue.space import EVERY, Space
from moichord.sample import State, Step
from moichord.status.notify.messages import AT_ONCE, PATIENCE_SECONDS, UNMARKED, Messages
from moichord.status.notify.news import Message
from moichord.status.notify.timing import FIRST_RETRY
from moichord.status.outlook import UNWRITABLE, Outlook
from tests.unit.status.lab import Lab

WINDOW = 60.0
LOW = Condition(
    "disk_low", "the disk of the folder work has less than 5 GiB free", "the disk has enough free again", 600.0
)
GONE = Condition("share", "the inbox is not there", "the inbox can be used again")


@dataclass
class Friend:
    """Stands where an Addressee would."""

    name: str
    problem: str | None = None
    heard: list[Message] = field(default_factory=list)

    @property
    def mark(self) -> str:
        return f"message:{self.name}"

    def tell(self, message: Message) -> None:
        if self.problem is not None:
            raise NotTold(f"{self.name} {self.problem}")
        self.heard.append(message)

    @property
    def titles(self) -> list[str]:
        return [one.title.partition(": ")[2] for one in self.heard]


class Post:
    """A lab and its messages; every call of `messages()` is a new start of the daemon."""

    def __init__(self, lab: Lab, *friends: Friend) -> None:
        self.lab = lab
        self.friends = list(friends)
        self.rules = Notify.model_validate({"window": "1m"})
        self.unrecorded: Mapping[str, Condition] = {}
        self.announcements = Announcements(lab.database)
        self.conditions = Conditions(lab.database, lab.clock)
        self.errands: list[Callable[[], None]] = []
        self.wait = False
        self.start()

    def start(self) -> None:
        self.messages = Messages(
            self.announcements,
            lambda: self.rules,
            lambda _: self.friends,  # type: ignore[arg-type,return-value]
            self.lab.clock,
            "lab",
            lambda text: text,
            lambda: self.unrecorded,
            lambda errand: self.errands.append(errand) if self.wait else errand(),
        )
        self.messages.look()

    def fail(self, *names: str) -> None:
        for name in names:
            self.lab.ended(self.lab.processing(name, Step.UPLOAD), State.FAILED, "Secret^Name is wrong")

    def later(self, seconds: float = WINDOW) -> None:
        self.messages.look()
        self.lab.clock.at += seconds
        self.messages.look()

    def change(self, **rules: object) -> None:
        self.rules = Notify.model_validate({"window": "1m", **rules})


@pytest.fixture
def post(lab: Lab) -> Post:
    return Post(lab, Friend("anna"))


def test_a_burst_is_one_message_to_each_and_what_comes_later_is_another(post: Post) -> None:
    post.friends.append(Friend("ben"))
    post.start()
    post.fail(*(f"A-{number}" for number in range(30)))
    post.later()
    post.fail("B-1")
    post.later(10 * WINDOW)
    post.later(10 * WINDOW)
    for friend in post.friends:
        assert friend.titles == ["30 samples failed", "B-1 failed"]


def test_what_happened_before_anybody_was_to_be_told_is_not_told(lab: Lab) -> None:
    post = Post(lab)
    post.fail("A-1")
    post.friends.append(Friend("anna"))
    post.start()
    post.fail("A-2")
    post.later()
    assert post.friends[0].titles == ["A-2 failed"]


def test_a_restart_between_failing_and_telling_tells_it_and_a_later_one_does_not_tell_it_again(post: Post) -> None:
    post.fail("A-1")
    post.messages.look()
    post.start()
    post.later()
    assert post.friends[0].titles == ["A-1 failed"]
    post.start()
    post.later()
    assert post.friends[0].titles == ["A-1 failed"]


def test_only_the_events_that_are_wanted_are_told(post: Post) -> None:
    post.change(events=["recovered"])
    post.fail("A-1")
    post.conditions.now({"inbox": GONE})
    post.conditions.now({})
    post.later()
    assert post.friends[0].titles == ["The inbox can be used again"]


def test_one_that_takes_nothing_keeps_nobody_else_waiting_and_hears_all_of_it_later(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    anna, ben = post.friends[0], Friend("ben", problem="is not at home")
    post.friends.append(ben)
    post.start()
    post.fail("A-1")
    post.later()
    post.later(FIRST_RETRY)
    post.fail("A-2")
    post.later(10 * WINDOW)
    assert (anna.titles, ben.titles) == (["A-1 failed", "A-2 failed"], [])
    (notice,) = post.messages.notices
    assert notice.startswith("ben is not at home, since ")
    assert caplog.text.count("ben is not at home") == 1

    ben.problem = None
    post.later(20 * WINDOW)
    assert ben.titles == ["2 samples failed"]
    assert post.messages.notices == []
    assert caplog.text.count("ben takes messages again") == 1


def test_one_that_hangs_has_one_errand_and_is_told_of(post: Post) -> None:
    post.wait = True
    post.fail("A-1")
    post.later()
    post.fail("A-2")
    post.later(PATIENCE_SECONDS + 1)
    assert len(post.errands) == 1
    assert "anna has not answered for 120 s" in post.messages.notices[0]

    post.errands.pop()()
    post.later(10 * WINDOW)
    post.errands.pop()()
    post.later()
    assert post.friends[0].titles == ["A-1 failed", "A-2 failed"]
    assert post.messages.notices == []


def test_one_that_never_comes_back_is_tried_again_and_hears_all_of_it_once_it_has_recovered(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.wait = True
    post.fail("A-1")
    post.later()
    post.later(PATIENCE_SECONDS + 1)
    post.fail("A-2")
    post.later(PATIENCE_SECONDS + 1)
    lost, again = post.errands
    again()
    post.later(0)
    assert post.friends[0].titles == ["2 samples failed"]
    assert post.messages.notices == []
    assert [caplog.text.count(words) for words in ("has not answered", "takes messages again")] == [1, 1]
    assert lost is not again


def test_one_that_never_comes_back_is_tried_the_more_rarely(post: Post) -> None:
    post.wait = True
    post.fail("A-1")
    for _ in range(24 * 60):
        post.later(60)
    assert 5 < len(post.errands) < 15
    assert post.messages.notices[0].startswith("anna has not answered for 120 s, since ")


def test_one_that_never_comes_back_keeps_nobody_else_waiting(post: Post) -> None:
    ben = Friend("ben")
    post.friends.append(ben)
    post.start()
    post.wait = True
    post.fail("A-1")
    post.later()
    post.errands[1]()
    post.later(PATIENCE_SECONDS + 1)
    post.fail("A-2")
    post.later()
    post.errands[3]()
    post.later(0)
    assert ben.titles == ["A-1 failed", "A-2 failed"]
    assert [notice.split(",")[0] for notice in post.messages.notices] == ["anna has not answered for 120 s"]


def test_what_one_took_long_after_it_was_given_up_is_not_told_again(post: Post) -> None:
    post.wait = True
    post.fail("A-1")
    post.later()
    post.later(PATIENCE_SECONDS + 1)
    post.fail("A-2")
    post.errands.pop()()
    post.later(20 * WINDOW)
    post.errands.pop()()
    post.later()
    assert post.friends[0].titles == ["A-1 failed", "A-2 failed"]
    assert post.announcements.marks() == {"message:anna": post.announcements.last()}


def test_one_that_refuses_after_it_was_given_up_is_tried_again_soon(post: Post) -> None:
    post.wait = True
    post.fail("A-1")
    post.later()
    post.later(PATIENCE_SECONDS + 1)
    post.friends[0].problem = "is at home again, and takes nothing"
    post.errands.pop()()
    post.later(0)
    assert post.messages.notices[0].startswith("anna is at home again, and takes nothing, since ")
    post.friends[0].problem = None
    post.later(FIRST_RETRY)
    post.errands.pop()()
    post.later(0)
    assert post.friends[0].titles == ["A-1 failed"]


def test_a_library_that_breaks_counts_as_not_taken(post: Post) -> None:
    def breaks(_: Message) -> None:
        raise RuntimeError

    post.wait = True
    post.friends[0].tell = breaks  # type: ignore[method-assign]
    post.fail("A-1")
    post.later()
    with pytest.raises(RuntimeError):
        post.errands.pop()()
    post.later(0)
    assert "anna cannot be used: its library broke" in post.messages.notices[0]
    del post.friends[0].tell
    post.later(2 * FIRST_RETRY)
    post.errands.pop()()
    assert post.friends[0].titles == ["A-1 failed"]


def test_whoever_replaces_one_that_took_nothing_hears_what_that_one_was_not_told(post: Post) -> None:
    post.friends[0].problem = "has another address now"
    post.fail("A-1")
    post.later()
    post.friends[:] = [Friend("anna's new address")]
    post.change(silence_after="1h")
    post.later()
    assert post.friends[0].titles == ["A-1 failed"]
    assert list(post.announcements.marks()) == ["message:anna's new address"]


def test_a_new_one_beside_others_hears_of_what_happens_from_then_on(post: Post) -> None:
    post.fail("A-1")
    post.messages.look()
    post.friends.append(Friend("ben"))
    post.change(silence_after="1h")
    post.messages.look()
    post.fail("A-2")
    post.later()
    assert [one.titles for one in post.friends] == [["2 samples failed"], ["A-2 failed"]]


def test_a_state_that_cannot_be_written_keeps_nothing_from_being_told(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateUnwritable("full")

    post.fail("A-1")
    with monkeypatch.context() as during:
        during.setattr(post.announcements, "mark", full)
        post.unrecorded = {"unwritable": UNWRITABLE, "the folder work": LOW}
        for _ in range(5):
            post.later()
        assert post.friends[0].titles == ["A-1 failed; A disk is low"]
    post.conditions.now(post.unrecorded)  # now it can be written, and is no news
    post.unrecorded = {}
    post.later(20 * WINDOW)
    assert len(post.friends[0].heard) == 1
    post.start()
    post.later()
    assert len(post.friends[0].heard) == 1


def test_what_the_state_cannot_hold_is_told_once_however_its_words_change_and_so_is_its_end(
    post: Post, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Notify.model_validate({"silence_after": "4h"})
    watching = Outlook(
        *(lab.views, Space(lab.database), {}, lambda: rules, lab.clock, Pulse(lab.clock)), post.conditions
    )

    def full(_: object) -> None:
        raise StateUnwritable("full")

    lab.clock.at += 4 * 3600
    with monkeypatch.context() as during:
        during.setattr(lab.database, "write", full)
        for _ in range(5):
            with pytest.raises(StateUnwritable):
                watching.look()
            post.unrecorded = watching.unrecorded
            post.later(10 * WINDOW)
    assert post.friends[0].titles == ["A disk is low; No sample comes"]

    watching.look()
    for _ in range(2):
        post.messages.look()  # the rows are there, and what they say is not cleared yet
    post.unrecorded = watching.unrecorded
    post.later(20 * WINDOW)
    assert post.friends[0].titles[1:] == ["The state can be written again"]
    lab.taken("A-1")
    watching.look()
    post.start()
    post.later(20 * WINDOW)
    assert post.friends[0].titles[2:] == ["Samples come again"]
    assert post.conditions.known() == {}


def test_a_state_that_cannot_be_written_again_is_told_again(
    post: Post, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Outlook(*(lab.views, Space(lab.database), {}, Notify, lab.clock, Pulse(lab.clock)), post.conditions)

    def full(_: object) -> None:
        raise StateUnwritable("full")

    for _ in range(2):
        with monkeypatch.context() as during:
            during.setattr(lab.database, "write", full)
            with pytest.raises(StateUnwritable):
                watching.look()
            post.unrecorded = watching.unrecorded
            post.later(20 * WINDOW)
        watching.look()
        post.unrecorded = watching.unrecorded
        post.later(EVERY)  # free space is recorded so often
    assert post.friends[0].titles == ["A disk is low", "The state can be written again"] * 2


def test_a_share_that_a_start_waits_for_is_told_though_the_state_cannot_be_written(
    post: Post, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Outlook(*(lab.views, Space(lab.database), {}, Notify, lab.clock, Pulse(lab.clock)), post.conditions)

    def full(_: object) -> None:
        raise StateUnwritable("full")

    with monkeypatch.context() as during:
        during.setattr(lab.database, "write", full)
        watching.awaits("start", GONE)
        post.unrecorded = watching.unrecorded
        post.later()
    watching.awaits("start", GONE)
    post.unrecorded = watching.unrecorded
    post.later(20 * WINDOW)
    assert post.friends[0].titles == ["The inbox is not there"]
    watching.look()
    post.later(20 * WINDOW)
    assert post.friends[0].titles[1:] == ["The inbox can be used again"]


def test_more_news_than_one_message_holds_waits_in_the_state(post: Post, lab: Lab) -> None:
    def unit(connection: Connection) -> None:
        for number in range(AT_ONCE + 1):
            note(connection, lab.clock.at, f"the share {number} is gone", "share_began")

    lab.database.write(unit)
    post.later()
    post.later(20 * WINDOW)
    assert len(post.friends[0].heard) == 2
    assert f"The share {AT_ONCE} is gone" in post.friends[0].heard[1].body


def test_the_mark_moves_on_without_news_so_that_a_start_has_little_to_read(post: Post, lab: Lab) -> None:
    def unit(connection: Connection) -> None:
        for _ in range(UNMARKED + 1):
            note(connection, lab.clock.at, "resumed", "resumed")

    lab.database.write(unit)
    post.messages.look()
    assert post.announcements.marks() == {"message:anna": post.announcements.last()}


def test_a_condition_is_told_when_it_begins_and_when_it_ends_once_each_and_across_a_restart(post: Post) -> None:
    for _ in range(3):
        post.conditions.now({"the folder work": LOW, "inbox": GONE})
    post.conditions = Conditions(post.lab.database, post.lab.clock)
    post.conditions.now({"the folder work": LOW, "inbox": GONE})
    post.later()
    assert post.friends[0].titles == ["The inbox is not there; A disk is low"]
    post.conditions.now({})
    post.later(300)
    post.conditions.now({"the folder work": LOW})  # to and fro
    post.conditions.now({})
    post.later(599)
    post.conditions.now({})
    post.later(20 * WINDOW)
    post.conditions.now({})
    post.later(40 * WINDOW)
    assert post.friends[0].titles[1:] == ["The inbox can be used again", "The disk has enough free again"]
    assert post.conditions.known() == {}


def test_the_outlook_writes_silence_and_what_ails_into_history(post: Post, lab: Lab) -> None:
    rules = Notify.model_validate({"silence_after": "4h"})
    ailing = {"inbox": GONE}
    watching = Outlook(
        *(lab.views, Space(lab.database), {}, lambda: rules, lab.clock, Pulse(lab.clock)),
        post.conditions,
        lambda: ailing,
    )
    lab.clock.at += 4 * 3600
    watching.look()
    post.later()
    ailing.clear()
    lab.taken("A-1")
    watching.look()
    post.later(20 * WINDOW)
    assert post.friends[0].titles == [
        "No sample comes; The inbox is not there",
        "Samples come again; The inbox can be used again",
    ]


def test_what_holds_while_the_state_cannot_be_written_is_known_to_the_messages(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = Conditions(lab.database, lab.clock)
    conditions.now({"inbox": GONE})
    watching = Outlook(
        *(lab.views, Space(lab.database), {}, Notify, lab.clock, Pulse(lab.clock)),
        conditions,
        lambda: {"inbox": GONE, "the folder work": LOW},
    )
    with monkeypatch.context() as during:

        def full(_: object) -> None:
            raise StateUnwritable("full")

        during.setattr(lab.database, "write", full)
        with pytest.raises(StateUnwritable):
            watching.look()
    assert watching.unrecorded == {"the folder work": LOW, "unwritable": UNWRITABLE}
    watching.look()
    assert watching.unrecorded == {}


def test_the_thread_ends_when_the_daemon_stops(post: Post) -> None:
    stopping = threading.Event()
    stopping.set()
    post.messages.run(stopping)
