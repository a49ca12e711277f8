"""The words of the demonstration: what is about to happen, what happened and why, where it lies, what to do next.

Owns the text. It must not know how it is drawn, or how the facts were found. Pure; no error leaves it.
"""

import shlex
from collections.abc import Iterable, Sequence

from moichord.sample import FAILED_NAME, RECEIPT_NAME, printable
from moichord.sandbox.demo.cast import BUSY_SECONDS, IMAGES, Part, Role
from moichord.sandbox.demo.verdict import Trip, surprises

TITLE = "moichord demo: six samples on their way from a scanner to an image server"
AS_PLANNED = "As planned: five samples were sent, and one needs a person."
OTHERWISE = "This did not go as planned."
INTERRUPTED = "Interrupted. The daemon and the stand-in servers have been stopped."
KEPT = "The daemon, its page and the stand-in servers go on: drop folders into inbox. Ctrl-C ends them."
TIMES = {1: "once", 2: "twice", 3: "three times"}


def introduction(folder: str) -> list[str]:
    """What is about to be seen."""
    return [
        f"A pretend scanner drops them into {folder}/inbox, one image at a time. The real daemon takes them from "
        "there. The servers are stand-ins on this machine, and two things go wrong on purpose.",
    ]


def page(port: int, *, opens: bool) -> str:
    """Where the daemon's page is, and whether a browser is opened with it."""
    how = "which opens now" if opens else "for a browser"
    return f"Its page, {how}, while this runs: http://127.0.0.1:{port}/"


def in_order(trips: Iterable[Trip]) -> list[Trip]:
    """The order in which they are best told: first those that just went through."""
    return sorted(trips, key=lambda trip: list(Part).index(trip.role.part))


def story(trip: Trip) -> list[str]:
    """What happened to one sample, and why, or else what was not planned."""
    unplanned = [f"Not as planned: {what}." for what in surprises(trip)]
    if unplanned:
        return unplanned
    match trip.role.part:
        case Part.SMOOTH:
            return [_smooth(trip.role)]
        case Part.RETRIED:
            return [_smooth(trip.role), _retried(trip)]
        case Part.UNKNOWN:
            return _unknown(trip)


def _smooth(role: Role) -> str:
    return f"{role.animal.name} ({role.animal.species}): {IMAGES} images"


def _retried(trip: Trip) -> str:
    return (
        f'For one image the server answered "503, come back in {BUSY_SECONDS} s" {TIMES[trip.busy]}. moichord waited '
        f"as long as it was asked to and sent that image again, but not the {IMAGES - 1} that were stored already."
    )


def _unknown(trip: Trip) -> list[str]:
    reason = (trip.submission and trip.submission.reason) or ""
    remedy = (trip.submission and trip.submission.remedy) or ""
    return [
        printable(reason),
        f"What to do: {printable(remedy)}",
        "(Somebody swapped two digits of MO-1002.) None of its images was sent.",
    ]


def proof(trips: Iterable[Trip]) -> str:
    """What holds if every trip went well: counted on the image server's side, not on the daemon's."""
    images = sum(trip.stored for trip in trips)
    return (
        f"Checked at the servers: {images} images arrived. Each was stored once, has its new tags, and its pixel data "
        "is byte for byte what the scanner wrote. Analytics was triggered once for each sample that was sent, after "
        "its last image."
    )


def places(trips: Sequence[Trip]) -> list[tuple[str, str]]:
    """What lies in the demonstration's folder."""
    failed = next(trip.role.sample_id for trip in trips if trip.role.part is Part.UNKNOWN)
    return [
        ("inbox", "where samples are dropped; empty now"),
        ("done", f"what was sent, each sample with its receipt, {RECEIPT_NAME}"),
        ("failed", f"{failed} exactly as it came, with the reason in plain words, {FAILED_NAME}"),
        ("image-server", "the images as the stand-in server stored them: real DICOM, for dcmdump or a slide viewer"),
        ("scanner", "the images as the scanner wrote them"),
        ("moichord.yaml", "the daemon's configuration; its log is moichord.log, its state is state.db"),
    ]


def question(folder: str, command: str, trips: Sequence[Trip]) -> str:
    """A command that still answers now that the daemon has stopped."""
    retried = next(trip.role.sample_id for trip in trips if trip.role.part is Part.RETRIED)
    return f"{command} -c {shlex.quote(f'{folder}/moichord.yaml')} status {retried}"


def next_commands(command: str) -> list[tuple[str, str]]:
    """How to set up a real one."""
    return [
        (f"{command} init --folders DIR", "makes moichord.yaml and folders; write your three servers into it"),
        (f"{command} check", "tries folders and servers, and says what is missing"),
        (f"{command} run", "starts the daemon: drop a folder into the inbox"),
    ]
