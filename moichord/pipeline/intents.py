"""The intent of each upload request, committed before its first byte; of short ones a few ahead, in one commit.

Owns which intents are committed and whose request has not begun. It must not know requests. Errors: what the journal
raises.

A request that was intended and did not go out is taken back. Should moichord break off before that is written, the
server is thought to have had it: that costs a question at most, where `already_stored` is to be told from ours.
"""

import threading
from collections.abc import Sequence

from moichord.pipeline.journal import Journal
from moichord.sample import Image

AHEAD = 4
"""So many short requests share one commit of their intents. More would save little, and after a crash more images would
be thought to have been sent that were not. How many answers are on no disk yet is not decided here: the permits of
`upload_pool` bound them."""


class Intents:
    """Those of the parcels of one sample, in their order, of which the first `short` are short."""

    def __init__(self, journal: Journal, parcels: Sequence[Sequence[Image]], short: int) -> None:
        self._journal = journal
        self._parcels = parcels
        self._short = short
        self._committed: set[int] = set()  # of those that have not begun
        self._begun: set[int] = set()
        self._lock = threading.Lock()

    def require(self, number: int) -> None:
        """Return once the intent to send this parcel is committed; its request begins now."""
        with self._lock:
            if number not in self._committed:
                following = range(number, max(number + 1, min(number + AHEAD, self._short)))
                together = [one for one in following if one not in self._begun | self._committed]
                self._journal.sending(*(image for one in together for image in self._parcels[one]))
                self._committed.update(together)
            self._committed.remove(number)
            self._begun.add(number)

    def take_back(self) -> None:
        """Of the parcels whose request never began: nothing of them has gone out."""
        left = [image for number in sorted(self._committed) for image in self._parcels[number]]
        self._committed.clear()
        if left:
            self._journal.not_sent(*left)
