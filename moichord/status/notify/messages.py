"""The thread that sends messages: what is new, gathered, to every receiver by itself.

Owns how far each receiver was told, and what people hear of one that takes nothing. It must not know how a message
travels (`receivers`). Errors: StateUnwritable where the state cannot be read; ConfigurationInvalid where a library is
gone that was there at the start.

A message counts as told once it was taken; the mark follows in the state. Each receiver has an errand of its own in a
thread of its own, so that one that hangs keeps nobody else waiting. An errand that does not come back in time is waited
for no longer: another one follows, more and more rarely, since each of them holds a thread.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from moichord.clock import Clock
from moichord.config import Notify
from moichord.errors import NotTold, StateUnwritable
from moichord.queue.announcements import Announcements, Row
from moichord.queue.conditions import BEGAN, Condition
from moichord.queue.occasions import NOBODY
from moichord.sample import Event
from moichord.status.notify.news import Message, News, message, news_of
from moichord.status.notify.receivers import KIND, Addressee
from moichord.status.notify.timing import Pace
from moichord.status.phrases import count, moment

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
AT_ONCE = 500
"""News that one message tells of at most; what is more waits in the state."""
UNMARKED = 1000
"""Rows without news after which the mark is moved all the same, so that a start has few of them to read."""

Run = Callable[[Callable[[], None]], None]


def in_a_thread(errand: Callable[[], None]) -> None:
    """Not waited for at the end: what it does is bounded by nobody."""
    threading.Thread(target=errand, name="message", daemon=True).start()


@dataclass(slots=True)
class _Errand:
    """A message on its way. `problem` is why it was not taken, once it is `over`."""

    upto: int
    news: Sequence[News]
    began: float
    over: threading.Event = field(default_factory=threading.Event)
    problem: str | None = None

    def run(self, addressee: Addressee, what: Message) -> None:
        self.problem = f"{addressee.name} cannot be used: its library broke"  # in case of what nobody foresaw
        try:
            addressee.tell(what)
            self.problem = None
        except NotTold as error:
            self.problem = error.problem
        finally:
            self.over.set()


@dataclass(slots=True)
class _Channel:
    """One receiver: told of all rows up to `told`, which the state may not know yet (`marked`); `seen` are read."""

    addressee: Addressee
    told: int
    marked: int
    seen: int
    waiting: list[News] = field(default_factory=list)
    since: float = 0.0
    pace: Pace = field(default_factory=Pace)
    errand: _Errand | None = None
    hanging: list[_Errand] = field(default_factory=list)  # those that are waited for no longer
    problem: str | None = None
    problem_since: float = 0.0
    unrecorded: dict[str, str | None] = field(default_factory=dict)
    """What was told before the state could hold it: in which words, by name; None once a row was read that says so."""
    known_already: bool = False  # such a row was read


class Messages:
    """`rules` are the settings as they are now, `connect` finds their receivers; `unrecorded` is what holds and could
    not be written into the state, by name. `place` is where this daemon runs, `masked` takes secrets out.
    """

    def __init__(
        self,
        announcements: Announcements,
        rules: Callable[[], Notify],
        connect: Callable[[Notify], Sequence[Addressee]],
        clock: Clock,
        place: str,
        masked: Callable[[str], str],
        unrecorded: Callable[[], Mapping[str, Condition]] = dict,
        run: Run = in_a_thread,
    ) -> None:
        self._announcements = announcements
        self._rules = rules
        self._connect = connect
        self._clock = clock
        self._place = place
        self._masked = masked
        self._unrecorded = unrecorded
        self._run = run
        self._known: Notify | None = None
        self._channels: dict[str, _Channel] = {}

    @property
    def notices(self) -> list[str]:
        """What people should know: who takes no messages."""
        now = self._clock.now()
        ailing = [one for one in tuple(self._channels.values()) if one.problem is not None]
        return [
            f"{one.problem}, since {moment(one.problem_since, now)}; what is to be told is kept, and tried again"
            for one in ailing
        ]

    def run(self, stopping: threading.Event) -> None:
        """Look every second until stopping."""
        while not stopping.is_set():
            self.look()
            self._clock.wait(stopping, LOOK_SECONDS)

    def look(self) -> None:
        """Find out what is new, and send what is due."""
        rules = self._rules()
        if rules != self._known:
            self._adopt(rules)
        if not self._channels:
            return
        last = self._announcements.last()
        for channel in self._channels.values():
            self._end_errands(channel, rules)
            self._read_unrecorded(channel, rules)  # before the rows that say the same
            self._read(channel, last, rules)
            self._send(channel, rules)
            self._mark(channel)

    def _adopt(self, rules: Notify) -> None:
        """One that is new hears of what happens from now on, and before of what one that is gone was not told."""
        found = {one.mark: one for one in self._connect(rules)}
        marks, begin = self._announcements.marks(), self._announcements.last()
        known = {mark: at for mark, at in marks.items() if mark.startswith(KIND)}
        known |= {mark: channel.told for mark, channel in self._channels.items()}
        begin = min([begin, *(at for mark, at in known.items() if mark not in found)])
        channels = {}
        for mark, addressee in found.items():
            at = known.get(mark, begin)
            channel = self._channels.get(mark) or _Channel(addressee, told=at, marked=marks.get(mark, -1), seen=at)
            channel.addressee = addressee
            channels[mark] = channel
            self._mark(channel)
        self._announcements.forget_others(KIND, found.keys())
        self._channels, self._known = channels, rules

    def _read(self, channel: _Channel, last: int, rules: Notify) -> None:
        while channel.seen < last and len(channel.waiting) < AT_ONCE:
            rows = self._announcements.rows(channel.seen, last, AT_ONCE)
            channel.seen = rows[-1].number if len(rows) == AT_ONCE else last
            for one in filter(None, map(news_of, rows)):
                name = next((name for name, words in channel.unrecorded.items() if words == one.text), None)
                if name is None:
                    self._note(channel, one, rules)
                else:
                    channel.unrecorded[name], channel.known_already = None, True

    def _read_unrecorded(self, channel: _Channel, rules: Notify) -> None:
        """What the state could not hold is told once by its name, however its words change."""
        unrecorded = self._unrecorded()
        for name in [name for name, words in channel.unrecorded.items() if words is None and name not in unrecorded]:
            del channel.unrecorded[name]
        for name in [name for name in unrecorded if name not in channel.unrecorded]:
            one = news_of(Row(0, _event(unrecorded[name], self._clock.now()), None, None))
            if one is not None:
                self._note(channel, one, rules)
                channel.unrecorded[name] = one.text

    def _note(self, channel: _Channel, one: News, rules: Notify) -> None:
        if one.event in rules.events:
            channel.since = channel.since if channel.waiting else self._clock.monotonic()
            channel.waiting.append(one)

    def _send(self, channel: _Channel, rules: Notify) -> None:
        now = self._clock.monotonic()
        if channel.errand is not None or not channel.waiting or now < channel.pace.due(channel.since, rules.window):
            return
        what = message(channel.waiting, self._clock.now(), self._place, self._masked)
        errand = _Errand(channel.seen, tuple(channel.waiting), now)
        channel.errand = errand
        self._run(lambda: errand.run(channel.addressee, what))
        self._end_errands(channel, rules)

    def _end_errands(self, channel: _Channel, rules: Notify) -> None:
        errand, now = channel.errand, self._clock.monotonic()
        if errand is not None and errand.over.is_set():
            channel.errand = None
            self._end_errand(channel, errand, rules)
        elif errand is not None and now - errand.began > PATIENCE_SECONDS:
            channel.errand = None
            channel.hanging.append(errand)
            channel.pace = channel.pace.hung(now)
            self._ail(channel, f"{channel.addressee.name} has not answered for {PATIENCE_SECONDS:.0f} s")
        for late in [one for one in channel.hanging if one.over.is_set()]:
            channel.hanging.remove(late)
            channel.pace = channel.pace.back()
            self._end_errand(channel, late, rules)

    def _end_errand(self, channel: _Channel, errand: _Errand, rules: Notify) -> None:
        now = self._clock.monotonic()
        if errand.problem is not None:
            channel.pace = channel.pace.failed(now)
            self._ail(channel, errand.problem)
            return
        channel.pace = channel.pace.sent(now, rules.window)
        taken = set(map(id, errand.news))  # one that comes late may have taken what another one has still to tell
        channel.told = max(channel.told, errand.upto)
        channel.waiting = [one for one in channel.waiting if id(one) not in taken]
        channel.since = now
        log.info("told %s of %s", channel.addressee.name, count(len(errand.news), "change"))
        if channel.problem is not None:
            channel.problem = None
            log.warning("%s takes messages again", channel.addressee.name)

    def _ail(self, channel: _Channel, problem: str) -> None:
        """Say it once, however often it is tried."""
        if channel.problem is None:
            channel.problem_since = self._clock.now()
            log.error("%s; what is to be told is kept, and tried again", problem)
        channel.problem = problem

    def _mark(self, channel: _Channel) -> None:
        """Remember how far it was told; on a full disk later."""
        idle = not channel.waiting and channel.errand is None
        if idle and (channel.known_already or channel.seen - channel.marked > UNMARKED):
            channel.told, channel.known_already = channel.seen, False
        if channel.told == channel.marked:
            return
        try:
            self._announcements.mark(channel.addressee.mark, channel.told)
        except StateUnwritable:
            return  # said by others; told twice after a restart is better than never
        channel.marked = channel.told


def _event(condition: Condition, now: float) -> Event:
    """The row of history that cannot be written."""
    return Event(now, NOBODY, None, None, None, condition.text, {"occasion": condition.kind + BEGAN})
