"""What an answer means: can the server serve anybody, will it answer later, or has it refused for good?

Owns the contract's table of answers and faults, and the sentences that tell a person about them. It must not know
the HTTP libraries, sockets or samples. It returns failures and raises none. Pure.

Statuses and Retry-After are those of RFC 9110 (section 15, section 10.2.3), 425 of RFC 8470, 429 of RFC 6585.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient
from moichord.sample import LONGEST_RETRY_AFTER, Api, printable

SERVER = {
    Api.METADATA: "The metadata server",
    Api.UPLOAD: "The image server",
    Api.ANALYTICS: "The analytics server",
}


class Kind(StrEnum):
    """What a failure says about the next try."""

    OUTAGE = "outage"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


_FAILURE: dict[Kind, type[ApiFailure]] = {
    Kind.OUTAGE: ApiOutage,
    Kind.TRANSIENT: ApiTransient,
    Kind.PERMANENT: ApiRefusal,
}


class Fault(StrEnum):
    """How a request ended without an answer."""

    NAME_UNKNOWN = "name unknown"
    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"
    PROXY = "proxy"
    CERTIFICATE = "certificate"
    TLS = "TLS"
    OUR_CERTIFICATE = "our certificate"
    CONNECT_TIMEOUT = "connect timeout"
    SEND_STALLED = "send stalled"
    NO_ANSWER = "no answer"
    ANSWER_TOO_SLOW = "answer too slow"
    OVERDUE = "overdue"
    LOST = "connection lost"
    ANSWER_CUT = "answer cut short"
    GARBLED = "answer garbled"


@dataclass(frozen=True, slots=True)
class _Words:
    """`{server}`, `{api}`, `{at}` (the address) and `{why}` (the system's own words) are filled in."""

    kind: Kind
    problem: str
    remedy: str


_AGAIN = "Nothing to do now: moichord tries again. If this goes on, look at that server's own log."
_OUR_CERTIFICATE = "Set {api}.tls.client_cert and {api}.tls.client_key to a certificate that this server trusts."
_NETWORK = "Check the network between this machine and {at}; moichord goes on by itself once it is mended."

_FAULTS = {
    Fault.NAME_UNKNOWN: _Words(
        Kind.OUTAGE,
        "{server}'s name in {at} cannot be found ({why}).",
        "Check {api}.url and the name service (DNS) of this machine.",
    ),
    Fault.REFUSED: _Words(
        Kind.OUTAGE,
        "{server} at {at} refused the connection: nothing listens there.",
        "Start that server, or check {api}.url.",
    ),
    Fault.UNREACHABLE: _Words(Kind.OUTAGE, "{server} at {at} cannot be reached ({why}).", _NETWORK),
    Fault.PROXY: _Words(Kind.OUTAGE, "The proxy on the way to {at} cannot be used ({why}).", "Check {api}.proxy."),
    Fault.CERTIFICATE: _Words(
        Kind.OUTAGE,
        "{server}'s TLS certificate at {at} is not trusted ({why}).",
        "Renew the certificate, correct the host name in {api}.url, or name the issuer in {api}.tls.ca_file.",
    ),
    Fault.TLS: _Words(
        Kind.OUTAGE,
        "No secure connection to {at} could be agreed ({why}).",
        "Check that {api}.url has the right scheme and port, and check the files in {api}.tls; a server that wants a"
        " certificate of ours may fail like this without one.",
    ),
    Fault.OUR_CERTIFICATE: _Words(
        Kind.OUTAGE,
        "{server} at {at} wants another TLS certificate of moichord ({why}).",
        _OUR_CERTIFICATE,
    ),
    Fault.CONNECT_TIMEOUT: _Words(Kind.TRANSIENT, "{server} at {at} did not take the connection in time.", _NETWORK),
    Fault.SEND_STALLED: _Words(Kind.TRANSIENT, "{server} at {at} stopped taking data.", _AGAIN),
    Fault.NO_ANSWER: _Words(Kind.TRANSIENT, "{server} at {at} did not answer in time.", _AGAIN),
    Fault.ANSWER_TOO_SLOW: _Words(Kind.TRANSIENT, "{server} at {at} began to answer, but too slowly.", _AGAIN),
    Fault.OVERDUE: _Words(
        Kind.TRANSIENT,
        "The request to {at} took longer than it may.",
        "Nothing to do now: moichord tries again. If the server needs more time, raise {api}.timeout.total.",
    ),
    Fault.LOST: _Words(Kind.TRANSIENT, "The connection to {at} was lost ({why}).", _AGAIN),
    Fault.ANSWER_CUT: _Words(Kind.TRANSIENT, "The answer from {at} was cut short.", _AGAIN),
    Fault.GARBLED: _Words(
        Kind.TRANSIENT,
        "What {at} answered is not HTTP as it should be.",
        "Check that {api}.url names {server}. moichord tries again.",
    ),
}

_WRONG_ADDRESS = frozenset({404, 405, 406, 415, 501})

_STATUSES = {
    400: ("did not accept the request", ""),
    401: ("refused the credentials", "Check {api}.key and {api}.key_header."),
    403: ("denied access", "Check {api}.key, and what it allows on that server."),
    404: ("does not know this address", "Check {api}.url."),
    405: ("does not take this method", "Check {api}.method and {api}.url."),
    406: ("cannot answer in a form that was asked for", "Check {api}.headers and {api}.url."),
    407: ("is behind a proxy that wants credentials", "Check {api}.proxy."),
    408: ("gave up waiting for the request", _AGAIN),
    413: ("finds the request too large", "Raise the size limit of that server (or of the proxy before it)."),
    415: ("does not take this content type", "Check {api}.content_type, {api}.headers and {api}.url."),
    429: ("asks for fewer requests", _AGAIN),
    500: ("failed", _AGAIN),
    501: ("does not know this method", "Check {api}.method and {api}.url."),
    502: ("is not reached by the gateway before it", _AGAIN),
    503: ("cannot serve at present", _AGAIN),
    504: ("did not answer the gateway before it", _AGAIN),
}

# A 400 that speaks of the connection and not of the request: in the words of nginx and of Apache httpd.
_NOT_ABOUT_THE_REQUEST = {
    "No required SSL certificate was sent": ("wants a TLS certificate of moichord", _OUR_CERTIFICATE),
    "The SSL certificate error": ("does not trust moichord's TLS certificate", _OUR_CERTIFICATE),
    "plain HTTP request was sent to HTTPS port": ("wants TLS", "Write https:// in {api}.url."),
    "speaking plain HTTP to an SSL-enabled server port": ("wants TLS", "Write https:// in {api}.url."),
}

_DEFAULT_REMEDY = {
    Kind.OUTAGE: "Check {api}.url, and that server.",
    Kind.TRANSIENT: _AGAIN,
    Kind.PERMANENT: "Ask the people who run that server why it refuses this; once mended, retry the sample.",
}


def kind_of_status(api: Api, status: int) -> Kind:
    """What a status that is no success means, by the contract's table."""
    if 300 <= status < 400 or status in (401, 403, 407):
        return Kind.OUTAGE
    if status in _WRONG_ADDRESS and api is not Api.METADATA:
        return Kind.OUTAGE
    if status in (408, 425, 429):
        return Kind.TRANSIENT
    if 200 <= status < 500:
        return Kind.PERMANENT
    return Kind.TRANSIENT


def failure_of_status(
    api: Api, status: int, headers: Mapping[str, str], *, now: float, detail: str | None = None
) -> ApiFailure:
    """The failure that an answer with this status is, ready to be raised.

    `headers` must be found whatever their case; `now` is UTC in seconds since the epoch; `detail` is the quoted reply.
    """
    kind = kind_of_status(api, status)
    of_the_connection = next((words for words in _NOT_ABOUT_THE_REQUEST if words in (detail or "")), None)
    if 300 <= status < 400:
        problem, remedy = _redirect(headers.get("Location"))
    elif status == 400 and of_the_connection is not None:
        kind = Kind.OUTAGE
        problem, remedy = _NOT_ABOUT_THE_REQUEST[of_the_connection]
    else:
        problem, remedy = _STATUSES.get(status, ("gave an answer that is no success", ""))
    return _FAILURE[kind](
        f"{SERVER[api]} {problem} ({status}).",
        api=api,
        remedy=(remedy or _DEFAULT_REMEDY[kind]).format(api=api),
        status=status,
        retry_after=retry_after(headers.get("Retry-After"), now),
        maybe_done=_maybe_done(status),
        detail=detail,
    )


def failure_of_fault(api: Api, fault: Fault, *, at: str, why: str, maybe_done: bool) -> ApiFailure:
    """The failure that a request without an answer is. `at` is the server's address as it may be shown."""
    words = _FAULTS[fault]
    filled = {"server": SERVER[api], "api": str(api), "at": at, "why": printable(why)}
    problem = words.problem.format(**filled)
    return _FAILURE[words.kind](problem, api=api, remedy=words.remedy.format(**filled), maybe_done=maybe_done)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, 0 to 24 h; None if there is none that can be understood.

    RFC 9110 section 10.2.3: seconds, or an HTTP-date (section 5.6.7, the obsolete forms too). `now` is UTC in
    seconds since the epoch.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:12] or "0"), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    utc: datetime = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return min(max(0.0, utc.timestamp() - now), LONGEST_RETRY_AFTER)


def shown_address(url: str) -> str:
    """An address as it may be shown: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return printable(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))[:200]


def _redirect(location: str | None) -> tuple[str, str]:
    where = f" to {shown_address(location)}" if location else ""
    return f"answers with a redirect{where}", "Redirects are not followed: put the final address into {api}.url."


def _maybe_done(status: int) -> bool:
    """Whether a server that answers thus may have carried the request out.

    A gateway answers for a server that it lost: of the 5xx only those about the request itself say "not done".
    """
    return 200 <= status < 300 or (status >= 500 and status not in (501, 505))
