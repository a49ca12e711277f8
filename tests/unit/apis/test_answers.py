"""The contract's table of answers, row by row, and the sentences that go with it."""

import pytest

from moichord.apis.answers import (
    Fault,
    Kind,
    failure_of_fault,
    failure_of_status,
    kind_of_status,
    retry_after,
    shown_address,
)
from moichord.errors import ApiOutage, ApiRefusal, ApiTransient
from moichord.sample import Api

NOW = 784_111_700.0  # Sun, 06 Nov 1994 08:48:20 GMT

EVERY_API = [
    (Kind.OUTAGE, [300, 301, 302, 303, 304, 307, 308, 401, 403, 407]),
    (Kind.TRANSIENT, [101, 103, 408, 425, 429, 500, 502, 503, 504, 505, 507, 511, 599, 600]),
    (Kind.PERMANENT, [400, 402, 409, 410, 411, 412, 413, 414, 416, 417, 422, 423, 428, 431, 451, 499]),
]
WRONG_ADDRESS = [404, 405, 406, 415]


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, many in EVERY_API for status in many])
@pytest.mark.parametrize("api", Api)
def test_a_status_means_the_same_for_every_api(api: Api, kind: Kind, status: int) -> None:
    assert kind_of_status(api, status) is kind


@pytest.mark.parametrize("api", [Api.UPLOAD, Api.ANALYTICS])
@pytest.mark.parametrize("status", [*WRONG_ADDRESS, 501])
def test_a_wrong_address_is_an_outage_where_nothing_is_looked_up(api: Api, status: int) -> None:
    assert kind_of_status(api, status) is Kind.OUTAGE


@pytest.mark.parametrize("status", WRONG_ADDRESS)
def test_the_metadata_server_may_refuse_one_sample_with_these(status: int) -> None:
    assert kind_of_status(Api.METADATA, status) is Kind.PERMANENT


def test_metadata_501_is_transient_like_other_5xx() -> None:
    assert kind_of_status(Api.METADATA, 501) is Kind.TRANSIENT


@pytest.mark.parametrize("status", [200, 202, 206])
def test_a_success_that_the_caller_does_not_accept_is_permanent(status: int) -> None:
    assert kind_of_status(Api.ANALYTICS, status) is Kind.PERMANENT


def test_refused_credentials_name_the_setting() -> None:
    failure = failure_of_status(Api.UPLOAD, 401, {}, now=NOW)
    assert isinstance(failure, ApiOutage)
    assert failure.problem == "The image server refused the credentials (401)."
    assert failure.remedy == "Check upload.key and upload.key_header."
    assert (failure.api, failure.status, failure.maybe_done) == (Api.UPLOAD, 401, False)


def test_a_redirect_says_where_to_and_hides_the_rest() -> None:
    headers = {"Location": "https://user:pw@images.example.org/new?token=geheim#x"}
    failure = failure_of_status(Api.ANALYTICS, 308, headers, now=NOW)
    assert failure.problem == ("The analytics server answers with a redirect to https://images.example.org/new (308).")
    assert failure.remedy == "Redirects are not followed: put the final address into analytics.url."


@pytest.mark.parametrize("location", [None, "", "http://[bad", "\x1b[31m"])
def test_a_redirect_to_nowhere_is_still_a_sentence(location: str | None) -> None:
    headers = {} if location is None else {"Location": location}
    problem = failure_of_status(Api.UPLOAD, 302, headers, now=NOW).problem
    assert problem.endswith("(302).")
    assert problem.isprintable()


def test_what_the_server_wrote_is_kept_apart_from_the_problem() -> None:
    failure = failure_of_status(Api.UPLOAD, 400, {}, now=NOW, detail="Patient DOE^JANE unknown")
    assert isinstance(failure, ApiRefusal)
    assert failure.detail == "Patient DOE^JANE unknown"
    assert "DOE" not in str(failure) + str(failure.remedy)


@pytest.mark.parametrize(
    ("wrote", "words", "setting"),
    [
        (
            "<html> <head><title>400 No required SSL certificate was sent</title></head>",
            "wants a TLS certificate",
            "tls.client_cert",
        ),
        ("<html> <head><title>400 The SSL certificate error</title></head>", "does not trust", "tls.client_cert"),
        ("<html> <head><title>400 The plain HTTP request was sent to HTTPS port</title></head>", "TLS", "https://"),
        ("Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />", "TLS", "https://"),
    ],
)
def test_a_400_about_the_connection_is_no_samples_fault(wrote: str, words: str, setting: str) -> None:
    failure = failure_of_status(Api.UPLOAD, 400, {}, now=NOW, detail=wrote)
    assert isinstance(failure, ApiOutage)
    assert words in failure.problem
    assert setting in str(failure.remedy)
    assert isinstance(failure_of_status(Api.UPLOAD, 422, {}, now=NOW, detail=wrote), ApiRefusal)


@pytest.mark.parametrize("api", Api)
def test_every_status_has_a_whole_sentence_and_a_remedy(api: Api) -> None:
    for status in (100, 206, *range(300, 600), 999):
        failure = failure_of_status(api, status, {}, now=NOW)
        assert failure.problem.endswith(f"({status}).")
        assert failure.remedy
        assert "{" not in failure.problem + failure.remedy


@pytest.mark.parametrize(
    ("status", "maybe_done"),
    [(202, True), (302, False), (400, False), (401, False), (429, False), (500, True), (501, False), (503, True)],
)
def test_only_some_answers_say_that_nothing_was_done(status: int, maybe_done: bool) -> None:
    assert failure_of_status(Api.UPLOAD, status, {}, now=NOW).maybe_done is maybe_done


OUTAGES = {
    Fault.NAME_UNKNOWN,
    Fault.REFUSED,
    Fault.UNREACHABLE,
    Fault.PROXY,
    Fault.CERTIFICATE,
    Fault.TLS,
    Fault.OUR_CERTIFICATE,
}


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_is_an_outage_or_transient_and_says_so(fault: Fault) -> None:
    failure = failure_of_fault(Api.METADATA, fault, at="https://lab.example", why="w\x1b", maybe_done=True)
    assert type(failure) is (ApiOutage if fault in OUTAGES else ApiTransient)
    assert "https://lab.example" in failure.problem
    assert failure.problem.isprintable()
    assert failure.problem.endswith(".")
    assert failure.status is None
    assert failure.remedy
    assert "{" not in failure.problem + failure.remedy


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("0000000000000000005", 5),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 77),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 77),
        ("Sun Nov  6 08:49:37 1994", 77),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", 86400),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 86400),
        ("Sat, 01 Jan 10000 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_a_day(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_a_failure_carries_the_time_that_the_server_asked_for() -> None:
    failure = failure_of_status(Api.UPLOAD, 503, {"Retry-After": "90"}, now=NOW)
    assert isinstance(failure, ApiTransient)
    assert failure.retry_after == 90


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@host:8443/instances?key=geheim#f", "https://host:8443/instances"),
        ("http://host", "http://host"),
        ("http://[bad", "an unreadable address"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_address(url) == shown
