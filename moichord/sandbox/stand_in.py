"""The three stand-in APIs on one loopback port: to be started, watched, spoilt, taken down and brought up again.

Owns their wiring and their life. It must not know how requests are read (exchange.py) or answered (endpoints.py).
`UsageRefused` leaves it for an address that is not loopback, `OSError` for a port in use or an unwritable record.
"""

import errno
import socket
import threading
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from moichord.clock import Clock, SystemClock
from moichord.errors import UsageRefused
from moichord.sample import Api
from moichord.sandbox.catalogue import CATALOGUE, KEYS
from moichord.sandbox.endpoints import PATHS, Endpoints
from moichord.sandbox.faults import Fault, FaultPlan, Moment, Rehearsal
from moichord.sandbox.instances import Instances
from moichord.sandbox.listener import Listener
from moichord.sandbox.received import Received, RequestLog

_PATH_OF = {api: path for path, api in PATHS.items()}
_VARIABLES = {Api.METADATA: "MD", Api.UPLOAD: "U", Api.ANALYTICS: "A"}


class StandInApis:
    """A context manager: inside it the APIs answer at `url(api)`.

    `requests` is what they received, `instances` the images they hold, `records` the metadata replies by sample ID
    (to be changed freely). With `record` every request is appended to that file before it is answered; with
    `keep_files` the images stay in that folder. `any_sample` invents a record for an unknown sample ID.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Mapping[Api, str] = KEYS,
        any_sample: bool = False,
        rehearsal: Rehearsal | None = None,
        record: Path | None = None,
        keep_files: Path | None = None,
        on_record: Callable[[Received], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise UsageRefused(
                f"the stand-in APIs do not listen on {host}: anybody could send images to them",
                remedy="Use a loopback address such as 127.0.0.1.",
            )
        self.keys = dict(keys)
        self.records: dict[str, Any] = {sample_id: animal.reply() for sample_id, animal in CATALOGUE.items()}
        self.instances = Instances(keep_files)
        self._address = (host, port)
        self._record = record
        self._on_record = on_record
        self._clock = clock or SystemClock()
        self._faults = FaultPlan(rehearsal or Rehearsal())
        self._endpoints = Endpoints(self.keys, self.records, self.instances, any_sample=any_sample)
        self._listener: Listener | None = None
        self._placeholder: socket.socket | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.instances.folder:
            self.instances.folder.mkdir(parents=True, exist_ok=True)
        self.requests = RequestLog(self._record, self._on_record)
        try:
            self.up()
        except OSError as error:
            self.requests.close()
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            taken = (
                "is in use by another program" if error.errno == errno.EADDRINUSE else "may not be used by this user"
            )
            raise UsageRefused(
                f"Port {self._address[1]} of {self._address[0]} {taken}.",
                remedy="Choose another one with --port, or leave it out: then a free one is found.",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            listener.leave()
        # Only now: what was held until here must not be carried out.
        self._faults.clear()
        if listener:
            listener.wait_until_empty(5.0)
        if self._placeholder:
            self._placeholder.close()
        self.requests.close()

    def url(self, api: Api) -> str:
        return f"http://{self._address[0]}:{self._address[1]}{_PATH_OF[api]}"

    def environment(self) -> dict[str, str]:
        """The variables that point moichord here: MD_URL, MD_KEY, U_URL, U_KEY, A_URL, A_KEY."""
        urls = {f"{name}_URL": self.url(api) for api, name in _VARIABLES.items()}
        return urls | {f"{name}_KEY": self.keys[api] for api, name in _VARIABLES.items()}

    def down(self) -> None:
        """As if the server were switched off: open connections are cut, new ones refused, until `up`."""
        with self._lock:
            if self._listener is None:
                return
            self._listener.leave()
            self._listener = None
            # Bound but not listening: connections are refused, and nobody else can be given the port.
            self._placeholder = socket.socket(socket.AF_INET)
            self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._placeholder.bind(self._address)

    def up(self) -> None:
        """Listen, at the same port as before; what was stored is still there."""
        with self._lock:
            if self._listener is not None:
                return
            if self._placeholder:
                self._placeholder.close()
                self._placeholder = None
            self._listener = Listener(self._address, self.requests, self._faults, self._endpoints, self._clock)
            self._address = (self._address[0], self._listener.server_address[1])

    def fail_next(
        self,
        api: Api,
        *,
        status: int = 500,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        moment: Moment = Moment.INSTEAD,
    ) -> None:
        """Spoil the next `times` requests to `api` (OPTIONS not counted); several scripts follow each other."""
        self._faults.script(api, Fault(status, headers or {}, body, moment), times)

    def fail_for(
        self,
        predicate: Callable[[Received], bool],
        *,
        status: int = 500,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        moment: Moment = Moment.INSTEAD,
    ) -> None:
        """Spoil every request of which `predicate` is true, OPTIONS too, until `mend`."""
        self._faults.rule(predicate, Fault(status, headers or {}, body, moment))

    def hold(self, api: Api) -> threading.Event:
        """Keep every request to `api` unanswered, its body read, until the returned event is set."""
        return self._faults.gate(api)

    def mend(self) -> None:
        """Forget all scripted failures and holds."""
        self._faults.clear()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
