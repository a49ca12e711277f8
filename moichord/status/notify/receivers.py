"""The receivers of messages, by way of Apprise: whatever an address of `notify.urls` names.

Owns the only use of that library, which the extra `notify` installs. It must not know what is told, or when. Errors:
ConfigurationInvalid for addresses that it cannot use, or where it is missing; NotTold for a message that was not taken.

No address is shown, but for its scheme: any other part of it may be a key. The library's own log is not let through,
since it quotes addresses; what it says of a message that was not taken is asked of it alone, and masked.
"""

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from urllib.parse import unquote

from moichord.config import Notify, Secret
from moichord.errors import ConfigurationInvalid, NotTold
from moichord.logs import Redaction
from moichord.sample import printable
from moichord.status.notify.news import Message

KIND = "message:"
LONGEST = 200
MISSING = (
    "notify.urls: needs the extra `notify`, which is not installed: pip install 'moichord[notify]', into the Python "
    "that moichord runs with"
)


@dataclass(frozen=True, slots=True)
class Addressee:
    """One receiver. `name` is for people, `mark` for what it was told: the same address has the same."""

    name: str
    mark: str
    address: Secret

    def tell(self, message: Message) -> None:
        """Send one message, once. Raises NotTold."""
        library = _library()
        if library is None:
            raise NotTold(MISSING)
        # In this thread, which nobody waits for at the end: the library's own are waited for.
        asset = library.AppriseAsset(
            app_id="moichord",
            app_desc="moichord",
            app_url="",
            async_mode=False,
            service_timeout=0,
            http_redirects=False,
        )
        with _listening() as heard:
            sender = library.Apprise(asset=asset)
            taken = sender.add(self.address.reveal()) and sender.notify(
                title=message.title, body=message.body, body_format=library.NotifyFormat.TEXT
            )
        if not taken:
            why = f": {self._masked(heard[-1])}" if heard else ""
            raise NotTold(f"{self.name} did not take a message{why}")

    def _masked(self, text: str) -> str:
        address = self.address.reveal()
        parts = address.partition("://")[2].replace("?", "/").replace("@", "/").replace("=", "/").replace("&", "/")
        words = {word for part in parts.split("/") for word in (part, *part.split(":")) if len(word) > 2}
        return printable(Redaction({address, *words, *map(unquote, words)})(text))[:LONGEST]


def addressees(notify: Notify) -> list[Addressee]:
    """Everybody that messages go to. Raises ConfigurationInvalid, with all that is wrong."""
    if not notify.urls:
        return []
    library = _library()
    if library is None:
        raise ConfigurationInvalid([MISSING], remedy="Or leave notify.urls empty: [].")
    problems = [
        f"notify.urls[{number}]: is no address that Apprise can use: see https://appriseit.com for how each is written"
        for number, address in enumerate(notify.urls)
        if not _is_known(library, address)
    ]
    if problems:
        raise ConfigurationInvalid(problems)
    return [_addressee(number, address) for number, address in enumerate(notify.urls)]


def _addressee(number: int, address: Secret) -> Addressee:
    scheme = address.reveal().partition("://")[0].lower()
    digest = hashlib.sha256(address.reveal().encode()).hexdigest()[:16]
    return Addressee(f"notify.urls[{number}] ({scheme})", KIND + digest, address)


def _is_known(library: ModuleType, address: Secret) -> bool:
    with _listening():
        return bool(library.Apprise().add(address.reveal()))


def _library() -> ModuleType | None:
    """Apprise; None where it is not installed."""
    try:
        import apprise
    except ImportError:
        return None
    return apprise


class _Ear(logging.Handler):
    """Hears what the library says in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[Sequence[str]]:
    """What the library says meanwhile, which goes to no log."""
    ear, log = _Ear(), logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.WARNING)
    log.addHandler(ear)
    try:
        yield ear.heard
    finally:
        log.removeHandler(ear)
        if not log.handlers:
            log.addHandler(logging.NullHandler())  # else Python itself would print what comes late
