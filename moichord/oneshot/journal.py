"""The journal of the one-shot: what the steps remember, for as long as the process lives.

Owns steps and images in memory, behind a lock, since images are sent by several threads. It must not know what a step
does. Errors: Stopped. It never holds: a failed request is tried again in this process (`retrying`).
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from moichord.clock import Clock
from moichord.errors import ApiFailure, Stopped
from moichord.sample import Acknowledgement, Api, Image, Step, StepRecord, Submission, printable

log = logging.getLogger(__name__)


class MemoryJournal:
    """The journal of one submission. Setting `stopping` makes the steps raise Stopped."""

    def __init__(self, submission: Submission, clock: Clock, stopping: threading.Event) -> None:
        self.submission = submission
        self._clock = clock
        self._stopping = stopping
        self._began = clock.monotonic()
        self._about = {"sample": submission.sample_id, "submission": submission.uuid}
        self._lock = threading.Lock()
        self._steps: dict[Step, StepRecord] = {}
        self._images: dict[str, Image] = {}
        self._asked_to_wait: float | None = None

    def replan(self) -> None:
        """Forget the tags step, what followed, and its images: they are planned anew from the files as they lie now."""
        with self._lock:
            for step in (Step.TAGS, Step.UPLOAD):
                self._steps.pop(step, None)
            self._images = {}

    def asked_to_wait(self) -> float | None:
        """The longest time in seconds that an answer since the last call asked to wait for, if one did."""
        with self._lock:
            asked, self._asked_to_wait = self._asked_to_wait, None
            return asked

    def steps(self) -> Mapping[Step, StepRecord]:
        with self._lock:
            return dict(self._steps)

    def begin(self, step: Step) -> None:
        with self._lock:
            self._steps.setdefault(step, StepRecord(step, started_at=self._clock.now()))

    def advance(
        self,
        step: Step,
        result: Any,
        begins: Step | None,
        planned: Sequence[Image] | None = None,
        terms: Any = None,
    ) -> None:
        with self._lock:
            if planned is not None:
                numbered = (replace(image, number=number) for number, image in enumerate(planned, start=1))
                self._images = {image.relative_path: image for image in numbered}
            self._steps[step] = replace(self._steps[step], finished_at=self._clock.now(), result=result)
        log.info("%s is done", step, extra={**self._about, "step": str(step)})
        if begins is not None:
            self.begin(begins)
            with self._lock:
                self._steps[begins] = replace(self._steps[begins], result=terms)

    def images(self) -> list[Image]:
        with self._lock:
            return list(self._images.values())

    def missing(self) -> int:
        return sum(image.to_send and image.acknowledged_at is None for image in self.images())

    def seconds_since_taken(self) -> float:
        return self._clock.monotonic() - self._began

    def unchanged_for(self, manifest: str) -> None:  # noqa: ARG002
        return None  # nothing settles here: whoever gives the command says that the sample is complete

    def check_stop(self) -> None:
        if self._stopping.is_set():
            raise Stopped("interrupted")

    def admit(self, api: Api) -> None:  # noqa: ARG002  # no circuit: there is no other sample to spare
        self.check_stop()

    def cautious(self, api: Api) -> bool:  # noqa: ARG002
        return False

    def requesting(self, step: Step) -> None:
        with self._lock:
            self._steps[step] = replace(self._steps[step], requests=self._steps[step].requests + 1)

    def answered(self, api: Api) -> None:
        """Nothing is counted here."""

    def failed(self, step: Step, failure: ApiFailure, *images: Image) -> None:
        if not failure.maybe_done:
            self.not_sent(*images)
        with self._lock:
            self._steps[step] = replace(self._steps[step], last_problem=failure.problem)
            if failure.retry_after is not None:
                self._asked_to_wait = max(failure.retry_after, self._asked_to_wait or 0.0)

    def sending(self, *images: Image) -> None:
        self._count_request(images, 1)

    def not_sent(self, *images: Image) -> None:
        self._count_request(images, -1)

    def _count_request(self, images: Sequence[Image], change: int) -> None:
        with self._lock:
            for image in images:
                known = self._images[image.relative_path]
                self._images[image.relative_path] = replace(known, requests=known.requests + change)

    def acknowledged(self, *acknowledgements: Acknowledgement, written: Callable[[], None] | None = None) -> None:
        for one in acknowledgements:
            self._learn(
                one.image,
                acknowledged_at=self._clock.now(),
                status=one.status,
                reply=one.reply,
                already_stored=one.already_stored,
                tail_digest=one.tail_digest,
                refused=None,
            )
            log.info("stored %s", printable(one.image.relative_path), extra={**self._about, "status": one.status})
        if written is not None:
            written()

    def refused(self, image: Image, why: str) -> None:
        self._learn(image, refused=why)

    def archived(self, image: Image, sha256: str) -> None:
        self._learn(image, sha256=sha256)

    def _learn(self, image: Image, **facts: Any) -> None:
        with self._lock:
            self._images[image.relative_path] = replace(self._images[image.relative_path], **facts)
