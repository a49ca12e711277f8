"""The thread that says once a minute whether all is well, to a server that raises the alarm when it hears nothing.

Owns the rhythm, and what people hear of a server that does not listen. It must not know what "well" means
(`readiness`), nor HTTP. No error leaves it: a state that cannot be read is no reason to be silent.

https://healthchecks.io/docs/http_api/: GET of the address says "well", of the address and /fail "not well".
"""

import logging
import threading
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

from moichord.clock import Clock
from moichord.errors import NotTold, StateUnwritable
from moichord.status.notify.timing import retry_after
from moichord.status.phrases import moment

log = logging.getLogger(__name__)

BEAT_SECONDS = 60.0
LOOK_SECONDS = 2.0

Get = Callable[[str], None]


def failing(url: str) -> str:
    """The address that says "not well"."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))


class Heartbeat:
    """`url` is where it goes now, `reasons` say why all is not well, `get` asks for an address or raises NotTold."""

    def __init__(
        self, url: Callable[[], str | None], reasons: Callable[[], Sequence[str]], get: Get, clock: Clock
    ) -> None:
        self._url = url
        self._reasons = reasons
        self._get = get
        self._clock = clock
        self._told: tuple[str, bool] | None = None
        self._next = 0.0
        self._failures = 0
        self._problem: str | None = None
        self._since = 0.0

    @property
    def notices(self) -> list[str]:
        """What people should know."""
        problem = self._problem
        return [] if problem is None else [f"{problem}, since {moment(self._since, self._clock.now())}; tried again"]

    def run(self, stopping: threading.Event) -> None:
        """Look every few seconds until stopping: a change is told at once."""
        while not stopping.is_set():
            self.look()
            self._clock.wait(stopping, LOOK_SECONDS)

    def look(self) -> None:
        """Tell what is due."""
        url = self._url()
        if url is None:
            self._told, self._problem = None, None
            return
        well, now = self._is_well(), self._clock.monotonic()
        changed = self._told != (url, well) and not self._failures
        if not changed and now < self._next:
            return
        try:
            self._get(url if well else failing(url))
        except NotTold as error:
            self._next = now + min(retry_after(self._failures), BEAT_SECONDS)
            self._failures += 1
            if self._problem is None:
                self._since = self._clock.now()
                log.error("%s; tried again", error.problem)
            self._problem = error.problem
            return
        if self._problem is not None:
            log.warning("notify.heartbeat_url: the server takes heartbeats again")
        self._told, self._problem, self._failures = (url, well), None, 0
        self._next = now + BEAT_SECONDS

    def _is_well(self) -> bool:
        try:
            return not self._reasons()
        except StateUnwritable:
            return False
