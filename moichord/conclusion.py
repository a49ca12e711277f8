"""The way out of work: receipt, move, final state. Each part can be repeated after a crash.

Owns the order in which a submission ends: intent, receipt in the folder, images deleted if so configured, one rename,
the rest of work out of the way, result, that rest removed; and the end of one whose folder somebody removed from work.
It must not decide how a submission ends (`ending`). Errors: OSError and Moved when a folder cannot be moved, Hold
while nothing can be moved there (the intent stands, and the submission is brought to its place later),
StateUnwritable.
"""

import logging
from collections.abc import Callable, Sequence

from moichord import durable
from moichord.ending import DONE, Ending, as_it_is, of_submission, without_folder
from moichord.errors import Hold
from moichord.pipeline.archive_sample import updated_already
from moichord.queue.endings import Endings
from moichord.queue.views import Views
from moichord.receipt import failed_text, receipt, receipt_text
from moichord.sample import FAILED_NAME, RECEIPT_NAME, Image, State, Step, Submission, about, native
from moichord.spool import Kind, Spool, kind_of
from moichord.storage import HELD_BY, Storage

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 15.0


class Conclusion:
    """Brings submissions to done or failed."""

    def __init__(self, endings: Endings, views: Views, spool: Spool, storage: Storage) -> None:
        self._endings = endings
        self._views = views
        self._spool = spool
        self._storage = storage

    def is_gone(self, submission: Submission) -> bool:
        """Whether somebody removed its folder from work; Hold or OSError where that cannot be known for certain."""
        uuid, name = submission.uuid, submission.folder_name
        if not self._spool.is_removed(uuid):
            return False
        if not self._spool.work_is_ours():
            raise Hold("The folder work is not there.", held_by=HELD_BY["work"], seconds=LOOK_AGAIN_SECONDS)
        if submission.intent == "conclude" and submission.outcome is not None:
            kind = kind_of(submission.outcome)
            self._storage.require_place(kind)
            if self._spool.arrived(kind, uuid, submission.place or name):
                return False
        # Looked for again: the share may have come back only after the first look.
        return self._spool.is_removed(uuid)

    def conclude(self, submission: Submission, decided: Ending) -> Ending:
        """End `submission` as decided, or as that turns out for it; returns how it ended."""
        ending = of_submission(submission, decided)
        if self.is_gone(submission):
            return self._end_without_folder(submission, ending)
        place = self._spool.free_name(kind_of(ending.outcome), submission.folder_name, submission.attempt_number)
        moving = self._endings.conclude(submission, ending.outcome, place, ending.reason, ending.remedy)
        self._move(moving, place, ending)
        return ending

    def carry_out(self, submission: Submission) -> Ending:
        """Bring a submission whose end is decided to its place; repeats what a crash interrupted."""
        ending = as_it_is(submission)
        if self.is_gone(submission):
            return self._end_without_folder(submission, ending)
        self._move(submission, submission.place or submission.folder_name, ending)
        return ending

    def _end_without_folder(self, submission: Submission, decided: Ending) -> Ending:
        ending = without_folder(decided)
        self._endings.conclude_without_folder(submission, ending.outcome, ending.reason, ending.remedy)
        self._tell(submission, ending)
        self._spool.discard_empty(submission.uuid)
        return ending

    def _move(self, submission: Submission, place: str, ending: Ending) -> None:
        kind = kind_of(ending.outcome)
        if not self._moved(submission, kind, place):
            place = self._spool.free_name(kind, submission.folder_name, submission.attempt_number)
            submission = self._endings.conclude(submission, ending.outcome, place, ending.reason, ending.remedy)
            if not self._moved(submission, kind, place):  # the next turn tries another; the daemon may want to stop
                taken = f"In {kind} another folder has just taken the name {place}, too."
                raise Hold(taken, held_by="disk", seconds=LOOK_AGAIN_SECONDS)
        # Before the result: once that stands, a retry may bring a folder of the same name into work.
        retired = self._cleared(submission, self._spool.retire)
        self._endings.concluded(submission)
        if retired:
            self._cleared(submission, self._spool.remove_retired)
        self._tell(submission, ending)

    def _cleared(self, submission: Submission, clear: Callable[[str], bool | None]) -> bool:
        """What `clear` says; False if it could not."""
        try:
            return bool(clear(submission.uuid))
        except OSError as error:
            said = "%s; what is left of it in work is removed at the next start"
            log.warning(said, error.strerror, extra=about(submission, submission.step))
            return False

    def _tell(self, submission: Submission, ending: Ending) -> None:
        level = logging.INFO if ending == DONE else logging.WARNING
        text = str(ending.outcome) if ending.brief is None else f"{ending.outcome}: {ending.brief}"
        log.log(level, "%s", text, extra=about(submission, submission.step))

    def _moved(self, submission: Submission, kind: Kind, place: str) -> bool:
        """Move the folder to `place`; False if another folder has taken that name meanwhile."""
        self._storage.require_place(kind)
        if not self._spool.arrived(kind, submission.uuid, place):
            self._write_papers(submission)
        try:
            missing = self._spool.move_out(kind, submission.uuid, submission.folder_name, place)
        except FileExistsError:
            return False
        for sentence in missing:
            log.warning("%s", sentence, extra=about(submission))
        return True

    def _write_papers(self, submission: Submission) -> None:
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        if not folder.exists():
            return  # `move_out` says what is wrong
        known = self._views.detail(submission.uuid)
        durable.remove_leftovers(folder)  # what a turn could not clear away itself, its disk having failed
        if submission.outcome is State.DONE:
            (folder / FAILED_NAME).unlink(missing_ok=True)
        else:
            # Once all is stored a filing may have begun, also one whose step a retry has forgotten since.
            stored = all(image.acknowledged_at is not None for image in known.images if image.to_send)
            updated = updated_already(folder, known.images) if stored else ()
            durable.replace_text(folder / FAILED_NAME, failed_text(known.submission, known.images, updated))
        durable.replace_text(folder / RECEIPT_NAME, receipt_text(receipt(known.submission, known.steps, known.images)))
        filing = known.steps.get(Step.ARCHIVE)
        deleted = filing is not None and filing.result == "none"
        # Analytics that are repeated concern no image: what lay in done lies there as before.
        if submission.outcome is State.DONE and deleted and not submission.repetition:
            self._delete_images(submission, known.images)

    def _delete_images(self, submission: Submission, images: Sequence[Image]) -> None:
        folder = self._spool.folder(submission.uuid, submission.folder_name)
        for image in images:
            if not image.carried:
                native(folder, image.relative_path).unlink(missing_ok=True)
