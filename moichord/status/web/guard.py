"""Every request before it is answered: the host that it names, who asks; and the headers of every answer.

Owns the session cookie, the refusal of requests that other sites make a browser send, and the security headers. It
must not know what is answered, nor how programs sign in (`programs`). Errors: none; what is refused is answered.

Without a password only this machine can ask, but any site that is open in its browser could: a request must name
this machine as host (against DNS rebinding), and one that changes something must come from the page itself.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moichord.clock import Clock
from moichord.errors import ConfigurationInvalid
from moichord.status.web.passwords import People
from moichord.status.web.programs import CHALLENGE, Programs
from moichord.status.web.sessions import LIFETIME, Seal, Session, new_session, renewed

log = logging.getLogger(__name__)

COOKIE = "moichord"
OPEN_TO_ALL = ("/healthz", "/readyz", "/metrics", "/static/")
FOR_PROGRAMS = "/api/"
OPEN_TO_STRANGERS = ("/login",)
SAFE_METHODS = {"GET", "HEAD"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: their session, and the token that their forms carry."""

    session: Session
    token: str


class Guard:
    """Stands before the application."""

    def __init__(
        self, application: ASGIApp, key: bytes, people: Callable[[], People], programs: Programs, clock: Clock
    ) -> None:
        self._application = application
        self._key = key
        self._people = people
        self._programs = programs
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is spoken here
        request = Request(scope)
        answer = Answering(scope, send)
        refusal = self._refused(request)
        if refusal is None and not request.url.path.startswith(OPEN_TO_ALL):
            try:
                refusal = await self._recognised(request, answer)
            except ConfigurationInvalid as error:
                log.error("%s", error)
                refusal = PlainTextResponse("The password file cannot be used: the log says why.\n", 503)
        if refusal is not None:
            await refusal(scope, receive, answer.send)
            return
        await self._application(scope, receive, answer.send)

    def _refused(self, request: Request) -> Response | None:
        """Why this request is not from a person at the page, if it is not."""
        host = request.headers.get("host", "")
        if not self._people().are_asked and not _names_this_machine(host):
            return PlainTextResponse("This page is only for the machine that it is on.\n", 421)
        if request.method in SAFE_METHODS:
            return None
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or site not in {"same-origin", "none"}:
            return PlainTextResponse("This request came from another site.\n", 403)
        return None

    async def _recognised(self, request: Request, answer: "Answering") -> Response | None:
        """Give the request its visitor; a way to the login for those who have to sign in first."""
        people = self._people()
        seal, now = Seal(self._key, people.stored), self._clock.now()
        if people.are_asked and _is_of_a_program(request):
            name = await self._programs.name(request, people)
            if isinstance(name, Response):
                return name
            self._let_in(request, new_session(name, now), seal, answer)  # for this request only
            return None
        session = seal.open(request.cookies.get(COOKIE, ""), now)
        if session is None:
            session = new_session(None, now)
            answer.cookie(seal.close(session))
        elif session.is_to_be_renewed(now):
            session = renewed(session, now)
            answer.cookie(seal.close(session))
        self._let_in(request, session, seal, answer)
        if people.are_asked and session.user is None and request.url.path not in OPEN_TO_STRANGERS:
            return _to_the_login(request)
        return None

    def _let_in(self, request: Request, session: Session, seal: Seal, answer: "Answering") -> None:
        request.state.visitor = Visitor(session, seal.token(session))
        request.state.seal = seal
        request.state.answer = answer


class Answering:
    """One answer on its way: it gets the headers that every answer has, and a new cookie where there is one."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._secure = scope.get("scheme") == "https"
        self._page = not str(scope["path"]).startswith("/static/")
        self._cookie: str | None = None

    def cookie(self, sealed: str) -> None:
        """The browser is to keep this."""
        secure = "; Secure" if self._secure else ""
        self._cookie = f"{COOKIE}={sealed}; Path=/; HttpOnly; SameSite=Strict; Max-Age={LIFETIME:.0f}{secure}"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store" if self._page else "no-cache")
            if self._cookie is not None:
                headers.append("Set-Cookie", self._cookie)
        await self._send(message)


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _is_of_a_program(request: Request) -> bool:
    """Whether it brings name and password itself, where programs may ask."""
    return request.url.path.startswith(FOR_PROGRAMS) and "authorization" in request.headers


def _to_the_login(request: Request) -> Response:
    of_a_browser = "text/html" in request.headers.get("accept", "")
    if request.method == "GET" and of_a_browser:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
    # A browser that is challenged would ask for a password in a window of its own.
    challenge = CHALLENGE if request.url.path.startswith(FOR_PROGRAMS) and not of_a_browser else None
    return PlainTextResponse("Sign in first.\n", 401, challenge)
