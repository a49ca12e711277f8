"""The way back into work, by retry: folder, then state. Each part can be repeated after a crash.

Owns the order in which a finished submission comes back, once that is intended. It must not decide whether it may.
Errors: UsageRefused if its folder is gone or altered (it then stays as it had ended), OSError, StateUnwritable.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from moichord.errors import UsageRefused
from moichord.queue.endings import Endings, Reopening
from moichord.sample import Submission, about
from moichord.spool import Spool, kind_of

log = logging.getLogger(__name__)

CHANGED_MEANWHILE = """This folder was changed while its sample was brought back for a retry.
The retry goes on with what lay here before. To send what was added, drop this folder into the inbox.
"""


class WayBack:
    """Brings submissions back from done or failed. `manifest_of` gives what identifies a folder's present files."""

    def __init__(self, endings: Endings, spool: Spool, manifest_of: Callable[[Path], str]) -> None:
        self._endings = endings
        self._spool = spool
        self._manifest_of = manifest_of

    def begin(self, submission: Submission, how: Reopening) -> None:
        """Intend the return of `submission`, which has ended.

        What its filing left in work is removed first, for it would be taken for what is brought back.
        """
        self._spool.finished_folder(kind_of(submission.state), _place(submission), submission.uuid)
        self._spool.discard(submission.uuid)
        self._endings.reopen(submission, how)

    def bring(self, submission: Submission) -> None:
        """Bring `submission`, whose return is intended, into work, ready to go on."""
        kind, place = kind_of(submission.state), _place(submission)
        try:
            self._spool.bring_back(kind, place, submission.uuid, submission.folder_name)
        except UsageRefused:
            self._endings.stay_out(submission)
            raise
        stays = self._spool.clear_way_back(kind, place, submission.uuid, submission.folder_name, CHANGED_MEANWHILE)
        if stays is not None:
            log.warning(
                "%s/%s was changed while it was brought back, and stays: look at what was added",
                kind,
                stays,
                extra=about(submission),
            )
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        files = self._spool.files(submission.uuid, submission.folder_name)
        self._endings.reopened(submission, self._manifest_of(folder), files)


def _place(submission: Submission) -> str:
    return submission.place or submission.folder_name
