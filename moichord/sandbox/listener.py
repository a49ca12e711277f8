"""The listening socket of the stand-in APIs and the connections it accepted, one thread each.

Owns one life of the server: from listening to refused. It must not know what requests mean (endpoints.py) nor how
they are read (exchange.py). `OSError` leaves the constructor for an address that cannot be listened at.
"""

import sys
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from moichord.clock import Clock
from moichord.sample import Api
from moichord.sandbox.endpoints import Endpoints
from moichord.sandbox.exchange import Exchange, cut
from moichord.sandbox.faults import FaultPlan
from moichord.sandbox.received import RequestLog


class Listener(ThreadingMixIn, TCPServer):
    """Listens from construction on; `leave` ends it for good."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], log: RequestLog, faults: FaultPlan, endpoints: Endpoints, clock: Clock
    ) -> None:
        self.log = log
        self.faults = faults
        self.endpoints = endpoints
        self.clock = clock
        self._gone = threading.Event()
        self._connections: set[Any] = set()
        self._ended = threading.Condition()
        super().__init__(address, Exchange)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox", daemon=True).start()

    def pause(self, api: Api) -> bool:
        """Let a request wait as long as the rehearsal wants; say whether the server is still there afterwards."""
        if self.faults.rehearsal.latency > 0:
            self._gone.wait(self.faults.rehearsal.latency)
        gate = self.faults.gate_of(api)
        if gate:
            gate.wait()
        return not self._gone.is_set()

    def leave(self) -> None:
        """Refuse new connections and cut those that are open, at once."""
        self._gone.set()
        # Only after the accept loop has ended is the set of connections complete.
        self.shutdown()
        self.server_close()
        with self._ended:
            for connection in self._connections:
                cut(connection)

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait for the threads of all connections; say whether they have ended."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._connections, seconds)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        with self._ended:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._ended:
            self._connections.discard(request)
            self._ended.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is part of the rehearsal; any other error is a fault of the stand-in: show it."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
