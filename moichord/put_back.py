"""What a start does with a copy of the state that somebody put back, after an upgrade was taken back.

Owns what is made of all that such a copy cannot know: attempt numbers that were given since, submissions that have
ended since, and samples that were taken since. It must not process anything. Errors: StateUnwritable, OSError where
work, done or failed cannot be read. Each part can be repeated; the state counts as a copy until all is done.

DIAGNOSTICS, one sentence per case, logged:
    a receipt in done or failed    -> its attempt number is given; its submission has ended as it says
    in work, of no submission      -> returned to the inbox, from where it is sent as a new attempt
    in work, though it had ended   -> somebody has retried it since: returned to the inbox too
"""

import logging

from moichord.queue.arrivals import Arrivals
from moichord.queue.endings import Endings
from moichord.sample import FINISHED, about
from moichord.spool import ATTEMPT_SUFFIX, Spool

log = logging.getLogger(__name__)


def take_over(arrivals: Arrivals, endings: Endings, spool: Spool) -> None:
    """Bring the copy up to what the folders say."""
    log.warning("this state is a copy that was put back: what has happened since is taken from done, failed and work")
    filed = spool.filed()
    for submission in endings.ended_since(filed):
        log.warning("has ended since: its receipt says %s", submission.state, extra=about(submission))
    strangers = _strangers(endings, spool, {one.uuid for one in filed})
    # The number of one in work stands in no receipt yet. Before it is moved: afterwards nobody would know of it.
    names = [ATTEMPT_SUFFIX.sub("", name) for uuid in strangers for name in spool.samples_in_work(uuid)]
    arrivals.pass_by_attempts(spool.last_attempts(), names)
    for uuid in strangers:
        for name in spool.return_to_inbox(uuid):
            log.warning("was taken since: returned to the inbox", extra={"sample": name})
    arrivals.is_copy_no_more()


def _strangers(endings: Endings, spool: Spool, filed: set[str]) -> list[str]:
    """The UUIDs in work that this state does not believe there, and that lie nowhere else."""
    found = spool.orphans()
    known = {one.uuid: one for one in endings.known(found)}
    believed = {uuid for uuid, one in known.items() if one.state not in FINISHED or one.intent is not None}
    return [uuid for uuid in found if uuid not in believed and uuid not in filed]
