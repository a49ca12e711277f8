"""What the page's endpoints need at hand.

Owns nothing but the gathering. It must not know an endpoint. No error leaves it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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
from moichord.sample import FINISHED, Submission
from moichord.status.standing import Standing
from moichord.status.web.guard import Visitor
from moichord.status.web.passwords import People
from moichord.status.web.present import Present
from moichord.status.web.rows import Rows


@dataclass(frozen=True, slots=True)
class Desk:
    """`settings` gives the page's settings as they are now, `people` who may see it, `place` where a sample lies.

    `present` has of what is on the way as much as a page shows; `everything` has all of it.
    """

    views: Views
    listings: Listings
    requests: Requests
    present: Present
    everything: Present
    settings: Callable[[], Web]
    people: Callable[[], People]
    place: Callable[[Submission], Path]
    templates: Environment
    clock: Clock

    def standing(self, about: Iterable[Submission] = ()) -> Standing:
        """How it stands; with the progress of these submissions, whether or not they are among those shown."""
        standing = self.present.standing()
        known = standing.overview.progress
        others = [one.uuid for one in about if one.state not in FINISHED and one.uuid not in known]
        if not others:
            return standing
        return replace(standing, overview=replace(standing.overview, progress={**known, **self.views.progress(others)}))

    def rows(self, about: Iterable[Submission] = ()) -> Rows:
        """What makes lines out of samples, these among them, as things stand."""
        standing, web = self.standing(about), self.settings()
        asked, pace = self.listings.asked(), self.present.seconds_for
        return Rows(standing, asked, pace, may_ask=not web.read_only, patient_data=web.show_patient_data)

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
