"""What the libraries and the system raise, and which fault it stands for."""

import errno
import http.client
import socket
import ssl

import pytest
import requests
from urllib3 import exceptions as urllib3_errors

from moichord.apis.answers import Fault
from moichord.apis.faults import Phase, fault_of


def tls(kind: type[ssl.SSLError], reason: str) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] words (_ssl.c:1006)")
    error.reason = reason
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


def wrapped(inner: BaseException) -> requests.ConnectionError:
    """As requests and urllib3 hand on what happened on an open connection."""
    return requests.ConnectionError(urllib3_errors.ProtocolError("Connection aborted.", inner))


def retried(reason: Exception) -> requests.ConnectionError:
    """As they hand on what happened while connecting."""
    return requests.ConnectionError(urllib3_errors.MaxRetryError(None, "/x?token=geheim", reason))  # type: ignore[arg-type]


def not_connected(inner: OSError) -> requests.ConnectionError:
    error = urllib3_errors.NewConnectionError(None, f"Failed: {inner}")  # type: ignore[arg-type]
    error.__cause__ = inner
    return retried(error)


C, S, W, A = Phase.CONNECTING, Phase.SENDING, Phase.WAITING, Phase.ANSWERING

CASES = {
    "no such name": (not_connected(socket.gaierror(-2, "Name or service not known")), C, Fault.NAME_UNKNOWN),
    "no listener": (not_connected(ConnectionRefusedError(111, "Connection refused")), C, Fault.REFUSED),
    "no route": (not_connected(OSError(errno.EHOSTUNREACH, "No route to host")), C, Fault.UNREACHABLE),
    "no network": (not_connected(OSError(errno.ENETUNREACH, "Network is unreachable")), C, Fault.UNREACHABLE),
    "slow to connect": (
        requests.ConnectTimeout(urllib3_errors.ConnectTimeoutError(None, "timed out")),
        C,
        Fault.CONNECT_TIMEOUT,
    ),
    "certificate": (requests.exceptions.SSLError(urllib3_errors.SSLError(untrusted())), C, Fault.CERTIFICATE),
    "not TLS at all": (retried(urllib3_errors.SSLError(tls(ssl.SSLError, "WRONG_VERSION_NUMBER"))), C, Fault.TLS),
    "TLS ends in the handshake": (
        retried(urllib3_errors.SSLError(tls(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING"))),
        C,
        Fault.LOST,
    ),
    "TLS ends while sending": (wrapped(tls(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING")), S, Fault.LOST),
    "TLS breaks while sending": (wrapped(tls(ssl.SSLError, "SSLV3_ALERT_BAD_RECORD_MAC")), S, Fault.LOST),
    "client certificate wanted": (
        wrapped(tls(ssl.SSLError, "TLSV13_ALERT_CERTIFICATE_REQUIRED")),
        W,
        Fault.OUR_CERTIFICATE,
    ),
    "client certificate not trusted": (
        retried(urllib3_errors.SSLError(tls(ssl.SSLError, "TLSV1_ALERT_UNKNOWN_CA"))),
        C,
        Fault.OUR_CERTIFICATE,
    ),
    "key does not fit the certificate": (
        retried(urllib3_errors.SSLError(tls(ssl.SSLError, "KEY_VALUES_MISMATCH"))),
        C,
        Fault.TLS,
    ),
    "ca_file is gone": (OSError("Could not find a CA bundle, invalid path: /x.pem"), C, Fault.TLS),
    "proxy refuses": (
        retried(urllib3_errors.ProxyError("Unable to connect", ConnectionRefusedError(111, "Connection refused"))),
        C,
        Fault.PROXY,
    ),
    "proxy is slow": (
        retried(urllib3_errors.ProxyError("Unable to connect", TimeoutError("timed out"))),
        C,
        Fault.CONNECT_TIMEOUT,
    ),
    "stalled": (wrapped(TimeoutError("timed out")), S, Fault.SEND_STALLED),
    "silent": (
        requests.ReadTimeout(urllib3_errors.ReadTimeoutError(None, "/", "x")),  # type: ignore[arg-type]
        W,
        Fault.NO_ANSWER,
    ),
    "slow answer": (urllib3_errors.ReadTimeoutError(None, "/", "x"), A, Fault.ANSWER_TOO_SLOW),  # type: ignore[arg-type]
    "reset": (wrapped(ConnectionResetError(104, "Connection reset by peer")), S, Fault.LOST),
    "closed": (wrapped(http.client.RemoteDisconnected("closed")), W, Fault.LOST),
    "cut": (
        urllib3_errors.ProtocolError("Connection broken", urllib3_errors.IncompleteRead(3, 9)),
        A,
        Fault.ANSWER_CUT,
    ),
    "not HTTP": (wrapped(http.client.BadStatusLine("SSH-2.0")), W, Fault.GARBLED),
    "bad gzip": (urllib3_errors.DecodeError("gzip"), A, Fault.GARBLED),
    "no route any more": (wrapped(OSError(errno.EHOSTUNREACH, "No route to host")), S, Fault.LOST),
    "anything else, connected": (OSError(errno.EIO, "Input/output error"), A, Fault.LOST),
    "anything else, connecting": (OSError(errno.EMFILE, "Too many open files"), C, Fault.UNREACHABLE),
    "no host name": (
        requests.ConnectionError(urllib3_errors.LocationParseError("too long")),
        C,
        Fault.NAME_UNKNOWN,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_exception_stands_for_its_fault(case: str) -> None:
    error, phase, fault = CASES[case]
    assert fault_of(error, phase)[0] is fault


@pytest.mark.parametrize("case", CASES)
def test_the_words_of_a_fault_never_quote_the_address(case: str) -> None:
    error, phase, _ = CASES[case]
    words = fault_of(error, phase)[1]
    assert words
    assert "geheim" not in words


def test_the_words_say_what_is_wrong_with_a_certificate() -> None:
    assert fault_of(untrusted(), Phase.CONNECTING)[1] == "certificate has expired"


def test_a_timeout_after_the_total_time_is_overdue() -> None:
    assert fault_of(TimeoutError(), Phase.ANSWERING, overdue=True)[0] is Fault.OVERDUE


def test_errors_that_refer_to_each_other_end() -> None:
    one, other = OSError("one"), OSError("other")
    one.__context__, other.__context__ = other, one
    assert fault_of(one, Phase.SENDING)[0] is Fault.LOST
