"""Somebody who is told something: a small HTTP server on loopback that remembers requests, and answers as it is told.

Owns the server. It must not know what is told.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LONGEST_HANG = 60.0


@dataclass(frozen=True)
class Told:
    """One request."""

    method: str
    path: str
    body: bytes
    answered: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def title(self) -> str:
        """Of a message, as Apprise's json:// sends it."""
        return str(self.json["title"])

    @property
    def text(self) -> str:
        return str(self.json["message"])


class ReceivingServer:
    """A context manager. `status` is what it answers (with `location`); while `hanging` is set it answers nothing."""

    def __init__(self) -> None:
        self.status = 200
        self.location: str | None = None
        self.hanging = threading.Event()
        self._let_go = threading.Event()
        self._told: list[Told] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def told(self) -> list[Told]:
        """What it has taken, in order."""
        return [one for one in list(self._told) if 200 <= one.answered < 300]

    @property
    def refused(self) -> list[Told]:
        """What it has not taken."""
        return [one for one in list(self._told) if one.answered >= 300]

    def paths(self) -> list[str]:
        return [one.path for one in self.told]

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = outer.status
                if outer.hanging.is_set():
                    outer._told.append(Told(self.command, self.path, body, 599))
                    outer._let_go.wait(LONGEST_HANG)
                    return
                outer._told.append(Told(self.command, self.path, body, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if outer.location is not None:
                    self.send_header("Location", outer.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
