"""Everything in one line: `2 sending (42 %, 6 min left), 5 waiting, 1 needs attention`.

Owns that line, which `systemctl status` shows. It must not know who reads it. Errors: StateUnwritable and OSError from
`Teller`; the rest is pure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from moichord.clock import Clock
from moichord.pulse import Pulse
from moichord.queue.glance import Group
from moichord.sample import State, Step, Submission
from moichord.status.pace import Pace
from moichord.status.phrases import duration, moment
from moichord.status.sentences import SERVER, percent
from moichord.status.standing import Standing, look

if TYPE_CHECKING:
    from moichord.queue.views import Views

NOTHING = "nothing to do"
ANSWER_SECONDS = 60.0
UNCHANGED_SECONDS = 300.0
REST = 25.0
_WORDS = ("sending", "checking", "finishing", "waiting")
_AT_STEP: Mapping[Step, str] = {Step.METADATA: "checking", Step.TAGS: "checking", Step.UPLOAD: "sending"}


class Teller:
    """Says in one line how it stands, whenever it is asked. It looks into `failed`, and so may wait for a share.

    It looks only if the state has changed since, and the folders of `failed` every UNCHANGED_SECONDS; and it rests REST
    times as long as a look has taken, so that much that waits costs the daemon no more than little.
    """

    def __init__(self, views: "Views", failed: Path, clock: Clock, pulse: Pulse) -> None:
        self._views = views
        self._failed = failed
        self._clock = clock
        self._pulse = pulse
        self._pace = Pace()
        self._said: str | None = None
        self._mark: object = None
        self._looked_at = self._rests_until = clock.monotonic()

    def __call__(self) -> str:
        now, mark = self._clock.monotonic(), self._views.mark()
        unchanged = mark is not None and mark == self._mark and now < self._looked_at + UNCHANGED_SECONDS
        if self._said is None or not (unchanged or now < self._rests_until):
            self._said = self._look()
            self._mark, self._looked_at = mark, now
            self._rests_until = now + (1.0 + REST) * (self._clock.monotonic() - now)
        return self._said

    def _look(self) -> str:
        with self._pulse.share("the folder failed", ANSWER_SECONDS):
            standing = look(self._views, self._failed, _it_runs, self._clock, recent=0, most=0)
        self._pace.note(self._clock.monotonic(), sent_now(standing))
        return line(standing, self._pace)


def _it_runs() -> bool:
    return True


def line(standing: Standing, pace: Pace) -> str:
    """How it stands: how many samples do what, and what ails all of them."""
    groups: Counter[str] = Counter()
    for some in standing.overview.groups:
        groups[_group(some)] += some.number
    counted = [f"{groups[word]} {word}{_how_far(standing, pace, word)}" for word in _WORDS if groups[word]]
    if standing.arriving:
        counted.append(f"{len(standing.arriving)} arriving")
    if needing := len(standing.attention) + len(standing.misnamed):
        counted.append(f"{needing} {'needs' if needing == 1 else 'need'} attention")
    return "; ".join([", ".join(counted) or NOTHING, *_ailments(standing)])


def sent_now(standing: Standing) -> dict[str, int]:
    """Bytes that the image server has of each sample that is being sent, or is being given."""
    progress = standing.overview.progress
    return {
        one.uuid: min(known.size, known.size_acknowledged + standing.sending.get(one.uuid, 0))
        for one in standing.overview.processing
        if _group(one) == "sending" and (known := progress.get(one.uuid)) is not None
    }


def _group(some: Group | Submission) -> str:
    if some.state is not State.PROCESSING:
        return "waiting"
    return "finishing" if some.intent == "conclude" else _AT_STEP.get(some.step, "finishing")


def _how_far(standing: Standing, pace: Pace, word: str) -> str:
    sent = sent_now(standing)
    size = sum(standing.overview.progress[uuid].size for uuid in sent)
    if word != "sending" or not size:
        return ""
    done = sum(sent.values())
    seconds = pace.seconds_for(size - done)
    left = "" if seconds is None else f", {duration(seconds)} left"
    return f" ({percent(done / size)}{left})"


def _ailments(standing: Standing) -> Iterator[str]:
    for circuit in standing.outages:
        yield f"the {SERVER[circuit.api]} cannot be used since {moment(circuit.open_since or standing.at, standing.at)}"
    if standing.overview.paused_at is not None:
        yield f"paused since {moment(standing.overview.paused_at, standing.at)}"
    yield from standing.overview.notices
