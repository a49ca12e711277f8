"""What systemd is told: one datagram for each message, to the socket that it names in the environment.

Owns the socket and the protocol (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). It must not
know when something is to be told. No error leaves it: without systemd, or if that does not listen, nothing is told.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

PATIENCE = 2.0
LONGEST_STATUS = 400


class Notifier:
    """Tells systemd; silent where `address`, the value of NOTIFY_SOCKET, names no socket."""

    def __init__(self, address: str | None) -> None:
        self._address = _address(address)

    @property
    def listened_to(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def tell(self, *messages: str) -> None:
        """Send `messages`, each `NAME=value`, as one datagram."""
        if self._address is None:
            return
        # Never for ever: this is also how systemd learns that we are alive.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(PATIENCE)
            channel.sendto("\n".join(messages).encode("utf-8", "replace"), self._address)


def status(text: str) -> str:
    """The message that shows `text` in `systemctl status`: one line, not too long."""
    line = " ".join(text.split())
    return f"STATUS={line if len(line) <= LONGEST_STATUS else line[: LONGEST_STATUS - 1] + '…'}"


def microseconds(name: str, seconds: float) -> str:
    """A message whose value is a time."""
    return f"{name}={round(seconds * 1_000_000)}"


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """How often systemd must hear of this process at least; None if it does not watch it."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _address(named: str | None) -> str | bytes | None:
    """A path, or `@name` for a name in the abstract namespace; other kinds (vsock) are not listened to."""
    if not named or not hasattr(socket, "AF_UNIX"):
        return None
    if named.startswith("@"):
        return b"\0" + os.fsencode(named[1:])
    return named if named.startswith("/") else None
