"""What start-up finds in rows and folders after a stop of any kind, and how each case is finished.

Owns the comparison of the state with the folders. It must not process anything: what can go on is handed back to the
workers. Errors: StateUnwritable, OSError where work, done or failed cannot be read. What the disk refuses for one
submission keeps neither the daemon nor the others from going on: it is logged, and the next start tries again.

DIAGNOSTICS, one sentence per case, logged:
    taking, folder still in the inbox          -> it is taken now
    taking, folder in work                     -> it was taken; a folder of that name in the inbox is a new drop
    taking, folder nowhere                     -> the taking is withdrawn
    on its way to done or failed               -> brought there first of all
    on its way back into work (retry)          -> brought back; if its folder is gone, it stays as it had ended
    in work, but its folder is not there       -> goes on; its next turn finds that, and it fails
    processing                                 -> goes on where it was; acknowledged images are not sent again
    processing, for the second time            -> set aside as failed: it breaks moichord off
    the same, but its images are all sent      -> others go before; it does not fail
    half-written files in its folder           -> removed; they are written anew
    in work what lies in done or failed        -> removed from work
    in work what has ended and lies nowhere    -> left, and named
    in work what no submission knows           -> removed if it is empty; else left, and named
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from moichord import durable, put_back
from moichord.errors import Moved, UsageRefused
from moichord.queue.arrivals import Arrivals
from moichord.queue.endings import Endings
from moichord.queue.interruptions import Interruptions
from moichord.queue.timekeeping import boot_of_machine
from moichord.queue.transitions import Transitions
from moichord.sample import SENT_WHOLE, State, Submission, about, printable
from moichord.spool import Spool, kind_of
from moichord.way_back import WayBack

log = logging.getLogger(__name__)

CRASHES_OF_POISON = 2
SECONDS_FOR_OTHERS = 300.0
POISON = "moichord broke off twice while processing this sample."
POISON_REMEDY = (
    "Something in it ends moichord itself. Export the sample again; if that does not help, give this folder and "
    "moichord's log to whoever maintains moichord."
)
BROKEN_OFF = "moichord broke off more than once while it was processed; it goes on once others had their turns"


def take_over_attempts(arrivals: Arrivals, endings: Endings, spool: Spool) -> None:
    """A state that knows no sample is new, or a former one was lost: then receipts say which numbers were given.

    They also do for a copy that was put back (`put_back`). Raises OSError where the folders cannot be read,
    StateUnwritable.
    """
    if arrivals.is_copy():
        put_back.take_over(arrivals, endings, spool)
    if arrivals.count_attempts():
        return
    known = spool.last_attempts()
    if known:
        arrivals.raise_attempts(known)
        log.warning(
            "this state is new, and %d samples of an earlier one lie in done and failed: their attempt numbers go on",
            len(known),
        )


def recover(
    arrivals: Arrivals,
    transitions: Transitions,
    interruptions: Interruptions,
    endings: Endings,
    spool: Spool,
    way_back: WayBack,
) -> int:
    """Finish what an earlier run had begun; the number of submissions that this concerned."""
    boot = boot_of_machine()
    transitions.exclude_downtime(boot)
    interruptions.ask_soon()
    takings = arrivals.intended()
    for submission in takings:
        with _hindrance_told(submission):
            _finish_taking(submission, arrivals, spool)
    returning = endings.half_brought_back()
    for submission in returning:
        with _hindrance_told(submission):
            _finish_return(submission, way_back)
    # What a power cut or a restart of the machine breaks off says nothing about the samples.
    counts = interruptions.begin_run(boot)
    interrupted = transitions.left_processing()
    for submission in interrupted:
        with _hindrance_told(submission):
            durable.remove_leftovers(spool.folder(submission.uuid, submission.folder_name))
        crashes = submission.crashes + int(counts)
        if submission.intent is not None or crashes < CRASHES_OF_POISON:
            _go_on(submission, interruptions, crashes)
        elif submission.step in SENT_WHOLE:
            log.error("%s", BROKEN_OFF, extra=about(submission))
            transitions.hold(submission, BROKEN_OFF, "internal error", SECONDS_FOR_OTHERS)
        else:
            _set_aside(submission, interruptions, endings, spool)
    _clear_work(endings, spool)
    return len(takings) + len(returning) + len(interrupted)


def _finish_taking(submission: Submission, arrivals: Arrivals, spool: Spool) -> None:
    places = spool.where(submission.uuid, submission.folder_name)
    if not places:
        _tell(submission, "was to be taken, but the folder is gone: the taking is withdrawn")
        arrivals.withdraw(submission, "the folder was gone before it could be taken")
        spool.discard_empty(submission.uuid)
        return
    # Repeating is right in both cases: a sample that was moved is made durable, one that was not is moved.
    # An empty folder that was moved looks like the placeholder of a move: what lies in the inbox is a new drop then.
    moved = submission.file_count == 0 and "work" in places
    refusal = None if moved else spool.take([(submission.folder_name, submission.uuid)])[submission.uuid]
    if refusal is None:
        _tell(submission, "was being taken when moichord stopped: taken")
        arrivals.taken([submission], note="taken from the inbox, after an interruption")
    else:
        _tell(submission, f"was to be taken, and stays in the inbox: {refusal.problem}")
        arrivals.withdraw(submission, refusal.problem)


def _finish_return(submission: Submission, way_back: WayBack) -> None:
    try:
        way_back.bring(submission)
    except UsageRefused as refusal:
        _tell(submission, f"was to be retried, and stays as it had ended: {refusal.problem}")
    else:
        _tell(submission, "was being brought back for a retry: goes on")


def _go_on(submission: Submission, interruptions: Interruptions, crashes: int) -> None:
    if submission.intent is not None:
        _tell(submission, "was interrupted while processing: its move goes on")
        interruptions.interrupted(submission, crashes=0)
    else:
        _tell(submission, f"was interrupted while processing: goes on at {submission.step}")
        interruptions.interrupted(submission, crashes=crashes)


def _set_aside(submission: Submission, interruptions: Interruptions, endings: Endings, spool: Spool) -> None:
    try:
        place = spool.free_name("failed", submission.folder_name, submission.attempt_number)
    except OSError as error:
        _tell_hindrance(submission, error)
        interruptions.interrupted(submission, crashes=submission.crashes)
        return
    log.error("%s It is set aside as failed", POISON, extra=about(submission))
    decided = endings.conclude(submission, State.FAILED, place, POISON, POISON_REMEDY)
    interruptions.interrupted(decided, crashes=0)


def _clear_work(endings: Endings, spool: Spool) -> None:
    _clear_retired(spool)
    at_work = endings.at_work()
    left = [uuid for uuid in spool.orphans() if uuid not in at_work]
    known = {submission.uuid: submission for submission in endings.known(left)}
    for uuid in left:
        submission = known.get(uuid)
        if submission is None:
            _clear_unknown(uuid, spool)
        else:
            with _hindrance_told(submission):
                _clear_ended(submission, spool)


def _clear_retired(spool: Spool) -> None:
    for uuid in spool.retired():
        try:
            spool.remove_retired(uuid)
        except OSError as error:
            log.error("what is left in work of %s, which was filed, cannot be removed: %s", uuid, error.strerror)


def _clear_ended(submission: Submission, spool: Spool) -> None:
    filed = submission.place is not None and spool.arrived(kind_of(submission.state), submission.uuid, submission.place)
    if filed:
        _tell(submission, f"is {submission.state}: what is left of it in work is removed")
        spool.discard(submission.uuid)
    elif not spool.discard_empty(submission.uuid):
        log.error(
            "is %s, but its folder is still in work (%s) and lies nowhere else: it stays there. Move it into the inbox "
            "to have it sent again, or delete it",
            submission.state,
            submission.uuid,
            extra=about(submission),
        )


def _clear_unknown(uuid: str, spool: Spool) -> None:
    try:
        empty = spool.discard_empty(uuid)
    except OSError as error:
        log.error("the empty folder %s in work cannot be removed: %s", uuid, error.strerror)
        return
    if not empty:
        log.error(
            "nothing is known of the folder %s in work: look into it; move what it holds into the inbox, or delete it",
            uuid,
        )


@contextmanager
def _hindrance_told(submission: Submission) -> Iterator[None]:
    """What the disk refuses for one submission is that one's; it stays as it is until the next start."""
    try:
        yield
    except Moved as error:
        log.error(
            "cannot be finished now, and stays as it is until the next start: %s",
            error.problem,
            extra=about(submission),
        )
    except OSError as error:
        _tell_hindrance(submission, error)


def _tell_hindrance(submission: Submission, error: OSError) -> None:
    place = f" ({printable(os.fsdecode(error.filename))})" if error.filename else ""
    log.error(
        "cannot be finished now, and stays as it is until the next start: %s%s",
        error.strerror or error,
        place,
        extra=about(submission),
    )


def _tell(submission: Submission, what: str) -> None:
    log.warning("%s", what, extra=about(submission))
