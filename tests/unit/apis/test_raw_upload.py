"""Upload protocol raw against a real server: what is sent, and when an image counts as stored."""

from collections.abc import Callable
from typing import Any

import pytest

from moichord.apis.bodies import BytesBody
from moichord.apis.upload import Instance, Parcel, Stored, Uploader
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.raw import RawUpload
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient
from moichord.sample import Api
from tests.fault_server import FaultServer, answering
from tests.unit.apis.endpoints import client

ALREADY = b'{"ID": "x", "Status": "AlreadyStored"}'


def upload(
    status: int,
    reply: bytes = b"",
    *,
    maybe_stored: bool = False,
    accept_already_stored: bool = False,
    success_test: Callable[[Any], bool] | None = None,
    headers: dict[str, str] | None = None,
) -> Stored:
    with FaultServer(answering(status, reply, headers)) as server:
        acceptance = Acceptance(frozenset({200, 201, 202, 204}), success_test)
        uploader: Uploader = RawUpload(client(server.url), acceptance, content_type="application/binary")
        instance = Instance(BytesBody(b"DICM"), "1.2.3", maybe_stored=maybe_stored)
        (stored,) = uploader.send(Parcel([instance], "key-1", accept_already_stored=accept_already_stored))
        return stored


def failing(status: int, reply: bytes = b"", **more: Any) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        upload(status, reply, **more)
    assert caught.value.api is Api.UPLOAD
    return caught.value


def test_it_sends_the_bytes_as_they_are_under_their_key() -> None:
    with FaultServer(answering(200, b'{"Status": "Success"}')) as server:
        one = RawUpload(client(server.url), Acceptance(frozenset({200})), content_type="application/dicom")
        (stored,) = one.send(Parcel([Instance(BytesBody(b"DICM"), "1.2.3")], "key-1"))
    seen = server.requests[0]
    assert (seen.headers["content-type"], seen.headers["idempotency-key"]) == ("application/dicom", "key-1")
    assert seen.body == b"DICM"
    assert stored == Stored(200, {"Status": "Success"}, already_stored=False)


@pytest.mark.parametrize(("status", "reply", "kept"), [(200, b"{}", {}), (201, b"stored", "stored"), (204, b"", None)])
def test_an_accepted_status_means_stored(status: int, reply: bytes, kept: object) -> None:
    assert upload(status, reply) == Stored(status, kept)


@pytest.mark.parametrize("content_type", ["text/html", "application/dicom", "nonsense", ""])
def test_what_type_an_answer_claims_to_be_of_means_nothing(content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert upload(200, b'{"ok": true}', headers=headers, success_test=lambda reply: reply["ok"]).reply == {"ok": True}
    assert upload(200, b"<html>stored</html>", headers=headers) == Stored(200, "<html>stored</html>")
    assert upload(200, b"<html>stored</html>", headers={"Content-Type": "application/json"}).status == 200


@pytest.mark.parametrize(("status", "reply"), [(409, b""), (409, b"exists"), (200, ALREADY)])
@pytest.mark.parametrize("why", ["maybe_stored", "accept_already_stored"])
def test_already_stored_is_success_when_we_may_have_stored_it_or_it_is_accepted(
    status: int, reply: bytes, why: str
) -> None:
    stored = upload(status, reply, **{why: True})  # type: ignore[arg-type]
    assert stored.already_stored
    assert stored.status == status


@pytest.mark.parametrize(("status", "reply"), [(409, b""), (200, ALREADY)])
def test_already_stored_by_somebody_else_is_refused_when_it_shall_fail(status: int, reply: bytes) -> None:
    failure = failing(status, reply)
    assert isinstance(failure, ApiRefusal)
    assert "already holds this image" in failure.problem
    assert "upload.already_stored" in str(failure.remedy)


@pytest.mark.parametrize(
    "reply", [b'{"Status": "Success", "Note": "AlreadyStored"}', b"AlreadyStored", b'["AlreadyStored"]']
)
def test_only_orthancs_own_word_means_already_stored(reply: bytes) -> None:
    assert not upload(200, reply).already_stored


def test_a_failed_answer_that_says_already_stored_is_still_failed() -> None:
    assert isinstance(failing(500, ALREADY, accept_already_stored=True), ApiTransient)


def says_ok(reply: Any) -> bool:
    return isinstance(reply, dict) and reply.get("ok") is True


def test_the_configured_test_of_the_reply_must_hold() -> None:
    assert upload(200, b'{"ok": true}', success_test=says_ok).reply == {"ok": True}
    failure = failing(200, b'{"ok": false, "why": "DOE^JANE unknown"}', success_test=says_ok)
    assert isinstance(failure, ApiRefusal)
    assert "upload.success.json" in failure.problem
    assert failure.detail == '{"ok": false, "why": "DOE^JANE unknown"}'
    assert "DOE" not in failure.problem


@pytest.mark.parametrize("reply", [b"", b"<html>log in</html>", b"[" * 984 + b"]" * 984])
def test_a_reply_that_cannot_be_tested_is_transient(reply: bytes) -> None:
    failure = failing(200, reply, success_test=says_ok)
    assert isinstance(failure, ApiTransient)
    assert "so that upload.success.json cannot be tested" in failure.problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ApiOutage), (404, ApiOutage), (301, ApiOutage), (413, ApiRefusal), (206, ApiRefusal), (503, ApiTransient)],
)
def test_other_answers_are_what_the_table_says(status: int, kind: type) -> None:
    failure = failing(status, b"the server's words", headers={"Retry-After": "5"})
    assert type(failure) is kind
    assert (failure.status, failure.retry_after, failure.detail) == (status, 5, "the server's words")
