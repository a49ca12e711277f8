"""The other end of NOTIFY_SOCKET: what a daemon tells systemd.

Owns the socket and a thread that empties it, for only few messages find room there.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Supervisor:
    """Hears every message, in order."""

    def __init__(self, name: str) -> None:
        self.address = f"@{name}"
        self._messages: list[str] = []
        self._news = threading.Condition(threading.RLock())
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(b"\0" + name.encode())
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        """What the daemon is to be started with; `watchdog` in seconds."""
        more = {} if watchdog is None else {"WATCHDOG_USEC": str(round(watchdog * 1_000_000))}
        return {"NOTIFY_SOCKET": self.address, **more}

    @property
    def messages(self) -> list[str]:
        with self._news:
            return list(self._messages)

    @property
    def status(self) -> str:
        """The newest status."""
        return next((one.removeprefix("STATUS=") for one in self.messages[::-1] if one.startswith("STATUS=")), "")

    def wait_for(self, condition: Callable[["Supervisor"], object], timeout: float = 60.0) -> None:
        with self._news:
            heard = self._news.wait_for(lambda: condition(self), timeout)
        assert heard, f"waited {timeout:g} s in vain; heard {self.messages[-20:]}"

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", b"\0" + self.address[1:].encode())
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            with self._news:
                self._messages += datagram.decode().splitlines()
                self._news.notify_all()


@contextmanager
def listening(name: str) -> Iterator[Supervisor]:
    supervisor = Supervisor(name)
    try:
        yield supervisor
    finally:
        supervisor.close()
