"""The metadata call against a real server."""

import json
from typing import Any

import pytest

from moichord.apis.metadata import MetadataApi
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient, SampleUnknown
from moichord.sample import Api
from tests.fault_server import FaultServer, answering
from tests.unit.apis.endpoints import client

EMPTY = [b"", b" \n", b"{}", b"null", b"[]", b'""']
RECORD = {"patient-name": "Müller^Anna", "request_species": "dog", "test_type": "CBC", "clinic-name": "Zoo"}


def fetch(server: FaultServer) -> dict[str, Any]:
    one = client(server.url, Api.METADATA, method="GET", headers={"x-api-key": "k"})
    return MetadataApi(one).fetch("A123", {"sample_id": "A123", "priority": 2})


def failing(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ApiFailure:
    with FaultServer(answering(status, body, headers)) as server, pytest.raises(ApiFailure) as caught:
        fetch(server)
    assert caught.value.api is Api.METADATA
    return caught.value


def test_it_asks_with_a_json_body_and_gives_the_record() -> None:
    with FaultServer(answering(200, json.dumps(RECORD).encode())) as server:
        assert fetch(server) == RECORD
    seen = server.requests[0]
    assert seen.line == "GET /instances HTTP/1.1"
    assert (seen.headers["content-type"], seen.headers["x-api-key"]) == ("application/json", "k")
    assert json.loads(seen.body) == {"sample_id": "A123", "priority": 2}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"message": "no such sample"}'),
        (204, b""),
        (200, b""),
        (200, b" \n"),
        (200, b"{}"),
        (200, b"null"),
        (200, b"[]"),
        (200, b'""'),
    ],
)
def test_404_or_an_empty_reply_means_that_the_sample_is_unknown(status: int, body: bytes) -> None:
    failure = failing(status, body)
    assert isinstance(failure, SampleUnknown)
    assert "does not know the sample A123" in failure.problem
    assert not failure.maybe_done


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b'{"patient-name": "Do', b"\xff\xfe", b"[" * 50])
def test_a_reply_that_is_not_json_is_transient(body: bytes) -> None:
    failure = failing(200, body)
    assert isinstance(failure, ApiTransient)
    assert "is not JSON" in failure.problem


@pytest.mark.parametrize("body", [b"[" * 984 + b"]" * 984, b"[" * 100_000])
def test_a_reply_that_is_nested_too_deeply_is_transient_and_says_so(body: bytes) -> None:
    failure = failing(200, body)
    assert isinstance(failure, ApiTransient)
    assert "reply is JSON of more than 100 levels." in failure.problem


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"7", b"true"])
def test_json_without_fields_is_transient(body: bytes) -> None:
    failure = failing(200, body)
    assert isinstance(failure, ApiTransient)
    assert "no object" in failure.problem


def test_a_huge_reply_is_transient_and_says_so() -> None:
    assert "over 4 MiB" in failing(200, b'{"a": "' + b"x" * (5 * 1024 * 1024) + b'"}').problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ApiOutage),
        (302, ApiOutage),
        (400, ApiRefusal),
        (422, ApiRefusal),
        (202, ApiRefusal),
        (429, ApiTransient),
        (503, ApiTransient),
    ],
)
def test_other_answers_are_what_the_table_says(status: int, kind: type) -> None:
    failure = failing(status, b"DOE^JANE", {"Retry-After": "11"})
    assert type(failure) is kind
    assert (failure.status, failure.retry_after, failure.detail) == (status, 11, "DOE^JANE")
    assert "DOE" not in failure.problem


def test_patient_data_in_a_broken_reply_stays_out_of_the_problem() -> None:
    failure = failing(200, b'{"patient-name": "DOE^JANE"')
    assert "DOE" not in failure.problem + str(failure.remedy)
    assert failure.detail == '{"patient-name": "DOE^JANE"'
