"""What the steps may ask and tell: acknowledgements, answers, results. The only thing they know of the queue.

Owns the protocol; `queue.journal` keeps it for the daemon in the database, `oneshot` in memory. Errors: Hold and
Stopped from `admit` and `check_stop`; whatever the implementation raises when it cannot write.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from moichord.errors import ApiFailure
from moichord.sample import Acknowledgement, Api, Image, Step, StepRecord, Submission


class Journal(Protocol):
    """The memory of one submission. A method that records an intent returns once it is durable."""

    @property
    def submission(self) -> Submission: ...

    def steps(self) -> Mapping[Step, StepRecord]:
        """What is known of the steps that were begun."""
        ...

    def begin(self, step: Step) -> None:
        """Intent: `step` is about to be done."""
        ...

    def advance(
        self,
        step: Step,
        result: Any,
        begins: Step | None,
        planned: Sequence[Image] | None = None,
        terms: Any = None,
    ) -> None:
        """Result of `step` (JSON), its images if it plans them, and the intent of the next step.

        `terms` is what the next step goes by: its result, as long as it has none of its own.
        """
        ...

    def images(self) -> list[Image]:
        """The images as planned, with what became of them."""
        ...

    def missing(self) -> int:
        """How many images that are to be sent the server has not acknowledged."""
        ...

    def seconds_since_taken(self) -> float:
        """How long ago the sample was taken, however the machine's clock was set meanwhile."""
        ...

    def unchanged_for(self, manifest: str) -> float | None:
        """Seconds since the sample's files were last seen to change; None if they have not since it was taken."""
        ...

    def replan(self) -> None:
        """The files changed before anything was sent: the tags step is to be done anew."""
        ...

    def check_stop(self) -> None:
        """Raise Stopped when the submission is to be left where it is."""
        ...

    def admit(self, api: Api) -> None:
        """Raise Hold while `api` is believed down, unless this is its probe."""
        ...

    def cautious(self, api: Api) -> bool:
        """Whether one request is to go out by itself, to see if `api` works again."""
        ...

    def requesting(self, step: Step) -> None:
        """Intent: the one request of `step` is about to go out."""
        ...

    def answered(self, api: Api) -> None:
        """`api` answered a request well."""
        ...

    def failed(self, step: Step, failure: ApiFailure, *images: Image) -> None:
        """A request of `step` failed, which was to bring `images`. In doubt the server has carried it out."""
        ...

    def not_sent(self, *images: Image) -> None:
        """The request of `images` that was intended has not gone out."""
        ...

    def sending(self, *images: Image) -> None:
        """Intent: the first byte of the request that brings `images` is about to go out."""
        ...

    def acknowledged(self, *acknowledgements: Acknowledgement, written: Callable[[], None] | None = None) -> None:
        """Result: the server has these images; all of them or none are remembered, before the result of the step is.

        `written` is called once that is durable, or has failed.
        """
        ...

    def refused(self, image: Image, why: str) -> None:
        """Result: the server refuses `image` for good."""
        ...

    def archived(self, image: Image, sha256: str) -> None:
        """Result: `image` lies as it is to be kept."""
        ...
