"""Once a minute: has no sample come for too long, will a disk be full soon, and what else ails this machine?

Owns these looks, what is said of them, and that history knows when each of it began and ended. It must not know who
hears it. Errors: StateUnwritable; a share that does not answer is waited for.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from moichord.clock import Clock
from moichord.config import Notify
from moichord.errors import StateUnwritable
from moichord.pulse import Pulse
from moichord.queue.conditions import Condition, Conditions
from moichord.queue.space import Space
from moichord.queue.views import NEVER, Views
from moichord.status.forecast import DAY, SOON, full_in
from moichord.status.phrases import size
from moichord.status.silence import silence
from moichord.status.standing import disks

SECONDS = 60.0
ANSWER_SECONDS = 600.0
UNWRITABLE = Condition(
    "disk_low", "the state cannot be written: nothing new begins until that ends", "the state can be written again"
)


class Outlook:
    """`places` are the folders whose disks matter, `rules` what counts as silence now; `ailments` is what else ails
    this machine, by name. `unrecorded` is what began and the state could not be told of, by name, in its first words:
    once the state can be written, history has it in these words, and then its end.
    """

    def __init__(
        self,
        views: Views,
        space: Space,
        places: Mapping[str, Path],
        rules: Callable[[], Notify],
        clock: Clock,
        pulse: Pulse,
        conditions: Conditions,
        ailments: Callable[[], Mapping[str, Condition]] = dict,
    ) -> None:
        self._views = views
        self._space = space
        self._places = places
        self._rules = rules
        self._clock = clock
        self._pulse = pulse
        self._conditions = conditions
        self._ailments = ailments
        self._began = clock.now()
        self._last = NEVER
        self.notices: tuple[str, ...] = ()
        self.unrecorded: Mapping[str, Condition] = {}

    def run(self, stopping: threading.Event) -> None:
        """Look every minute until stopping."""
        while not stopping.is_set():
            self.look()
            self._clock.wait(stopping, SECONDS)

    def awaits(self, name: str, condition: Condition) -> None:
        """This one holds before the first look; nothing is known of others."""
        condition = self.unrecorded.get(name, condition)
        try:
            self._conditions.begins(name, condition)
        except StateUnwritable:  # said by others
            self.unrecorded = {name: condition}
        else:
            self.unrecorded = {}

    def look(self) -> None:
        """Look at everything once."""
        rules, now = self._rules(), self._clock.now()
        last = self._last = self._views.last_arrival(self._last)
        quiet = silence(self._began if last.at is None else last.at, now, rules.silence_after, rules.working_hours)
        with self._pulse.share("the folders work, done and failed", ANSWER_SECONDS):
            found = disks(self._places)
        filling = {
            one.folders: sentence for one in found if (sentence := self._full(one.folders, one.free)) is not None
        }
        self.notices = tuple(sentence for sentence in (quiet, *filling.values()) if sentence is not None)
        holding = dict(self._ailments())
        if quiet is not None:
            holding["silence"] = Condition("silence", quiet, "samples come again")
        for folders, sentence in filling.items():
            end = f"the disk of {', '.join(folders)} fills no more"
            holding[f"filling {folders[0]}"] = Condition("filling", sentence, end, DAY)
        self._remember(now, {one.folders[0]: one.free for one in found}, holding)

    def _remember(self, now: float, free: Mapping[str, int], holding: Mapping[str, Condition]) -> None:
        began = {**holding, **self.unrecorded}
        try:
            self._space.record(now, free)
            self._conditions.now(began)
            self._conditions.now(holding)
        except StateUnwritable:
            known = self._conditions.known()
            began["unwritable"] = UNWRITABLE
            self.unrecorded = {name: one for name, one in began.items() if name not in known}
            raise
        self.unrecorded = {}

    def _full(self, folders: tuple[str, ...], free: int) -> str | None:
        name = folders[0]
        seconds = full_in([(at, those[name]) for at, those in self._space.looks() if name in those])
        if seconds is None or seconds > SOON:
            return None
        days = max(1, round(seconds / DAY))
        when = "about a day" if days == 1 else f"about {days} days"
        return f"the disk of {', '.join(folders)} will be full in {when} ({size(free)} are free)"
