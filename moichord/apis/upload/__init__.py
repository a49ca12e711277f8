"""Bringing one image to the image server, by one of several protocols.

Owns what all protocols share: what is asked of one, and what comes back; acceptance.py judges the answer for those
with one answer per image. One file for each protocol: raw.py. It must not know samples, tags or what is acknowledged
where. Errors that leave it: those of `http.Client`, and `ApiRefusal`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from moichord.apis.bodies import Body, Progress


@dataclass(frozen=True, slots=True)
class Stored:
    """The image is on the server. `reply` is JSON, text cut short, or None; `already_stored` if it was there before."""

    status: int
    reply: Any
    already_stored: bool = False


class Uploader(Protocol):
    """Sends one image and says how it went."""

    def send(
        self,
        body: Body,
        idempotency_key: str,
        *,
        maybe_stored: bool,
        accept_already_stored: bool,
        file_name: str,
        progress: Progress | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Send `body`, once. `maybe_stored` says that an earlier request may have stored it already;
        `file_name` is for protocols that carry one. Raises ApiOutage, ApiTransient, ApiRefusal or Stopped.
        """
        ...
