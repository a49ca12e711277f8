"""The analytics call: all images of a sample are there, look at them.

Owns the request and what counts as its success. It must not know when it is time for it. Errors that leave it: those
of `http.Client`, and the failure of any answer but 200.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moichord.apis.answers import failure_of_status
from moichord.apis.bodies import as_json
from moichord.apis.http import Client
from moichord.apis.replies import kept, quote
from moichord.sample import Api


@dataclass(frozen=True, slots=True)
class Reply:
    """What the analytics server answered: the status and the reply as it is kept (JSON, text, or None)."""

    status: int
    reply: Any


class AnalyticsApi:
    """Triggers the analysis at one endpoint."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def trigger(
        self,
        body: Mapping[str, Any] | None,
        idempotency_key: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Trigger it once; the same key tells the server that a repetition is the same request. `body` None: none."""
        content, described = as_json(body)
        all_headers = {**described, "Idempotency-Key": idempotency_key, **(headers or {})}
        answer = self._client.send(content, all_headers, params=params)
        if answer.status != 200:
            raise failure_of_status(
                Api.ANALYTICS,
                answer.status,
                answer.headers,
                now=self._client.clock.now(),
                detail=quote(answer.content),
            )
        return Reply(answer.status, kept(answer.content))
