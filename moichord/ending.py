"""How a submission ends, in words: the outcome, why, and what a person can do.

Owns the sentences of the ends that are no step's own: cancelled, given up, broken by moichord, a folder that is gone,
and analytics that were repeated without success. It must not move or write anything. Pure; no error leaves it.
"""

from dataclasses import dataclass, replace

from moichord.errors import ApiFailure, SampleFailure
from moichord.sample import State, Submission

DOOMED_REMEDY = "When the folder is complete and correct, drop it into the inbox again."
UNFORESEEN = "Something unforeseen went wrong inside moichord; its log has the details."
REPEATED_IN_VAIN = "Analytics was asked for again, without success."
REMOVED = "Its folder was removed from work, moichord's own, before it was filed."
REMOVED_REMEDY = "Drop the sample into the inbox again; only moichord may change what lies in work."


@dataclass(frozen=True, slots=True)
class Ending:
    """How a submission ends: done, failed or cancelled, why, and what a person can do. `brief` is the why for logs."""

    outcome: State
    reason: str | None = None
    remedy: str | None = None
    brief: str | None = None


DONE = Ending(State.DONE)
CANCELLED = Ending(
    State.CANCELLED,
    "Cancelled by request.",
    "Nothing needs to be done, unless it is to be sent after all.",
    "Cancelled by request.",
)
BROKEN = Ending(
    State.FAILED,
    UNFORESEEN,
    "Report this, with the log, to whoever maintains moichord; then retry the sample.",
    UNFORESEEN,
)


def failed(failure: SampleFailure) -> Ending:
    """A reason of the sample's own."""
    return Ending(State.FAILED, failure.problem, failure.remedy, failure.brief)


def given_up(failure: ApiFailure, why: str | None) -> Ending:
    """A server's last word, or the last of its failures; `why` it is not asked again."""
    problem = f"{failure.problem} ({why})" if why else failure.problem
    detail = f" The server wrote: {failure.detail}" if failure.detail else ""
    return Ending(State.FAILED, problem + detail, failure.remedy, problem)


def as_it_is(submission: Submission) -> Ending:
    """The end that was decided already. `ValueError` if none was."""
    if submission.outcome is None:
        raise ValueError(f"submission {submission.uuid} has no outcome yet")
    return Ending(submission.outcome, submission.reason, submission.remedy)


def of_submission(submission: Submission, ending: Ending) -> Ending:
    """What is done stays done: analytics that are repeated without success change nothing but what is told."""
    if not submission.repetition or ending.outcome is State.DONE:
        return ending
    mend = "" if ending.outcome is State.CANCELLED or ending.remedy is None else f"{ending.remedy} "
    return Ending(
        State.DONE,
        " ".join(part for part in (REPEATED_IN_VAIN, ending.reason) if part),
        f"The sample is done all the same. {mend}To ask once more: "
        f"moichord retry {submission.sample_id} --from analytics",
        " ".join(part for part in (REPEATED_IN_VAIN, ending.brief) if part),
    )


def without_folder(ending: Ending) -> Ending:
    """The same, of a sample whose folder is gone; what cannot be filed is not done."""
    outcome = State.FAILED if ending.outcome is State.DONE else ending.outcome
    brief = " ".join(part for part in (ending.brief, REMOVED) if part)
    if ending.reason is None:
        return replace(ending, outcome=outcome, reason=REMOVED, remedy=REMOVED_REMEDY, brief=brief)
    return Ending(outcome, f"{ending.reason} {REMOVED}", ending.remedy or REMOVED_REMEDY, brief)
