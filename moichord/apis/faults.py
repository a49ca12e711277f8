"""Which fault an exception of the HTTP libraries stands for.

Owns the knowledge of what requests, urllib3, ssl and the operating system raise, and of how they wrap one another.
It must not know what a fault means (answers) nor which API is called. It returns faults and raises none.
"""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum

from urllib3 import exceptions as urllib3_errors

from moichord.apis.answers import Fault

_UNREACHABLE = frozenset(
    getattr(errno, name)
    for name in ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EADDRNOTAVAIL")
    if hasattr(errno, name)
)


# Alerts about the certificate that we sent, or did not send (RFC 8446 section 6.2), as OpenSSL names them.
_OF_OUR_CERTIFICATE = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)


class Phase(StrEnum):
    """How far a request has come."""

    CONNECTING = "connecting"
    SENDING = "sending"
    WAITING = "waiting"
    ANSWERING = "answering"


_TIMEOUT = {
    Phase.CONNECTING: Fault.CONNECT_TIMEOUT,
    Phase.SENDING: Fault.SEND_STALLED,
    Phase.WAITING: Fault.NO_ANSWER,
    Phase.ANSWERING: Fault.ANSWER_TOO_SLOW,
}


def fault_of(error: BaseException, phase: Phase, *, overdue: bool = False) -> tuple[Fault, str]:
    """The fault that `error` stands for, and the system's own words for it, fit to be logged.

    `phase` is how far the request had come, `overdue` whether its total time had run out.
    """
    chain = list(_unwrapped(error))
    for one in chain:
        if _is_timeout(one):
            return (Fault.OVERDUE if overdue else _TIMEOUT[phase]), "timed out"
    for one in chain:
        fault = _tls_fault(one, phase)
        if fault is not None:
            return fault, _words(one)
    for one in chain:
        if isinstance(one, urllib3_errors.ProxyError):
            return Fault.PROXY, _words(one.original_error)
    for one in chain:
        fault = _network_fault(one, phase) or _reply_fault(one)
        if fault is not None:
            return fault, _words(one)
    return (Fault.UNREACHABLE if phase is Phase.CONNECTING else Fault.LOST), _words(chain[-1])


def _is_timeout(error: BaseException) -> bool:
    # urllib3's NewConnectionError is a timeout by inheritance only.
    return isinstance(error, TimeoutError | urllib3_errors.TimeoutError) and not isinstance(
        error, urllib3_errors.NewConnectionError
    )


def _tls_fault(error: BaseException, phase: Phase) -> Fault | None:
    if _is_missing_file(error):
        return Fault.TLS
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault.CERTIFICATE
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Fault.LOST
    if not isinstance(error, ssl.SSLError | urllib3_errors.SSLError):
        return None
    if isinstance(error, ssl.SSLError) and error.reason in _OF_OUR_CERTIFICATE:
        return Fault.OUR_CERTIFICATE  # in any phase: with TLS 1.3 it is refused only after we have begun to send
    if isinstance(error, ssl.SSLError) and phase is not Phase.CONNECTING:
        return Fault.LOST
    wraps_nothing = not any(isinstance(one, OSError) for one in _unwrapped(error))
    return Fault.TLS if isinstance(error, ssl.SSLError) or wraps_nothing else None


def _is_missing_file(error: BaseException) -> bool:
    # requests looks for ca_file, client_cert and client_key itself, and says so in an OSError without a number.
    return type(error) is OSError and error.errno is None and "invalid path" in str(error)


def _network_fault(error: BaseException, phase: Phase) -> Fault | None:
    if isinstance(error, socket.gaierror | urllib3_errors.LocationValueError):
        return Fault.NAME_UNKNOWN
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    if isinstance(error, OSError) and error.errno in _UNREACHABLE and phase is Phase.CONNECTING:
        return Fault.UNREACHABLE
    if isinstance(error, ConnectionError):
        return Fault.LOST
    return None


def _reply_fault(error: BaseException) -> Fault | None:
    if isinstance(error, http.client.IncompleteRead | urllib3_errors.IncompleteRead):
        return Fault.ANSWER_CUT
    if isinstance(error, http.client.HTTPException | urllib3_errors.DecodeError):
        return Fault.GARBLED
    return None


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything that it wraps, outermost first, each once."""
    waiting: list[BaseException] = [error]
    seen: list[BaseException] = []
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        wrapped = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [inner for inner in wrapped if isinstance(inner, BaseException)]


def _words(error: BaseException) -> str:
    """What the system says, without addresses and their parameters, which libraries like to quote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, urllib3_errors.SSLError) and "private key is encrypted" in str(error):
        return "the private key has a password"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if _is_missing_file(error) or str(error).startswith("Tunnel connection failed"):
        return str(error)
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed without an answer"
    return type(error).__name__
