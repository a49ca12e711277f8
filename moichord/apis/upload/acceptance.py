"""When is an image stored? The judgement that the protocols with one answer per image share.

Owns the order of the questions: already stored, an accepted status, the reply's own word. It must not know how the
image was sent. Errors that leave it: the `ApiFailure` that the answer is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moichord.apis.answers import SERVER, failure_of_status
from moichord.apis.http import Answer
from moichord.apis.replies import NotJson, kept, parse, quote
from moichord.apis.upload import Stored
from moichord.errors import ApiRefusal, ApiTransient
from moichord.sample import Api

_SERVER = SERVER[Api.UPLOAD]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What counts as success: one of these statuses, and a reply of which `success_test`, if any, holds."""

    statuses: frozenset[int]
    success_test: Callable[[Any], bool] | None = None

    def judge(self, answer: Answer, *, now: float, maybe_stored: bool, accept_already_stored: bool) -> Stored:
        """The image is stored, or the failure that the answer is.

        `now` is UTC in seconds since the epoch, for Retry-After.
        """
        if _already_stored(answer):
            if not (maybe_stored or accept_already_stored):
                raise _refusal(
                    f"{_SERVER} already holds this image, and upload.already_stored is fail ({answer.status}).",
                    "Remove the image from that server, or set upload.already_stored to accept; then retry.",
                    answer,
                    maybe_done=False,
                )
            return Stored(answer.status, kept(answer.content), already_stored=True)
        if answer.status not in self.statuses:
            raise failure_of_status(Api.UPLOAD, answer.status, answer.headers, now=now, detail=quote(answer.content))
        if self.success_test is not None:
            _hold_to(self.success_test, answer)
        return Stored(answer.status, kept(answer.content))


def _hold_to(success_test: Callable[[Any], bool], answer: Answer) -> None:
    try:
        reply = parse(answer.content)
    except NotJson as error:
        # Not the image server's word: a page of something in between must not fail every sample.
        raise ApiTransient(
            f"{_SERVER}'s reply is not JSON, so that upload.success.json cannot be tested ({answer.status}).",
            api=Api.UPLOAD,
            remedy="Check that upload.url names the API itself, and check upload.success.json. moichord tries again.",
            status=answer.status,
            detail=quote(answer.content),
        ) from error
    if not success_test(reply):
        raise _refusal(
            f"{_SERVER}'s reply does not report success: upload.success.json is not true ({answer.status}).",
            "See what the server replied; once mended there, retry the sample.",
            answer,
            maybe_done=True,
        )


def _already_stored(answer: Answer) -> bool:
    """409, or Orthanc's word for it in a reply with a 2xx status."""
    if answer.status == 409:
        return True
    if not 200 <= answer.status < 300 or b"AlreadyStored" not in answer.content:
        return False
    try:
        reply = parse(answer.content)
    except NotJson:
        return False
    return isinstance(reply, dict) and reply.get("Status") == "AlreadyStored"


def _refusal(problem: str, remedy: str, answer: Answer, *, maybe_done: bool) -> ApiRefusal:
    return ApiRefusal(
        problem,
        api=Api.UPLOAD,
        remedy=remedy,
        status=answer.status,
        maybe_done=maybe_done,
        detail=quote(answer.content),
    )
