"""One request and its answer, as far as time goes: how far they are, how long each part may still take, stopping them.

Owns the deadlines, the socket to shut, and the bytes of an answer that came while the request was still being sent.
It must not know HTTP beyond an answer's first line, nor what is sent. It raises `TimeoutError`, `Stopped` and what a
socket raises.
"""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Protocol

from urllib3.util.wait import wait_for_read

from moichord.apis.faults import Phase
from moichord.clock import Clock
from moichord.errors import Stopped
from moichord.pulse import Pulse

_LAST_WORD = 5.0
_EARLY = 64 * 1024


class Limits(Protocol):
    """Seconds that the parts of a request may take; see `http.Deadlines`."""

    @property
    def connect(self) -> float: ...
    @property
    def read(self) -> float: ...
    @property
    def total(self) -> float | None: ...
    @property
    def stall(self) -> float | None: ...


class Exchange:
    """One request and its answer: how far it is, how long it may still take, and the socket to shut."""

    def __init__(self, limits: Limits, clock: Clock, pulse: Pulse | None = None) -> None:
        self.phase = Phase.CONNECTING
        self.began = False
        self.body_complete = False
        self._stalled = False
        self._limits = limits
        self.pulse = pulse or Pulse(clock)
        self.clock = clock
        self._monotonic = clock.monotonic
        self._stop = threading.Event()
        self._heard = bytearray()
        self._connect_by = clock.monotonic() + limits.connect
        self._overdue_at = None if limits.total is None else clock.monotonic() + limits.total
        self._deadline = self._overdue_at
        self._socket: socket.socket | None = None
        self._duplicate: socket.socket | None = None

    @property
    def stopped(self) -> bool:
        """Whether it is to end before its answer has come."""
        return self._stop.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the total time of the request has run out."""
        return self._overdue_at is not None and self._monotonic() >= self._overdue_at

    def connecting(self, connection: socket.socket) -> None:
        """A proxy or TLS is about to be agreed with on this socket."""
        # TLS takes the socket over before it is agreed; only a duplicate still reaches the connection then.
        self._socket = self._duplicate = connection.dup()
        self._refuse_if_stopped()

    def connected(self, connection: socket.socket) -> None:
        """The request goes out on this socket, from now on."""
        self._socket = connection
        self.close()
        self._refuse_if_stopped()
        self.phase = Phase.SENDING

    def sent(self) -> None:
        """The request is sent, or as much of it as the server wanted; the answer is due."""
        self._refuse_if_stopped()
        if self._stalled:
            self._deadline = self._monotonic() + self._bounded(_LAST_WORD)
            return
        self.phase = Phase.WAITING
        if self._deadline is None:
            # Without a total of its own, a request still may not be answered by a byte now and then.
            self._deadline = self._monotonic() + self._limits.read

    def stalled(self) -> None:
        """The server has stopped reading: what it has to say about that must be here already."""
        self._stalled = True

    def pause(self, seconds: float) -> None:
        """Send nothing for that long: no fault of the server's, whose time begins with the next piece."""
        if seconds > 0:
            self.pulse.beat(seconds)
            self.clock.wait(self._stop, seconds)
            self._refuse_if_stopped()

    def send_timeout(self) -> float:
        """Seconds that the next piece may take; raises TimeoutError if there are none left."""
        return self._bounded(self._limits.read if self._limits.stall is None else self._limits.stall)

    def receive_timeout(self) -> float:
        """Seconds to wait for the next bytes of the answer, or of a proxy's; raises TimeoutError if there are none."""
        return self.connect_timeout() if self.phase is Phase.CONNECTING else self._bounded(self._limits.read)

    def connect_timeout(self) -> float:
        """Seconds that connecting may still take, proxy included; raises TimeoutError if there are none left."""
        return self._bounded(_positive(self._connect_by - self._monotonic()))

    def close(self) -> None:
        """Let go of what connecting needed."""
        if self._duplicate is not None:
            self._duplicate.close()
            self._duplicate = None

    def stop(self) -> None:
        """End the exchange from another thread: whoever waits on its socket wakes up and fails."""
        self._stop.set()
        if self._socket is not None:
            # Not SSLSocket.shutdown: it takes the TLS layer off the socket while its thread still uses it.
            with suppress(OSError):  # it may have ended by itself
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def refused_early(self) -> bool:
        """Whether the server has already answered that it does not want the rest of the body.

        On TLS this reads the answer, for its bytes cannot be looked at in advance; `unread` gives them back. Bytes of
        TLS itself are dealt with on the way: unread ones make an answer before a reset unreadable.
        """
        connection = self._socket
        if type(connection) is socket.socket:
            answer = connection.recv(10, socket.MSG_PEEK) if wait_for_read(connection, 0.0) else b""
        elif isinstance(connection, ssl.SSLSocket):
            self._listen(connection)
            answer = bytes(self._heard[:10])
        else:
            return False
        return len(answer) == 10 and answer.startswith(b"HTTP/1.") and answer[9:] in (b"3", b"4", b"5")

    def unread(self, most: int) -> bytes:
        """Bytes of the answer that arrived while the request was being sent; each is given once."""
        taken = bytes(self._heard[:most])
        del self._heard[:most]
        return taken

    def answered(self) -> None:
        """Bytes of the answer have come (or, while connecting, of a proxy's)."""
        if self.phase is not Phase.CONNECTING:
            self.phase = Phase.ANSWERING

    def _listen(self, connection: ssl.SSLSocket) -> None:
        connection.settimeout(0.0)
        try:
            while len(self._heard) < _EARLY and (data := connection.recv(_EARLY)):
                self._heard += data
        except ssl.SSLWantReadError:
            pass
        except OSError:
            # What was heard before the loss says more than the loss.
            if not self._heard:
                raise

    def _bounded(self, seconds: float) -> float:
        if self._deadline is not None:
            seconds = min(seconds, _positive(self._deadline - self._monotonic()))
        if self.phase is not Phase.CONNECTING:
            self.pulse.beat(seconds)  # each part moves on, or times out by itself, within these
        return seconds

    def _refuse_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped("stopping: the request was given up", maybe_done=self.began)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise TimeoutError("the request's time has run out")
    return seconds
