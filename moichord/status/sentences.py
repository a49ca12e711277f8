"""What a moment means, in words: the banner, a sample's plain state, why it waits and for how long.

Owns the wording that the terminal, the page and programs share. It must not know how it is drawn. Pure; no error
leaves it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from moichord.outage import Circuit, held_api
from moichord.queue.glance import Progress
from moichord.sample import Api, Event, State, Step, Submission
from moichord.status.phrases import called, count, duration, moment, size
from moichord.status.standing import Standing

SERVER = {Api.METADATA: "metadata server", Api.UPLOAD: "image server", Api.ANALYTICS: "analytics server"}
_AT_STEP = {
    Step.METADATA: "Checking",
    Step.TAGS: "Checking",
    Step.UPLOAD: "Sending",
    Step.ANALYTICS: "Starting analysis",
    Step.ARCHIVE: "Filing",
}
_IN_STATE = {
    State.RECEIVING: "Receiving",
    State.READY: "Ready",
    State.DONE: "Sent",
    State.FAILED: "Needs attention",
    State.CANCELLED: "Cancelled",
}
WAITS_FOR_ANSWER = "Sent, waiting for the server's answer"
_HELD = {"settling": "Still changing", "disk": "Waiting for the disk", "metadata record": "Waiting for its record"}


class Level(StrEnum):
    """How much a sentence wants to be noticed."""

    GOOD = "good"
    NEWS = "news"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to know, why it is so, and what a person can do about it."""

    level: Level
    text: str
    reason: str | None = None
    remedy: str | None = None


def sentences(standing: Standing) -> list[Sentence]:
    """What there is to know, the most urgent first: the first one is the banner. There is always one."""
    overview = standing.overview
    found = [_outage(circuit, standing) for circuit in standing.outages]
    if not standing.daemon:
        found.append(_no_daemon(standing))
    if standing.attention or standing.misnamed:
        found.append(_needs_you(standing))
    if overview.paused_at is not None:
        since = moment(overview.paused_at, standing.at)
        text = f"Paused since {since}: nothing is taken and nothing new starts."
        found.append(Sentence(Level.WARNING, text, remedy="Go on with: moichord resume"))
    found += [Sentence(Level.WARNING, _capital(notice)) for notice in overview.notices if standing.daemon]
    mend = [None if one.remedy is None else called(one.remedy, standing.command) for one in found]
    return [replace(one, remedy=remedy) for one, remedy in zip(found, mend, strict=True)] or [_all_well(standing)]


def figures(standing: Standing) -> Iterator[str]:
    """How fast it goes and how long it takes, how the servers are, what room the disks have: a sentence each."""
    left, seconds = standing.bytes_left, standing.seconds_left
    if standing.rate and left and seconds is not None:
        yield f"Sending {size(standing.rate)} a second; {size(left)} are left, which takes about {duration(seconds)}."
    if standing.daemon and (standing.overview.groups or standing.outages):
        servers = (f"{name} {_server(standing, api)}" for api, name in SERVER.items())
        yield _capital("; ".join(servers)) + "."
    disks = (f"{size(one.free)} of {size(one.size)} for {', '.join(one.folders)}" for one in standing.disks)
    if free := "; ".join(disks):
        yield f"Free on disk: {free}."


def _server(standing: Standing, api: Api) -> str:
    circuit = standing.circuit(api)
    if circuit is None or circuit.open_since is None:
        return "well"
    return f"cannot be used since {moment(circuit.open_since, standing.at)}"


def plain_state(submission: Submission, share: float | None = None, *, daemon: bool = True) -> str:
    """`Checking`, `Sending 42 %`, `Waiting to retry`, `Sent`, ...; `share` is how much of it is sent, 0 to 1.

    `daemon` says whether one runs: what none works on is interrupted.
    """
    if submission.state is State.PROCESSING:
        return _in_hand_of_a_worker(submission, share) if daemon else _interrupted(submission, share)
    if submission.state is State.WAITING:
        return _waiting(submission)
    if submission.state is State.DONE and submission.reason is not None:
        return "Sent, with a problem"
    return _IN_STATE[submission.state]


def _in_hand_of_a_worker(submission: Submission, share: float | None) -> str:
    if submission.intent == "conclude":
        return "Filing"
    words = _AT_STEP[submission.step]
    if submission.step is not Step.UPLOAD or share is None:
        return words
    return WAITS_FOR_ANSWER if share >= 1.0 else f"{words} {percent(share)}"


def _interrupted(submission: Submission, share: float | None) -> str:
    sending = submission.step is Step.UPLOAD and share is not None and submission.intent is None
    return f"Interrupted at {percent(share or 0.0)}" if sending else "Interrupted"


def share_sent(progress: Progress | None, in_flight: int) -> float | None:
    """How much of a submission's bytes the server has, or is being sent now; None while that is not known."""
    if progress is None or not progress.size:
        return None
    return min(1.0, (progress.size_acknowledged + in_flight) / progress.size)


def told(event: Event) -> str:
    """A row of history in words; servers are called as everywhere."""
    match event.detail:
        case {"occasion": "outage_began", "api": api}:
            return f"the {SERVER[Api(api)]} cannot be used: {event.text.partition(': ')[2]}"
        case {"occasion": "outage_ended", "api": api}:
            return f"the {SERVER[Api(api)]} answers again"
        case _:
            return event.text


def percent(share: float) -> str:
    """Rounded down: 100 % is said of what is complete only."""
    return f"{int(share * 100)} %"


def goes_on(submission: Submission, circuit: Circuit | None, now: float, *, paused: bool = False) -> str | None:
    """When a waiting submission goes on by itself, as far as that is known; never while all is `paused`."""
    if paused and submission.state in {State.READY, State.WAITING}:
        return "moichord is paused: it goes on after `moichord resume`"
    if submission.state is not State.WAITING:
        return None
    at = submission.next_try_at
    if at is None and circuit is not None and circuit.is_open:
        asked = "soon" if circuit.next_probe_at is None else _at(circuit.next_probe_at, now)
        return f"the server is asked again {asked}"
    return None if at is None else f"next try {_at(at, now)}"


def holding_api(submission: Submission) -> Api | None:
    """The API that a waiting submission waits for."""
    return held_api(submission.held_by)


def _at(at: float, now: float) -> str:
    return "now" if at <= now + 1 else f"in {duration(at - now)} ({moment(at, now, seconds=at - now < 3600)})"


def _waiting(submission: Submission) -> str:
    api = holding_api(submission)
    if api is not None:
        return f"Waiting for the {SERVER[api]}"
    if submission.held_by is None:
        return "Waiting to retry" if submission.remedy else "Waiting"
    return _HELD.get(submission.held_by.partition(":")[0], "Waiting")


def _outage(circuit: Circuit, standing: Standing) -> Sentence:
    held = sum(one.number for one in standing.overview.groups if held_api(one.held_by) is circuit.api)
    since = moment(circuit.open_since or standing.at, standing.at)
    text = f"The {SERVER[circuit.api]} cannot be used since {since}; {_waits(held)}nothing is lost."
    return Sentence(Level.PROBLEM, text, circuit.reason, circuit.remedy)


def _needs_you(standing: Standing) -> Sentence:
    misnamed = len(standing.misnamed)
    if standing.attention:
        text = f"{count(len(standing.attention) + misnamed, 'sample needs', 'samples need')} you."
        return Sentence(Level.PROBLEM, text)
    text = f"{count(misnamed, 'folder', 'folders')} in the inbox {'needs' if misnamed == 1 else 'need'} you."
    return Sentence(Level.PROBLEM, text)


def _no_daemon(standing: Standing) -> Sentence:
    pending = standing.overview.number_unfinished + len(standing.arriving)
    text = f"No daemon is running; {_waits(pending)}nothing is lost." if pending else "No daemon is running."
    return Sentence(Level.WARNING, text, remedy="Start it with: moichord run (or systemctl start moichord)")


def _waits(number: int) -> str:
    return f"{count(number, 'sample waits', 'samples wait')}; " if number else ""


def _all_well(standing: Standing) -> Sentence:
    overview = standing.overview
    parts = list(_in_hand(len(standing.arriving), overview.number_unfinished))
    if parts:
        return Sentence(Level.NEWS, f"{_capital(', '.join(parts))}.")
    if not any(overview.counts.values()):
        return Sentence(Level.GOOD, "Ready: no sample has come yet.")
    if standing.taken_out:
        gone = count(standing.taken_out, "sample that failed was", "samples that failed were")
        return Sentence(Level.GOOD, f"Nothing is left to send; {gone} taken out of failed by hand.")
    return Sentence(Level.GOOD, "All samples sent." if overview.counts.get(State.DONE) else "Nothing is left to send.")


def _in_hand(receiving: int, unfinished: int) -> Iterator[str]:
    if unfinished:
        yield f"{count(unfinished, 'sample is', 'samples are')} on the way"
    if receiving:
        yield f"{count(receiving, 'is', 'are')} arriving" if unfinished else _arriving(receiving)


def _arriving(receiving: int) -> str:
    return f"{count(receiving, 'sample is', 'samples are')} arriving"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
