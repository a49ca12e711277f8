"""Retry and cancel, as people ask for them on the page, or programs by JSON.

Owns the answers. What is asked for becomes a row that the daemon carries out; what may be asked is decided by
`queue.requests`. Errors: StateUnwritable; Starlette's HTTPException for what is not there or not allowed.
"""

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from moichord.errors import UsageRefused
from moichord.queue.requests import reopening
from moichord.sample import Submission
from moichord.status.web.ascii_json import AsciiJson
from moichord.status.web.desk import Desk
from moichord.status.web.forms import form_of, is_from_a_program, own_path
from moichord.status.web.pages import found


class Actions:
    """The endpoints that change something."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def retry(self, request: Request) -> Response:
        """Continue a failed or cancelled sample where it ended."""
        return await self._answer(request, "retry")

    async def cancel(self, request: Request) -> Response:
        """Stop a sample and move it to failed."""
        return await self._answer(request, "cancel")

    async def _answer(self, request: Request, kind: str) -> Response:
        program = await is_from_a_program(request)
        form = {} if program else await form_of(request)
        if self._desk.settings().read_only:
            raise HTTPException(403, "Nothing can be asked for here (web.read_only).")
        uuid = request.path_params["uuid"]
        try:
            said = await run_in_threadpool(self._ask, uuid, kind)
        except UsageRefused as refusal:
            if program:
                return AsciiJson({"refused": refusal.problem, "remedy": refusal.remedy}, 409)
            content = {"title": "That makes no sense now", "text": refusal.problem, "remedy": refusal.remedy}
            return self._desk.page(request, "message.html", content, 409)
        if program:
            return AsciiJson({"said": said}, 202)
        return RedirectResponse(own_path(form.get("next", f"/samples/{uuid}")), 303)

    def _ask(self, uuid: str, kind: str) -> str:
        """Write the request. Raises UsageRefused, HTTPException."""
        submission = found(self._desk, uuid)
        if submission.uuid != uuid:
            raise HTTPException(404, "Name the submission by its UUID.")
        if self._desk.listings.asked().get(uuid) == kind:
            return "That was asked for already."
        if kind == "cancel":
            self._desk.requests.ask_cancel(submission)
            return "It is to be cancelled."
        self._ask_retry(submission)
        paused = self._desk.requests.is_paused()
        return f"It is to be retried{', once moichord is no longer paused' if paused else ''}."

    def _ask_retry(self, submission: Submission) -> None:
        newest = self._desk.views.newest(submission.sample_id)
        if newest is not None and newest.uuid != submission.uuid:
            raise UsageRefused(
                f"A newer submission of {submission.sample_id} has come since.",
                remedy="Look at that one: it is the one that goes on.",
            )
        detail = self._desk.views.detail(submission.uuid)
        reopening(detail.submission, detail.steps, detail.images, None)
        self._desk.requests.ask_retry(detail.submission, None)
