"""When is a parcel stored? The judgement of the protocols whose server speaks by its status: raw, multipart, zip.

Owns the order of the questions: already stored, an accepted status, the reply's own word, Orthanc's word for every
image. It must not know how the images were sent. Errors that leave it: the `ApiFailure` that the answer is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moichord.apis.answers import SERVER, failure_of_status
from moichord.apis.http import Answer
from moichord.apis.replies import NotJson, kept, parse, quote
from moichord.apis.upload import Parcel, Stored
from moichord.errors import ApiRefusal, ApiTransient
from moichord.sample import Api

_SERVER = SERVER[Api.UPLOAD]
_ALREADY = "AlreadyStored"
_ORTHANCS_WORDS = frozenset({"Success", _ALREADY, "Failure", "FilteredOut"})
"""`Status` in the replies of Orthanc's POST /instances (its OrthancRestApi::SetupResourceAnswer)."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What counts as success: one of these statuses, and a reply of which `success_test`, if any, holds."""

    statuses: frozenset[int]
    success_test: Callable[[Any], bool] | None = None

    def judge(self, answer: Answer, parcel: Parcel, *, now: float) -> tuple[Stored, ...]:
        """Every image is stored, or the failure that the answer is.

        `now` is UTC in seconds since the epoch, for Retry-After.
        """
        words = _orthancs_words(answer)
        if answer.status == 409 or (len(parcel.instances) == 1 and words and words[0].get("Status") == _ALREADY):
            require_ours(answer, ours=parcel.maybe_stored or parcel.accept_already_stored)
            return _each(parcel, Stored(answer.status, kept(answer.content), already_stored=True))
        if answer.status not in self.statuses:
            raise failure_of_status(Api.UPLOAD, answer.status, answer.headers, now=now, detail=quote(answer.content))
        if self.success_test is not None:
            _hold_to(self.success_test, answer)
        if not words:
            return _each(parcel, Stored(answer.status, kept(answer.content)))
        return _by_orthancs_words(answer, parcel, words)


def require_ours(answer: Answer, *, ours: bool) -> None:
    """Refuse what the server had before, unless an earlier request may have stored it or that is accepted."""
    if not ours:
        raise refusal(
            f"{_SERVER} already holds this image, and upload.already_stored is fail ({answer.status}).",
            "Remove the image from that server, or set upload.already_stored to accept; then retry.",
            answer,
            maybe_done=False,
        )


def refusal(problem: str, remedy: str, answer: Answer, *, maybe_done: bool) -> ApiRefusal:
    """A refusal for good that quotes the answer."""
    return ApiRefusal(
        problem,
        api=Api.UPLOAD,
        remedy=remedy,
        status=answer.status,
        maybe_done=maybe_done,
        detail=quote(answer.content),
    )


def _each(parcel: Parcel, stored: Stored) -> tuple[Stored, ...]:
    return (stored,) * len(parcel.instances)


def _hold_to(success_test: Callable[[Any], bool], answer: Answer) -> None:
    try:
        reply = parse(answer.content)
    except NotJson as error:
        # Not the image server's word: a page of something in between must not fail every sample.
        raise ApiTransient(
            f"{_SERVER}'s reply {error}, so that upload.success.json cannot be tested ({answer.status}).",
            api=Api.UPLOAD,
            remedy="Check that upload.url names the API itself, and check upload.success.json. moichord tries again.",
            status=answer.status,
            detail=quote(answer.content),
        ) from error
    if not success_test(reply):
        raise refusal(
            f"{_SERVER}'s reply does not report success: upload.success.json is not true ({answer.status}).",
            "See what the server replied; once mended there, retry the sample.",
            answer,
            maybe_done=True,
        )


def _orthancs_words(answer: Answer) -> Sequence[Mapping[str, Any]]:
    """What Orthanc says of each image it was given; empty if these are not its words."""
    if not 200 <= answer.status < 300 or b'"Status"' not in answer.content:
        return ()
    try:
        reply = parse(answer.content)
    except NotJson:
        return ()
    said = reply if isinstance(reply, list) else [reply]
    theirs = all(isinstance(one, dict) and "ID" in one and one.get("Status") in _ORTHANCS_WORDS for one in said)
    return said if theirs else ()


def _by_orthancs_words(answer: Answer, parcel: Parcel, words: Sequence[Mapping[str, Any]]) -> tuple[Stored, ...]:
    """It answers in the order of the archive, and says nothing of a file that it could not read."""
    if len(words) != len(parcel.instances):
        raise refusal(
            f"{_SERVER} speaks of {len(words)} images and was sent {len(parcel.instances)} ({answer.status}).",
            "See that server's own log for what it could not read; once mended, retry the sample.",
            answer,
            maybe_done=True,
        )
    for word in words:
        if word["Status"] not in ("Success", _ALREADY):
            raise refusal(
                f"{_SERVER} took an image and did not store it ({word['Status']}, {answer.status}).",
                "See that server's own log, and its filters; once mended, retry the sample.",
                answer,
                maybe_done=True,
            )
    ours = parcel.accept_already_stored
    for instance, word in zip(parcel.instances, words, strict=True):
        require_ours(answer, ours=ours or instance.maybe_stored or word["Status"] != _ALREADY)
    return tuple(Stored(answer.status, dict(word), already_stored=word["Status"] == _ALREADY) for word in words)
