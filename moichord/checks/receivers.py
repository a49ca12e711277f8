"""Would people hear of it? Addresses of messages, and, only when asked for, a test message and a test heartbeat.

Owns these questions. A report is not sent for a test: it would be taken for a failed sample. It must not know how a
message travels. No error leaves it.
"""

import platform
from collections.abc import Callable

from moichord.apis.receiver import Receiver
from moichord.checks.finding import Finding, failed, ok
from moichord.clock import Clock
from moichord.config import Settings
from moichord.errors import ConfigurationInvalid, NotTold
from moichord.status.notify.news import Message
from moichord.status.notify.receivers import Addressee, addressees

NAME = "notify"
TEST = "This is a test, asked for by `moichord check --notify`: nothing has happened."
REMEDY = "Check that address, its keys, and the network on the way there; no sample waits for it."


def check_receivers(settings: Settings, clock: Clock, *, send: bool) -> list[Finding]:
    """Whether messages can be sent as configured; with `send`, whether the receivers take one, one finding for each."""
    try:
        found = addressees(settings.notify)
    except ConfigurationInvalid as invalid:
        remedy = invalid.remedy or "Correct it, or leave it out; the daemon does not start with it."
        return [failed(NAME, f"{problem}.", remedy, invalid.exit_code) for problem in invalid.problems]
    if not send:
        said = f"Messages can go to {', '.join(one.name for one in found)}: `moichord check --notify` sends one."
        return [ok(NAME, said)] if found else []
    findings = [_asked(one.name, "took a test message", _message(one)) for one in found]
    url = settings.notify.heartbeat_url
    if url is not None:
        receiver = Receiver("notify.heartbeat_url", clock)
        findings.append(_asked(receiver.key, "took a heartbeat", lambda: receiver.tell("GET", url)))
    return findings or [ok(NAME, "Nobody is to be told: notify.urls and notify.heartbeat_url are empty.")]


def _message(addressee: Addressee) -> Callable[[], None]:
    return lambda: addressee.tell(Message(f"moichord on {platform.node()}: a test", TEST))


def _asked(name: str, done: str, tell: Callable[[], None]) -> Finding:
    try:
        tell()
    except NotTold as error:
        return failed(NAME, f"{error.problem}.", REMEDY)
    return ok(NAME, f"{name} {done}.")
