"""The metadata call: what the laboratory's system knows of a sample.

Owns the request and what counts as a reply to it. It must not know which fields are needed, nor how long an unknown
sample is waited for. Errors that leave it: those of `http.Client`, and `SampleUnknown`.
"""

from collections.abc import Mapping
from typing import Any

from moichord.apis.answers import SERVER, failure_of_status
from moichord.apis.bodies import as_json
from moichord.apis.http import Answer, Client
from moichord.apis.replies import NotJson, parse, quote
from moichord.errors import ApiTransient, SampleUnknown
from moichord.sample import Api


class MetadataApi:
    """Asks one endpoint, with a JSON body even under GET, as the existing service wants it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(
        self,
        sample_id: str,
        body: Mapping[str, Any] | None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The record of a sample: a JSON object that is not empty. `body` None: the request has none.

        Raises SampleUnknown for 404 and for an empty reply; ApiTransient for one that is no JSON object; and the
        failure that the contract's table gives any other status.
        """
        content, described = as_json(body)
        answer = self._client.send(content, {**described, **(headers or {})}, params=params)
        if answer.status in (204, 404) or (answer.status == 200 and not answer.content.strip()):
            raise self._unknown(sample_id, answer)
        if answer.status != 200:
            raise failure_of_status(
                Api.METADATA,
                answer.status,
                answer.headers,
                now=self._client.clock.now(),
                detail=quote(answer.content),
            )
        return self._record(sample_id, answer)

    def _record(self, sample_id: str, answer: Answer) -> dict[str, Any]:
        try:
            reply = parse(answer.content)
        except NotJson as error:
            raise self._unreadable(str(error), answer) from error
        if reply in (None, "", [], {}):
            raise self._unknown(sample_id, answer)
        if not isinstance(reply, dict):
            raise self._unreadable("is JSON, but no object with fields", answer)
        return reply

    def _unknown(self, sample_id: str, answer: Answer) -> SampleUnknown:
        how = "404" if answer.status == 404 else "an empty reply"
        return SampleUnknown(
            f"{SERVER[Api.METADATA]} does not know the sample {sample_id} ({how}).",
            api=Api.METADATA,
            remedy="Check the folder's name, and that the sample is registered; then drop it again or retry it.",
            status=answer.status,
            maybe_done=False,
            detail=quote(answer.content),
        )

    def _unreadable(self, how: str, answer: Answer) -> ApiTransient:
        size = " It is over 4 MiB." if answer.cut else ""
        return ApiTransient(
            f"{SERVER[Api.METADATA]}'s reply {how}.{size}",
            api=Api.METADATA,
            remedy="Check that metadata.url names the API itself. moichord tries again.",
            status=answer.status,
            detail=quote(answer.content),
        )
