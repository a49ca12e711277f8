"""One sample on a line of the page: what it is called, how it fares, why, how far, and what can be asked for.

Owns what is said of a sample in short. The words are those of `sentences`, so that the terminal says the same. It must
not know HTML. Pure; no error leaves it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2s

from moichord.errors import UsageRefused
from moichord.queue.requests import require_cancellable
from moichord.sample import FINISHED, Arrival, State, Submission, printable
from moichord.status.line import sent_now
from moichord.status.phrases import ago, count, duration, moment, size
from moichord.status.sentences import goes_on, holding_api, plain_state, share_sent
from moichord.status.standing import Standing
from moichord.status.veil import veiled

TONES: Mapping[State, str] = {
    State.RECEIVING: "news",
    State.READY: "news",
    State.PROCESSING: "news",
    State.WAITING: "warning",
    State.DONE: "good",
    State.FAILED: "problem",
    State.CANCELLED: "quiet",
}
ASKED = {"retry": "Is to be retried", "cancel": "Is to be cancelled"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, as people and as programs say it."""

    text: str
    exact: str
    at: float


@dataclass(frozen=True, slots=True)
class Bar:
    """How far an upload is, in bytes and in words."""

    done: int
    whole: int
    text: str
    left: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `tone` is how much it wants to be noticed; `why` and `then` may be None."""

    key: str
    name: str
    attempt: int
    uuid: str | None
    state: str
    tone: str
    when: Moment | None
    held: str
    why: str | None = None
    then: str | None = None
    bar: Bar | None = None
    can_retry: bool = False
    can_cancel: bool = False


class Rows:
    """Makes lines out of submissions and arrivals, as things stand."""

    def __init__(
        self,
        standing: Standing,
        asked: Mapping[str, str],
        seconds_for: Callable[[int], float | None],
        *,
        may_ask: bool,
        patient_data: bool,
    ) -> None:
        self._standing = standing
        self._asked = asked
        self._seconds_for = seconds_for
        self._may_ask = may_ask
        self._patient_data = patient_data
        self._needing = {one.uuid for one in standing.attention}
        self._sent = sent_now(standing)

    def arriving(self, arrival: Arrival) -> Row:
        """A folder in the inbox; one whose name is wrong wants a person."""
        misnamed = arrival.sample_id is None
        return Row(
            key=f"a-{blake2s(os.fsencode(arrival.folder_name), digest_size=8).hexdigest()}",
            name=printable(arrival.sample_id or arrival.folder_name),
            attempt=1,
            uuid=None,
            state="Needs attention" if misnamed else "Receiving",
            tone="problem" if misnamed else TONES[State.RECEIVING],
            when=moment_of(arrival.first_seen_at, self._standing.at),
            held=f"{count(arrival.file_count, 'file')}, {size(arrival.size)}",
            why=printable(_sentence(arrival.reason)),
        )

    def of(self, submission: Submission) -> Row:
        """A submission in any state."""
        now = self._standing.at
        progress = self._standing.overview.progress.get(submission.uuid)
        share = share_sent(progress, self._standing.sending.get(submission.uuid, 0))
        asked = self._asked.get(submission.uuid)
        known = submission.finished_at is not None and submission.finished_at <= now
        gone = submission.state is State.FAILED and known and submission.uuid not in self._needing
        state = plain_state(submission, share, daemon=self._standing.daemon)
        return Row(
            key=f"s-{submission.uuid}",
            name=printable(submission.sample_id),
            attempt=submission.attempt_number,
            uuid=submission.uuid,
            state=ASKED[asked] if asked else ("Failed" if gone else state),
            tone="quiet" if gone or asked else TONES[submission.state],
            when=moment_of(submission.finished_at or submission.taken_at, now),
            held=f"{count(submission.image_count, 'image')}, {size(submission.size)}",
            why=_printable(self._shown(self._why(submission))),
            then=_printable(self._then(submission)),
            bar=self._bar(submission),
            can_retry=self._may_ask and asked is None and submission.uuid in self._needing and not submission.is_lost,
            can_cancel=self._may_ask and asked is None and is_cancellable(submission),
        )

    def _shown(self, text: str | None) -> str | None:
        return text if text is None or self._patient_data else veiled(text)

    def _why(self, submission: Submission) -> str | None:
        """Why it waits or ended so, unless the banner says it already."""
        api = None if submission.state in FINISHED else holding_api(submission)
        circuit = None if api is None else self._standing.circuit(api)
        if circuit is not None and circuit.is_open:
            return None
        if submission.state is State.FAILED:
            return submission.reason or "It failed."
        return submission.reason

    def _then(self, submission: Submission) -> str | None:
        """What a person can do, or when it goes on by itself."""
        if submission.state in FINISHED:
            return submission.remedy
        api = holding_api(submission)
        circuit = None if api is None else self._standing.circuit(api)
        when = goes_on(submission, circuit, self._standing.at, paused=self._standing.paused)
        return None if when is None else f"{when[:1].upper()}{when[1:]}."

    def _bar(self, submission: Submission) -> Bar | None:
        progress = self._standing.overview.progress.get(submission.uuid)
        if progress is None or not progress.size or submission.state in FINISHED:
            return None
        sent = min(progress.size, progress.size_acknowledged + self._standing.sending.get(submission.uuid, 0))
        stored = f"{progress.images_acknowledged} of {count(progress.images, 'image')}"
        text = f"{size(sent)} of {size(progress.size)}, {stored}"
        sending = submission.uuid in self._sent and sent < progress.size
        # All samples that are being sent share the line.
        seconds = self._seconds_for((progress.size - sent) * len(self._sent)) if sending else None
        left = None if seconds is None else f"{duration(seconds)} left"
        return Bar(sent, progress.size, text, left)


def is_cancellable(submission: Submission) -> bool:
    """Whether `cancel` makes sense."""
    if submission.state in FINISHED or submission.intent is not None:
        return False
    try:
        require_cancellable(submission)
    except UsageRefused:
        return False
    return True


def moment_of(at: float, now: float) -> Moment:
    """`5 min ago` within the last hour, else the time of day and the day."""
    exact = moment(at, now, seconds=True)
    return Moment(ago(at, now) if 0 <= now - at < 3600 else moment(at, now), exact, at)


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '!', '?')) else '.'}"


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)
