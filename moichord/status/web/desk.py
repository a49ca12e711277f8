"""What the page's endpoints need at hand.

Owns nothing but the gathering. It must not know an endpoint. No error leaves it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from moichord.clock import Clock
from moichord.config import Web
from moichord.queue.listings import Listings
from moichord.queue.requests import Requests
from moichord.queue.views import Views
from moichord.sample import Submission
from moichord.status.web.guard import Visitor
from moichord.status.web.passwords import People
from moichord.status.web.present import Present
from moichord.status.web.rows import Rows


@dataclass(frozen=True, slots=True)
class Desk:
    """`settings` gives the page's settings as they are now, `people` who may see it, `place` where a sample lies."""

    views: Views
    listings: Listings
    requests: Requests
    present: Present
    settings: Callable[[], Web]
    people: Callable[[], People]
    place: Callable[[Submission], Path]
    templates: Environment
    clock: Clock

    def rows(self) -> Rows:
        """What makes lines out of samples, as things stand."""
        standing, may_ask = self.present.standing(), not self.settings().read_only
        return Rows(standing, self.listings.asked(), self.present.seconds_for, may_ask=may_ask)

    def page(self, request: Request, template: str, content: Mapping[str, Any], status: int = 200) -> Response:
        """One page, with what all of them need."""
        visitor: Visitor = request.state.visitor
        frame = {
            "token": visitor.token,
            "user": visitor.session.user,
            "people_are_asked": self.people().are_asked,
            "path": request.url.path,
            "query": request.query_params.get("q", ""),
        }
        return HTMLResponse(self.templates.get_template(template).render({**frame, **content}), status)
