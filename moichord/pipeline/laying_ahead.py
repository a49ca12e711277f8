"""The archive version of a large image, laid beside it while the image is still being sent.

Owns these drafts and the one thread that makes them, which lives only while there are some to make. A request that
takes longer than a moment waits for the network and leaves processor and disk idle: then the new header and the
untouched tail are copied (copy_file_range where the system has it) into a hidden temporary file in the same folder,
synced and hashed. Archiving then verifies, and renames. A request that is quicker is over before anything begins.

A draft lives within one turn of its sample: what the turn has not used is dropped at its end, whatever that was, and
what a crash leaves is removed at the next start (`durable.remove_leftovers`). So a sample that fails never holds one.
It must not decide whether an image is archived, nor record anything. No error leaves it: a draft that cannot be laid
is none, and archiving, which then lays the image itself, says what is wrong.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from moichord.clock import Clock
from moichord.dicom import TaggedImage
from moichord.durable import Replacement
from moichord.errors import MoichordError
from moichord.pipeline.image_files import as_planned, opened
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import LONG_REQUEST, Image, native

SLOW_REQUEST = 2.0
"""Seconds after which a request is thought to wait for the network."""

BLOCK = 1024 * 1024


class Dropped(Exception):
    """Nobody wants the draft any more."""


class Draft:
    """One image in its new form, beside the one that was received. One thread makes it, another uses or drops it.

    It is begun once its image is `sent`, or at `due` (monotonic seconds).
    """

    def __init__(self, folder: Path, image: Image, tagging: Tagging, due: float) -> None:
        self.folder, self.image, self.due = folder, image, due
        self.sent = threading.Event()
        """Set once the image's request has ended."""
        self._path = native(folder, image.relative_path)
        self._tagging = tagging
        self._changing = threading.Lock()
        self._new: Replacement | None = None
        self._complete = self._dropped = False
        self._ended = threading.Event()
        self._awaited = threading.Event()
        self._sha256: str | None = None

    # The thread that makes it

    def lay(self) -> None:
        """Lay it, all on the disk; or nothing, if that cannot be done or is not wanted any more."""
        with suppress(OSError, MoichordError, Dropped), opened(self.folder, self.image.relative_path) as file:
            tagged = as_planned(file, self.image, self._tagging)
            if self._begun(tagged):
                self._write(tagged)
                self._ended.set()
                self._hash(tagged)

    def give_up(self) -> None:
        """Nothing more is made of it; what is not complete goes."""
        if not self._complete:
            with suppress(OSError):  # whoever ends the turn tries again
                self.drop()
        self._ended.set()

    def _begun(self, tagged: TaggedImage) -> bool:
        with self._changing:
            if not self._dropped and not tagged.unchanged:
                self._new = Replacement(self._path)
        return self._new is not None

    def _write(self, tagged: TaggedImage) -> None:
        assert self._new is not None  # noqa: S101
        written = False
        try:
            tagged.write_to(self._new.file, self._sync)
            self._sync()
            written = True
        finally:
            with self._changing:
                self._complete = written and not self._dropped
                self._new.file.close()

    def _sync(self) -> None:
        """Piece by piece: no commit of the state is to wait behind a gigabyte."""
        if self._dropped or self._new is None:
            raise Dropped
        self._new.sync()

    def _hash(self, tagged: TaggedImage) -> None:
        """Unless the archive step does, by now."""
        digest = hashlib.sha256()
        for block in tagged.stream(bytearray(BLOCK)):
            if self._dropped or self._awaited.is_set():
                return
            digest.update(block)
        self._sha256 = digest.hexdigest()

    # The worker of the sample

    def sha256(self) -> str | None:
        """The SHA-256 of what was sent, if it is known already. It is not found out any more from now on."""
        self._awaited.set()
        return self._sha256

    def take_place(self) -> bool:
        """Replace the image by it as soon as it is complete; False if there is none after all.

        Durably once the image's folder is synced.
        """
        self._ended.wait()
        if not self._complete or self._new is None:
            return False
        self._new.take_place()
        return True

    def drop(self) -> None:
        """Leave no trace of it, whatever the other thread does with it at the moment. Raises OSError."""
        with self._changing:
            self._dropped = True
            if self._new is not None:
                self._new.discard()


class LayingAhead:
    """The drafts of all samples in hand. `has_room` says whether a disk can take so many bytes before their time."""

    def __init__(self, clock: Clock, has_room: Callable[[int], bool]) -> None:
        self._clock = clock
        self._has_room = has_room
        self._changing = threading.Lock()
        self._drafts: dict[tuple[Path, str], Draft] = {}
        self._waiting: deque[Draft] = deque()
        self._thread: threading.Thread | None = None

    @contextmanager
    def meanwhile(self, folder: Path, images: Sequence[Image], tagging: Tagging) -> Iterator[None]:
        """While these images are being sent, the archive versions of the large ones are begun."""
        due = self._clock.monotonic() + SLOW_REQUEST
        large = [image for image in images if image.sent_length >= LONG_REQUEST]
        made = [self._begin(Draft(folder, image, tagging, due)) for image in large]
        try:
            yield
        finally:
            for draft in made:
                draft.sent.set()

    def taken(self, folder: Path, image: Image) -> Draft | None:
        """The draft of an image that is to be archived now; None if there is none, nor one in the making."""
        with self._changing:
            draft = self._drafts.get((folder, image.relative_path))
            if draft is None or draft not in self._waiting:
                return draft
            self._waiting.remove(draft)
            return None

    def drop(self, folder: Path) -> None:
        """Drop what is left of the drafts in this folder. Raises OSError; then it is to be called again."""
        with self._changing:
            for draft in [draft for (of, _), draft in self._drafts.items() if of == folder]:
                draft.drop()
                del self._drafts[folder, draft.image.relative_path]
                with suppress(ValueError):
                    self._waiting.remove(draft)

    def _begin(self, draft: Draft) -> Draft:
        with self._changing:
            self._drafts[draft.folder, draft.image.relative_path] = draft
            self._waiting.append(draft)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="laying-ahead", daemon=True)
                self._thread.start()
        return draft

    def _work(self) -> None:
        while (draft := self._next()) is not None:
            try:
                self._clock.wait(draft.sent, max(0.0, draft.due - self._clock.monotonic()))
                if self._has_room(draft.image.sent_length):
                    draft.lay()
            finally:
                draft.give_up()

    def _next(self) -> Draft | None:
        with self._changing:
            if self._waiting:
                return self._waiting.popleft()
            self._thread = None
            return None
