"""Clients of a loopback server, with deadlines short enough for tests."""

from typing import Any

from moichord.apis.http import Client, Deadlines, Endpoint
from moichord.clock import SystemClock
from moichord.sample import Api

NOW = 1_700_000_000.0
KEY = "a-secret-key"
QUICK = Deadlines(connect=2.0, read=0.3, stall=0.3)
PATIENT = Deadlines(connect=10.0, read=30.0, stall=30.0)


class StandingClock(SystemClock):
    """A machine's clock whose wall-clock time stands still."""

    def now(self) -> float:
        return NOW


def client(
    url: str, api: Api = Api.UPLOAD, *, method: str = "POST", timeout: Deadlines = PATIENT, **more: Any
) -> Client:
    headers = more.pop("headers", {"Authorization": KEY})
    return Client(Endpoint(api, url, method, timeout, headers=headers, **more), clock=StandingClock())
