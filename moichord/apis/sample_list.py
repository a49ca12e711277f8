"""The list of the samples that the laboratory's system expects: one GET, beside what is asked for each sample.

Owns the request and what counts as a reply to it. It must not know what a sample ID looks like, nor what the list is
compared with. Errors that leave it: those of `http.Client`, and those that the contract's table gives a status.
"""

from typing import Any

from moichord.apis.answers import SERVER, failure_of_status
from moichord.apis.http import Client
from moichord.apis.replies import NotJson, parse, quote
from moichord.errors import ApiTransient
from moichord.sample import Api


class SampleList:
    """Asks one endpoint for all samples at once."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self) -> Any:
        """The JSON of the reply, whatever it is; None for one without content.

        Raises ApiTransient for one that is no JSON or is over 4 MiB, and the failure of any other status than 200.
        """
        answer = self._client.send(b"", {"Accept": "application/json"})
        if answer.status == 204 or (answer.status == 200 and not answer.content.strip()):
            return None
        if answer.status != 200:
            raise failure_of_status(
                Api.METADATA, answer.status, answer.headers, now=self._client.clock.now(), detail=quote(answer.content)
            )
        if answer.cut:
            raise self._unreadable("is over 4 MiB")
        try:
            return parse(answer.content)
        except NotJson as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, how: str) -> ApiTransient:
        return ApiTransient(f"The list of samples that {SERVER[Api.METADATA]} gives {how}.", api=Api.METADATA)
