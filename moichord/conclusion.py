"""The way out of work: receipt, move, final state. Each part can be repeated after a crash.

Owns the order in which a submission ends: intent, receipt in the folder, images deleted if so configured, one rename,
result, the rest of work removed. It must not decide how a submission ends. Errors: OSError and Moved when a folder
cannot be moved, Hold while nothing can be moved there (the intent stands, and the submission is brought to its place
later), StateUnwritable.
"""

import logging
from collections.abc import Sequence
from typing import Literal

from moichord import durable
from moichord.queue.endings import Endings
from moichord.queue.views import Views
from moichord.receipt import failed_text, receipt, receipt_text
from moichord.sample import FAILED_NAME, RECEIPT_NAME, Image, State, Submission, native
from moichord.spool import Kind, Spool
from moichord.storage import Storage

log = logging.getLogger(__name__)


class Conclusion:
    """Brings submissions to done or failed."""

    def __init__(self, endings: Endings, views: Views, spool: Spool, storage: Storage) -> None:
        self._endings = endings
        self._views = views
        self._spool = spool
        self._storage = storage

    def conclude(
        self,
        submission: Submission,
        outcome: State,
        *,
        reason: str | None = None,
        remedy: str | None = None,
        brief: str | None = None,
        keep_images: bool = True,
    ) -> None:
        """End `submission` as `outcome`: done, failed or cancelled. `brief` is the reason as it may be logged."""
        place = self._spool.free_name(kind_of(outcome), submission.folder_name, submission.attempt_number)
        decided = self._endings.conclude(submission, outcome, place, reason, remedy)
        self.carry_out(decided, brief=brief, keep_images=keep_images)

    def carry_out(self, submission: Submission, *, brief: str | None = None, keep_images: bool = True) -> None:
        """Bring a submission whose outcome is decided to its place; repeats what a crash interrupted."""
        if submission.outcome is None or submission.place is None:
            raise ValueError(f"submission {submission.uuid} has no outcome yet")
        kind = kind_of(submission.outcome)
        place = submission.place
        while not self._moved(submission, kind, place, keep_images=keep_images):
            place = self._spool.free_name(kind, submission.folder_name, submission.attempt_number)
            submission = self._endings.conclude(
                submission, submission.outcome or State.FAILED, place, submission.reason, submission.remedy
            )
        state = self._endings.concluded(submission)
        about = {"sample": submission.sample_id, "submission": submission.uuid, "step": str(submission.step)}
        try:
            self._spool.discard(submission.uuid)
        except OSError as error:
            log.warning("%s; what is left of it in work is removed at the next start", error.strerror, extra=about)
        log.log(
            logging.INFO if state is State.DONE else logging.WARNING,
            "%s",
            state if brief is None else f"{state}: {brief}",
            extra=about,
        )

    def _moved(self, submission: Submission, kind: Kind, place: str, *, keep_images: bool) -> bool:
        """Move the folder to `place`; False if another folder has taken that name meanwhile."""
        self._storage.require_place(kind)
        if not self._spool.arrived(kind, submission.uuid, place):
            self._write_papers(submission, keep_images=keep_images)
        try:
            missing = self._spool.move_out(kind, submission.uuid, submission.folder_name, place)
        except FileExistsError:
            return False
        for sentence in missing:
            log.warning("%s", sentence, extra={"sample": submission.sample_id, "submission": submission.uuid})
        return True

    def _write_papers(self, submission: Submission, *, keep_images: bool) -> None:
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        if not folder.exists():
            return  # `move_out` says what is wrong
        known = self._views.detail(submission.uuid)
        if submission.outcome is State.DONE:
            (folder / FAILED_NAME).unlink(missing_ok=True)
        else:
            durable.replace_text(folder / FAILED_NAME, failed_text(known.submission, known.images))
        durable.replace_text(folder / RECEIPT_NAME, receipt_text(receipt(known.submission, known.steps, known.images)))
        if submission.outcome is State.DONE and not keep_images:
            self._delete_images(submission, known.images)

    def _delete_images(self, submission: Submission, images: Sequence[Image]) -> None:
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        for image in images:
            if not image.carried:
                native(folder, image.relative_path).unlink(missing_ok=True)


def kind_of(outcome: State) -> Literal["done", "failed"]:
    """Where a submission with this outcome lies."""
    return "done" if outcome is State.DONE else "failed"
