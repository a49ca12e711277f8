"""Signing in and out.

Owns those two. It must not know how passwords are stored or sessions sealed. Errors: ConfigurationInvalid if the
password file cannot be used; Starlette's HTTPException.
"""

import logging
import math

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from moichord.sample import printable
from moichord.status.web.attempts import Attempts
from moichord.status.web.desk import Desk
from moichord.status.web.forms import form_of, own_path
from moichord.status.web.sessions import Session, new_session

log = logging.getLogger(__name__)

LONGEST_NAME = 64


class Entrance:
    """The endpoints of the login."""

    def __init__(self, desk: Desk, attempts: Attempts) -> None:
        self._desk = desk
        self._attempts = attempts

    def ask(self, request: Request) -> Response:
        """The form; nobody needs it where no password is asked for."""
        if not self._desk.people().are_asked:
            return RedirectResponse("/", 303)
        return self._form(request, own_path(request.query_params.get("next", "/")))

    async def enter(self, request: Request) -> Response:
        """Let somebody in who knows the password."""
        form = await form_of(request)
        name, password = form.get("name", "")[:LONGEST_NAME], form.get("password", "")
        wanted = own_path(form.get("next", "/"))
        address = request.client.host if request.client else "unknown"
        people, clock = self._desk.people(), self._desk.clock
        if not people.are_asked:
            return RedirectResponse("/", 303)
        wait = self._attempts.wait(address, name, clock.monotonic())
        if wait > 0:
            text = f"Too many tries. The next one is heard in {math.ceil(wait)} s."
            answer = self._form(request, wanted, problem=text, name=name, status=429)
            answer.headers["Retry-After"] = f"{math.ceil(wait)}"
            return answer
        self._attempts.failed(address, name, clock.monotonic())  # before the slow part: many may try at once
        if not await run_in_threadpool(people.are, name, password):
            log.warning("the page: somebody at %s gave a wrong name or password", printable(address))
            return self._form(request, wanted, problem="The name or the password is wrong.", name=name, status=403)
        self._attempts.succeeded(address, name)
        self._keep(request, new_session(name, clock.now()))
        return RedirectResponse(wanted, 303)

    async def leave(self, request: Request) -> Response:
        """From now on the browser is a stranger again."""
        await form_of(request)
        self._keep(request, new_session(None, self._desk.clock.now()))
        return RedirectResponse("/login" if self._desk.people().are_asked else "/", 303)

    def _keep(self, request: Request, session: Session) -> None:
        request.state.answer.cookie(request.state.seal.close(session))

    def _form(
        self, request: Request, wanted: str, *, problem: str | None = None, name: str = "", status: int = 200
    ) -> Response:
        return self._desk.page(request, "login.html", {"next": wanted, "problem": problem, "name": name}, status)
