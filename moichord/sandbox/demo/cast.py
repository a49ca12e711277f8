"""Who appears in the demonstration, and what goes wrong on purpose.

Owns the story: which samples are dropped, in which order, and how each is to end. It must not know how they travel.
No error leaves it.
"""

import threading
from dataclasses import dataclass
from enum import Enum, auto

from moichord.sample import Api
from moichord.sandbox.catalogue import CATALOGUE, Animal
from moichord.sandbox.received import Received

IMAGES = 3
BUSY_TIMES = 2
BUSY_SECONDS = 2


class Part(Enum):
    """What a sample is to show."""

    SMOOTH = auto()
    RETRIED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Role:
    """One sample of the demonstration; `animal` is whose blood is drawn."""

    sample_id: str
    animal: Animal
    part: Part = Part.SMOOTH


CAST = (
    Role("MO-1001", CATALOGUE["MO-1001"]),
    Role("MO-1004", CATALOGUE["MO-1004"], Part.RETRIED),
    # MO-1002 with two digits swapped, as it happens when a person types: no such sample is registered.
    Role("MO-1020", CATALOGUE["MO-1002"], Part.UNKNOWN),
    Role("MO-1003", CATALOGUE["MO-1003"]),
    Role("MO-1005", CATALOGUE["MO-1005"]),
    Role("MO-1008", CATALOGUE["MO-1008"]),
)


class BusyServer:
    """Asked of every request whether it is to be answered 503: one image of one sample is, the first few times."""

    def __init__(self, sample_id: str, times: int = BUSY_TIMES) -> None:
        self._sample_id = sample_id
        self._left = times
        self._image: str | None = None
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> bool:
        if received.api is not Api.UPLOAD or not received.is_about(self._sample_id):
            return False
        with self._lock:
            self._image = self._image or received.sop_instance_uid
            if received.sop_instance_uid != self._image or not self._left:
                return False
            self._left -= 1
            return True
