"""Upload protocol stow-rs: the request as DICOMweb wants it, and who is asked when its outcome is unknown."""

from email import message_from_bytes
from typing import Any

import pytest

from moichord.apis.upload import Instance, Stored
from moichord.apis.upload.stow_rs import FOUND, FOUND_AFTERWARDS, StowRsUpload, instances_url, related
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient, ConfigurationInvalid
from tests.fault_server import FaultServer, Peer, Script, Seen, reply
from tests.unit.apis.dicomweb import as_json, as_xml, found, report
from tests.unit.apis.endpoints import KEY, QUICK, client
from tests.unit.apis.parcels import CONTENT, UID, OnlyLength, instance, parcel, whole

PATIENT = "S1-001"
NOWHERE, HERE, OTHERS = found(), found((UID, PATIENT)), found((UID, "S1-002"))


class DicomWeb:
    """A server that answers storing and searching as told, one answer after another; the last one stays."""

    def __init__(self, *stores: bytes | Script, search: bytes | Script = b"") -> None:
        self.requests: list[Seen] = []
        self._stores = list(stores)
        self._search = search or reply(200, NOWHERE)

    def __call__(self, peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            self.requests.append(seen)
            answer = self._search if seen.line.startswith("GET") else self._next()
            if not isinstance(answer, bytes):
                answer(peer)
                return
            peer.send(answer)

    def _next(self) -> bytes | Script:
        return self._stores.pop(0) if len(self._stores) > 1 else self._stores[0]

    @property
    def lines(self) -> list[str]:
        return [seen.line for seen in self.requests]


STORE = "POST /dicom-web/studies HTTP/1.1"
SEARCH = f"GET /dicom-web/instances?SOPInstanceUID={UID}&includefield=00100020 HTTP/1.1"


def upload(server: DicomWeb, *, maybe_stored: bool = False, accept: bool = True, **more: Any) -> Stored:
    one = instance(maybe_stored=maybe_stored, patient_id=PATIENT)
    with FaultServer(server) as running:
        uploader = StowRsUpload(client(f"http://127.0.0.1:{running.port}/dicom-web/studies", **more))
        assert not uploader.takes_whole_samples
        (stored,) = uploader.send(parcel(one, accept_already_stored=accept))
    return stored


def failing(server: DicomWeb, **more: Any) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        upload(server, **more)
    return caught.value


def lost(_peer: Peer) -> None:
    """The connection is closed without an answer."""


def says(status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    return reply(status, content, headers)


STORED = as_json(report(stored=[UID]))


def test_the_request_is_the_one_of_the_standard() -> None:
    server = DicomWeb(says(200, STORED))
    stored = upload(server)
    assert (stored.status, stored.reply, stored.already_stored) == (200, report(stored=[UID]), False)
    (seen,) = server.requests
    assert seen.line == STORE
    assert seen.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=moichord-')
    assert seen.headers["accept"] == "application/dicom+json"
    assert (seen.headers["idempotency-key"], seen.headers["x-lab"]) == ("key-1", "north")
    assert seen.headers["content-length"] == str(len(seen.body))
    message = message_from_bytes(f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode() + bytes(seen.body))
    (part,) = message.get_payload()
    assert part.get_content_type() == "application/dicom"
    assert CONTENT in bytes(seen.body)


def test_the_body_can_be_opened_again_at_any_size() -> None:
    body = related(instance(), "B")
    assert (
        whole(body, 7) == whole(body) == b"--B\r\nContent-Type: application/dicom\r\n\r\n" + CONTENT + b"\r\n--B--\r\n"
    )
    assert related(Instance(OnlyLength(5 << 30), UID), "B").length == body.length - len(CONTENT) + (5 << 30)


@pytest.mark.parametrize("status", [200, 202, 400, 409, 500])
def test_what_is_said_to_be_stored_is_stored_whatever_the_status(status: int) -> None:
    assert upload(DicomWeb(says(status, STORED))).status == status


def test_a_warning_is_noted_beside_the_reply() -> None:
    said = report(stored=[UID], warning=0xB000)
    stored = upload(DicomWeb(says(202, as_xml(said))))
    assert "B000" in stored.reply["note"]
    assert "ReferencedSOP" in stored.reply["reply"] or "00081199" in stored.reply["reply"]


@pytest.mark.parametrize("status", [200, 202, 409, 503])
def test_an_image_refused_for_a_lasting_reason_is_refused_whatever_the_status(status: int) -> None:
    failure = failing(DicomWeb(says(status, as_json(report(failed={UID: 0xA900})))))
    assert isinstance(failure, ApiRefusal)
    assert "A900" in failure.problem
    assert not failure.maybe_done


@pytest.mark.parametrize("status", [200, 202, 400, 409, 503])
def test_an_image_refused_for_a_passing_reason_is_sent_again(status: int) -> None:
    content = as_json(report(failed={UID: 0xA700}))
    failure = failing(DicomWeb(says(status, content, {"Retry-After": "9"})))
    assert isinstance(failure, ApiTransient)
    assert (failure.retry_after, failure.maybe_done) == (9, False)


@pytest.mark.parametrize(("status", "kind"), [(202, ApiRefusal), (409, ApiRefusal), (503, ApiTransient)])
def test_a_reason_of_its_own_is_what_the_status_says(status: int, kind: type) -> None:
    assert type(failing(DicomWeb(says(status, as_json(report(failed={UID: 0x4711})))))) is kind


@pytest.mark.parametrize("said", [says(200, as_json(report(failed={UID: 0x0111}))), says(409, b"")])
def test_a_duplicate_is_already_stored(said: bytes) -> None:
    here = says(200, HERE)
    assert upload(DicomWeb(said, search=here)).already_stored
    assert upload(DicomWeb(said, search=here), accept=True).already_stored
    failure = failing(DicomWeb(said, search=here), accept=False)
    assert isinstance(failure, ApiRefusal)
    assert "already holds" in failure.problem


def test_a_conflict_over_an_image_that_is_not_there_is_a_refusal() -> None:
    server = DicomWeb(says(409, b""))
    assert isinstance(failing(server), ApiRefusal)
    assert server.lines == [STORE, SEARCH]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ApiOutage), (404, ApiOutage), (415, ApiOutage), (400, ApiRefusal), (413, ApiRefusal), (503, ApiTransient)],
)
def test_other_answers_are_what_the_table_says(status: int, kind: type) -> None:
    assert type(failing(DicomWeb(says(status, b"<html>")))) is kind


# Unknown outcomes


@pytest.mark.parametrize("content", [b"", b"{}", as_json(report(stored=["1.2.840.2"])), b"<!doctype html>"])
def test_a_success_that_does_not_name_the_image_is_asked_about(content: bytes) -> None:
    server = DicomWeb(says(200, content), search=says(200, HERE))
    stored = upload(server)
    assert stored.reply["note"] == FOUND_AFTERWARDS
    assert not stored.already_stored
    assert server.lines == [STORE, SEARCH]
    search = server.requests[1]
    assert (search.headers["accept"], search.headers["authorization"]) == ("application/dicom+json", KEY)
    assert (search.headers["x-lab"], search.body) == ("north", b"")


CANNOT_SAY = [says(200, NOWHERE), says(204), says(200, OTHERS), says(400), says(404), says(500), lost]


@pytest.mark.parametrize("search", CANNOT_SAY)
def test_it_is_not_taken_for_stored_unless_it_is_found_and_ours(search: bytes | Script) -> None:
    failure = failing(DicomWeb(says(200), search=search))
    assert isinstance(failure, ApiTransient)
    assert failure.maybe_done, "it may be stored for all that"
    assert "upload.url" in str(failure.remedy)


def test_a_question_that_cannot_be_put_leaves_the_doubt() -> None:
    """The connection is refused for the search, which by itself would mean that nothing was done."""
    running: list[FaultServer] = []

    def storing(peer: Peer) -> None:
        peer.request()
        running[0]._listener.close()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with FaultServer(storing) as server:
        running.append(server)
        uploader = StowRsUpload(client(f"http://127.0.0.1:{server.port}/studies", timeout=QUICK))
        with pytest.raises(ApiTransient) as caught:
            uploader.send(parcel(instance()))
    assert caught.value.maybe_done


def test_after_a_lost_answer_it_is_not_sent_again_if_it_is_there() -> None:
    server = DicomWeb(lost, says(200, STORED), search=says(200, HERE))
    failure = failing(server)
    assert isinstance(failure, ApiTransient)
    assert failure.maybe_done
    stored = upload(server, maybe_stored=True)
    assert stored == Stored(200, {"note": FOUND}, already_stored=True)
    assert server.lines == [STORE, SEARCH]


@pytest.mark.parametrize("search", CANNOT_SAY[:-1])
def test_what_is_not_found_is_sent_again(search: bytes | Script) -> None:
    server = DicomWeb(says(200, STORED), search=search)
    assert not upload(server, maybe_stored=True).already_stored
    assert server.lines == [SEARCH, STORE]


def test_an_image_that_was_not_sent_before_is_not_asked_for() -> None:
    server = DicomWeb(says(200, STORED), search=says(200, HERE))
    upload(server)
    assert server.lines == [STORE]


@pytest.mark.parametrize(
    ("studies", "instances"),
    [
        ("http://h/studies", "http://h/instances"),
        ("https://h:8042/dicom-web/studies/", "https://h:8042/dicom-web/instances"),
        ("http://h/studies/aets/X/rs/studies", "http://h/studies/aets/X/rs/instances"),
        ("http://h/rs/studies/1.2.3", "http://h/rs/instances"),
        ("http://h/rs/studies?tenant=a", "http://h/rs/instances?tenant=a"),
    ],
)
def test_instances_are_searched_beside_the_studies(studies: str, instances: str) -> None:
    assert instances_url(studies) == instances


@pytest.mark.parametrize("url", ["http://h/", "http://h/instances", "http://h/studiesx", "http://h/studies/1/series"])
def test_an_address_that_does_not_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        instances_url(url)
