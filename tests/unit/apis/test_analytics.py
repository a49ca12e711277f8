"""The analytics call against a real server."""

import json

import pytest

from moichord.apis.analytics import AnalyticsApi, Reply
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient
from moichord.sample import Api
from tests.fault_server import FaultServer, answering
from tests.unit.apis.endpoints import client


def trigger(server: FaultServer) -> Reply:
    one = client(server.url, Api.ANALYTICS, method="GET", headers={"x-api-key": "k"})
    return AnalyticsApi(one).trigger({"sample_id": "A1", "request_type": "CBC"}, "key-1")


def test_it_triggers_with_a_key_and_keeps_the_reply() -> None:
    with FaultServer(answering(200, b'{"status": "queued"}')) as server:
        assert trigger(server) == Reply(200, {"status": "queued"})
    seen = server.requests[0]
    assert (seen.headers["idempotency-key"], seen.headers["content-type"]) == ("key-1", "application/json")
    assert json.loads(seen.body) == {"sample_id": "A1", "request_type": "CBC"}


@pytest.mark.parametrize(("body", "kept"), [(b"", None), (b"queued", "queued")])
def test_a_reply_need_not_be_json(body: bytes, kept: str | None) -> None:
    with FaultServer(answering(200, body)) as server:
        assert trigger(server).reply == kept


@pytest.mark.parametrize("content_type", ["text/html", "nonsense", ""])
def test_what_type_an_answer_claims_to_be_of_means_nothing(content_type: str) -> None:
    with FaultServer(answering(200, b'{"status": "queued"}', {"Content-Type": content_type})) as server:
        assert trigger(server) == Reply(200, {"status": "queued"})
    with FaultServer(answering(200, b"queued", {"Content-Type": "application/json"})) as server:
        assert trigger(server) == Reply(200, "queued")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ApiOutage), (403, ApiOutage), (501, ApiOutage), (202, ApiRefusal), (409, ApiRefusal), (500, ApiTransient)],
)
def test_only_200_is_success(status: int, kind: type[ApiFailure]) -> None:
    with FaultServer(answering(status, b"because", {"Retry-After": "3"})) as server, pytest.raises(kind) as caught:
        trigger(server)
    assert (caught.value.api, caught.value.detail, caught.value.retry_after) == (Api.ANALYTICS, "because", 3)


def test_an_accepted_202_may_have_started_the_analysis() -> None:
    with FaultServer(answering(202)) as server, pytest.raises(ApiRefusal) as caught:
        trigger(server)
    assert caught.value.maybe_done
