"""Which address is answered by what.

Owns the table of addresses, and the answer to what goes wrong. It must not know what the answers say. No error leaves
it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from moichord.errors import StateUnwritable
from moichord.status.web.actions import Actions
from moichord.status.web.ascii_json import AsciiJson
from moichord.status.web.attempts import Attempts
from moichord.status.web.desk import Desk
from moichord.status.web.entrance import Entrance
from moichord.status.web.guard import Guard
from moichord.status.web.interface import Interface
from moichord.status.web.live import Live
from moichord.status.web.pages import Pages
from moichord.status.web.pictures import Pictures
from moichord.status.web.programs import Programs

OF_STARLETTE = frozenset({"Not Found", "Method Not Allowed"})
PLAIN = {404: "There is no such page here.", 405: "That cannot be done at this address."}


@dataclass(frozen=True, slots=True)
class Outside:
    """What the page must know of the machine: sentences about disks and folders, and where the folders are."""

    hindrances: Callable[[], Iterable[str]]
    places: Mapping[str, Path]


def application(desk: Desk, pictures: Pictures, live: Live, key: bytes, outside: Outside) -> ASGIApp:
    """Everything behind the guard."""
    attempts = Attempts()
    pages, actions, entrance = Pages(desk), Actions(desk), Entrance(desk, attempts)
    interface = Interface(desk, outside.hindrances, outside.places)
    routes = [
        Route("/", pages.overview),
        Route("/days", pages.days),
        Route("/samples/{uuid}", pages.sample),
        Route("/samples/{uuid}/receipt", pages.receipt),
        Route("/pictures/{uuid}", pictures.of_sample),
        Route("/pictures/{uuid}/{number:int}", pictures.of_image),
        Route("/live", live.stream),
        Route("/login", entrance.ask),
        Route("/login", entrance.enter, methods=["POST"]),
        Route("/logout", entrance.leave, methods=["POST"]),
        Route("/api/samples", interface.samples),
        Route("/api/samples/{uuid}", interface.sample),
        Route("/api/samples/{uuid}/retry", actions.retry, methods=["POST"]),
        Route("/api/samples/{uuid}/cancel", actions.cancel, methods=["POST"]),
        Route("/healthz", interface.health),
        Route("/readyz", interface.readiness),
        Route("/metrics", interface.metrics),
        Mount("/static", StaticFiles(directory=str(files("moichord.status.web").joinpath("static")))),
    ]
    mishaps = Mishaps(desk)
    handlers = {HTTPException: mishaps.refused, StateUnwritable: mishaps.unreadable, 500: mishaps.fault}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(inner, key, desk.people, Programs(attempts, desk.clock), desk.clock)


class Mishaps:
    """Answers for what cannot be answered as asked."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def refused(self, request: Request, error: Exception) -> Response:
        """Not there, or not allowed."""
        assert isinstance(error, HTTPException)  # noqa: S101  # that is what it is registered for
        detail = PLAIN.get(error.status_code, error.detail) if error.detail in OF_STARLETTE else error.detail
        return self._said(request, error.status_code, detail)

    def unreadable(self, request: Request, _error: Exception) -> Response:
        text = "The state cannot be read or written just now. What is being sent goes on, and nothing is lost."
        return self._said(request, 503, text)

    def fault(self, request: Request, _error: Exception) -> Response:
        """A fault of the page's own; Starlette logs it."""
        text = "This page has a fault; it is in the log. The samples go their way all the same."
        return self._said(request, 500, text)

    def _said(self, request: Request, status: int, text: str) -> Response:
        if request.url.path.startswith("/api/"):
            return AsciiJson({"refused": text}, status)
        if not hasattr(request.state, "visitor"):
            return PlainTextResponse(f"{text}\n", status)
        return self._desk.page(request, "message.html", {"title": text, "text": None, "remedy": None}, status)
