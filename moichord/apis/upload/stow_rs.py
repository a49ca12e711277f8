"""Upload protocol `stow-rs`: DICOMweb's Store Transaction (PS3.18 10.5), one image per request.

Owns the request, the judgement of its answer, and the question by QIDO-RS (PS3.18 10.6) whether an image is there,
which is asked wherever a request's outcome is unknown. It must not know how a reply is written (stow_answers). Errors
that leave it: see `upload`.
"""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

from moichord.apis.answers import SERVER, failure_of_status, retry_after
from moichord.apis.bodies import BytesBody, ChainedBody
from moichord.apis.http import Answer, Client
from moichord.apis.replies import kept, quote
from moichord.apis.upload import Instance, Parcel, Stored
from moichord.apis.upload.acceptance import refusal, require_ours
from moichord.apis.upload.multipart import new_boundary
from moichord.apis.upload.stow_answers import PATIENT_ID, Fate, Kind, fate_of, is_among
from moichord.errors import ApiFailure, ApiRefusal, ApiTransient, ConfigurationInvalid, Stopped
from moichord.sample import Api

DICOM_JSON = "application/dicom+json"
FOUND = "the server had it already: found by QIDO-RS before it was sent again"
FOUND_AFTERWARDS = "the server's answer did not name it; found by QIDO-RS"
_SERVER = SERVER[Api.UPLOAD]


class StowRsUpload:
    """An `Uploader` for an endpoint `.../studies` or `.../studies/UID`."""

    takes_whole_samples = False

    def __init__(self, client: Client, *, make_boundary: Callable[[], str] = new_boundary) -> None:
        self._client = client
        self._make_boundary = make_boundary
        self._instances = instances_url(client.endpoint.url)

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        (instance,) = parcel.instances
        if instance.maybe_stored and self._holds(parcel, instance):
            return (Stored(200, {"note": FOUND}, already_stored=True),)
        boundary = self._make_boundary()
        described = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": DICOM_JSON,
            "Idempotency-Key": parcel.idempotency_key,
        }
        answer = self._client.send(related(instance, boundary), {**described, **parcel.headers}, method="POST")
        return (self._judged(answer, parcel, instance),)

    def _judged(self, answer: Answer, parcel: Parcel, instance: Instance) -> Stored:
        fate = fate_of(answer.content, instance.sop_instance_uid)
        if fate.kind is Kind.STORED:
            return Stored(answer.status, _noted(answer, fate.words))
        if fate.kind is Kind.DUPLICATE:
            return self._already_stored(answer, parcel, instance)
        if fate.kind is Kind.LATER:
            raise self._later(answer, fate)
        succeeded = 200 <= answer.status < 300
        if fate.kind is Kind.REFUSED or (fate.kind is Kind.REFUSED_BY_STATUS and succeeded):
            raise _refused(answer, fate)
        if fate.kind is Kind.UNSAID and answer.status == 409 and self._turns_out_stored(answer, parcel, instance):
            return self._already_stored(answer, parcel, instance)
        if not succeeded:
            now = self._client.clock.now()
            raise failure_of_status(Api.UPLOAD, answer.status, answer.headers, now=now, detail=quote(answer.content))
        if self._turns_out_stored(answer, parcel, instance):
            return Stored(answer.status, _noted(answer, FOUND_AFTERWARDS))
        raise _unknown(answer)

    def _already_stored(self, answer: Answer, parcel: Parcel, instance: Instance) -> Stored:
        require_ours(answer, ours=instance.maybe_stored or parcel.accept_already_stored)
        return Stored(answer.status, kept(answer.content), already_stored=True)

    def _later(self, answer: Answer, fate: Fate) -> ApiTransient:
        return ApiTransient(
            f"{_SERVER} could not store an image: {fate.words} ({answer.status}).",
            api=Api.UPLOAD,
            remedy="Nothing to do now: moichord tries again. If this goes on, look at that server's own log.",
            status=answer.status,
            retry_after=retry_after(answer.headers.get("Retry-After"), self._client.clock.now()),
            maybe_done=False,
            detail=quote(answer.content),
        )

    def _turns_out_stored(self, answer: Answer, parcel: Parcel, instance: Instance) -> bool:
        """Ask after the request: whatever becomes of the question, the image may be stored."""
        try:
            return self._holds(parcel, instance)
        except ApiFailure as failure:
            raise _unknown(answer) from failure
        except Stopped as stopped:
            raise Stopped(str(stopped), maybe_done=True) from stopped

    def _holds(self, parcel: Parcel, instance: Instance) -> bool:
        """Whether the server says that it has the image; a server that cannot be asked has not said so."""
        # The patient is compared here: no patient's ID goes into an address, which servers write into their logs.
        question = {"SOPInstanceUID": instance.sop_instance_uid, "includefield": PATIENT_ID}
        answer = self._client.send(
            b"", {**parcel.headers, "Accept": DICOM_JSON}, method="GET", url=self._instances, params=question
        )
        return answer.status == 200 and is_among(answer.content, instance.sop_instance_uid, instance.patient_id)


def instances_url(studies_url: str) -> str:
    """The address where a server that stores at `.../studies` searches for instances (PS3.18 table 10.6.1-1).

    Raises ConfigurationInvalid for an address that does not store.
    """
    parts = urlsplit(studies_url)
    root, studies, study = parts.path.rstrip("/").rpartition("/studies")
    if not studies or study.count("/") > 1 or (study and not study.startswith("/")):
        raise ConfigurationInvalid(["upload.url: must end with /studies, where STOW-RS stores"])
    return urlunsplit(parts._replace(path=f"{root}/instances"))


def related(instance: Instance, boundary: str) -> ChainedBody:
    """The multipart/related body (RFC 2387; PS3.18 8.6.1.2) with the image as its one part."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    tail = f"\r\n--{boundary}--\r\n"
    return ChainedBody((BytesBody(head.encode()), instance.body, BytesBody(tail.encode())))


def _noted(answer: Answer, note: str | None) -> object:
    reply = kept(answer.content)
    return reply if note is None else {"note": note, "reply": reply}


def _refused(answer: Answer, fate: Fate) -> ApiRefusal:
    return refusal(
        f"{_SERVER} refused an image: {fate.words or 'it gave no reason'} ({answer.status}).",
        "Ask the people who run that server why; once mended, retry the sample.",
        answer,
        maybe_done=False,
    )


def _unknown(answer: Answer) -> ApiTransient:
    return ApiTransient(
        f"{_SERVER} does not say what became of the image ({answer.status}), and it is not found by QIDO-RS.",
        api=Api.UPLOAD,
        remedy="Check that upload.url is the STOW-RS address of that server (.../studies). moichord tries again.",
        status=answer.status,
        detail=quote(answer.content),
    )
