"""Would the server take what comes? Asked without causing work, before a gigabyte is sent in vain.

Owns the question (OPTIONS, RFC 9110 section 9.3.7) and when it is asked anew. It must not know samples. Errors that
leave it: those of `http.Client`, and ApiOutage for a key that is refused.

An answer proves little: only 401, 403 and 407 say something, that the credentials are refused. Any other answer means
that the server is reached and its credentials are unproven.
"""

import threading
from collections.abc import Mapping, Sequence

from moichord.apis.answers import failure_of_status
from moichord.apis.http import Answer, Client
from moichord.apis.upload import Parcel, Stored, Uploader
from moichord.errors import ApiFailure, ApiOutage, ApiTransient, Stopped

LARGE = 16 * 1024 * 1024
"""Bytes from which on the question is worth its round trip: at 100 Mbit/s they take more than a second to send."""

_REFUSED = frozenset({401, 403, 407})


def ask(client: Client, headers: Mapping[str, str], params: Mapping[str, str] | None = None) -> Answer:
    """What the server answers to OPTIONS; raises ApiOutage if it refuses the credentials, or ApiTransient."""
    answer = client.send(b"", headers, method="OPTIONS", params=params)
    if answer.status in _REFUSED:
        raise failure_of_status(client.endpoint.api, answer.status, answer.headers, now=client.clock.now())
    return answer


class Preflighted:
    """An `Uploader` that asks before its first large parcel, and again once a request has failed.

    A parcel that was stored proves more than any answer: nothing is asked after it.
    """

    def __init__(self, uploader: Uploader, client: Client, *, large: int = LARGE) -> None:
        self._uploader = uploader
        self._client = client
        self._large = large
        self._asking = threading.Lock()
        self._proven = False

    @property
    def takes_whole_samples(self) -> bool:
        return self._uploader.takes_whole_samples

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        if sum(instance.body.length for instance in parcel.instances) > self._large:
            self._require_proof(parcel)
        try:
            stored = self._uploader.send(parcel)
        except (ApiOutage, ApiTransient):
            self._proven = False
            raise
        self._proven = True
        return stored

    def _require_proof(self, parcel: Parcel) -> None:
        with self._asking:  # others wait for the answer instead of asking too
            if self._proven:
                return
            try:
                ask(self._client, parcel.headers)
            except ApiTransient:
                pass  # a server that does not know OPTIONS may hang up on it: then the image itself shows
            except (ApiFailure, Stopped) as ended:
                ended.maybe_done = False  # nothing of the parcel has gone out
                raise
            self._proven = True
