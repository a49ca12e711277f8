"""What programs ask: the samples as JSON, whether the process lives, whether it can do its work.

Owns these answers. The JSON is that of `status.report`. It must not know HTML. Errors: StateUnwritable if the state
cannot be read; Starlette's HTTPException for what is not there.

/healthz, /readyz and /metrics are open to everybody: they name no sample, and quote no server.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from moichord.errors import StateUnwritable
from moichord.status import metrics
from moichord.status.metrics import CONTENT_TYPE
from moichord.status.readiness import reasons
from moichord.status.report import overview_report, sample_report
from moichord.status.standing import disks
from moichord.status.veil import veiled
from moichord.status.web.ascii_json import AsciiJson
from moichord.status.web.desk import Desk
from moichord.status.web.pages import LONGEST_SEARCH, Leaf, found, page_of

ROWS = 100
SENTENCES = frozenset({"reason", "last_problem", "text"})


class Interface:
    """The endpoints for programs. `hindrances` are sentences about disks and folders; `places` are the folders."""

    def __init__(self, desk: Desk, hindrances: Callable[[], Iterable[str]], places: Mapping[str, Path]) -> None:
        self._desk = desk
        self._hindrances = hindrances
        self._places = places

    def samples(self, request: Request) -> Response:
        """What `status --json` prints; with `q` or `page` also what is found, 100 on a page."""
        standing = self._desk.everything.standing()
        text, page = request.query_params.get("q", "").strip()[:LONGEST_SEARCH], page_of(request)
        first = (page - 1) * ROWS
        listings = self._desk.listings
        listing = listings.matching(text, first, ROWS) if text else listings.ended(first, ROWS)
        report = overview_report(standing)
        leaf = Leaf.of(page, listing.total, ROWS)
        found_here = [
            {
                "submission": one.uuid,
                "sample_id": one.sample_id,
                "attempt_number": one.attempt_number,
                "state": str(one.state),
            }
            for one in listing.submissions
        ]
        report["listing"] = {"page": leaf.page, "pages": leaf.pages, "total": leaf.total, "submissions": found_here}
        return AsciiJson(self._shown(report))

    def sample(self, request: Request) -> Response:
        """What `status SAMPLE --json` prints."""
        submission = found(self._desk, request.path_params["uuid"])
        others = self._desk.views.submissions_of(submission.sample_id)
        standing = self._desk.standing([submission])
        return AsciiJson(self._shown(sample_report(self._desk.views.detail(submission.uuid), others, standing)))

    def _shown(self, report: Mapping[str, Any]) -> Mapping[str, Any]:
        """The report; without leave, without what its sentences quote of images and servers."""
        return report if self._desk.settings().show_patient_data else _quoting_nothing(report)

    def metrics(self, _request: Request) -> Response:
        """How it stands, for Prometheus."""
        return Response(metrics.render(self._desk.present.standing(), disks(self._places)), media_type=CONTENT_TYPE)

    async def health(self, _request: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")

    async def readiness(self, _request: Request) -> Response:
        """200 if samples can go their way; else 503, and one reason on each line."""
        found = await run_in_threadpool(self._reasons)
        return PlainTextResponse("".join(f"{reason}\n" for reason in found) or "ready\n", 503 if found else 200)

    def _reasons(self) -> list[str]:
        hindrances = list(self._hindrances())
        try:
            standing = self._desk.present.standing()
        except StateUnwritable:
            return [*hindrances, "the state cannot be read"]
        return reasons(hindrances, standing.outages, standing.overview.paused_at, standing.at)


def _quoting_nothing(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _quoting_nothing(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_quoting_nothing(inner) for inner in value]
    return veiled(value) if key in SENTENCES and isinstance(value, str) else value
