"""How often somebody may try a password.

Owns the counting of what failed, by browser's address and by name. It must not know passwords or HTTP. Pure but for
what it remembers; no error leaves it.

FREE failures cost nothing; after that each doubles the wait. A name is made to wait for a short time only, so that
nobody can keep its owner out.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

FREE = 5
FIRST_WAIT = 2.0
LONGEST_WAIT_OF_AN_ADDRESS = 900.0
LONGEST_WAIT_OF_A_NAME = 30.0
FORGOTTEN_AFTER = 3600.0
MOST = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float
    until: float


class Attempts:
    """What failed lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def wait(self, address: str, name: str, now: float) -> float:
        """Seconds until the next try is heard; 0: it is heard now."""
        with self._lock:
            known = [self._failures.get(key) for key in _keys(address, name)]
        return max([0.0, *(one.until - now for one in known if one is not None)])

    def failed(self, address: str, name: str, now: float) -> None:
        """A try failed."""
        with self._lock:
            for key, longest in zip(
                _keys(address, name), (LONGEST_WAIT_OF_AN_ADDRESS, LONGEST_WAIT_OF_A_NAME), strict=True
            ):
                self._count(key, longest, now)
            while len(self._failures) > MOST:
                self._failures.popitem(last=False)

    def succeeded(self, address: str, name: str) -> None:
        with self._lock:
            for key in _keys(address, name):
                self._failures.pop(key, None)

    def _count(self, key: tuple[str, str], longest: float, now: float) -> None:
        known = self._failures.pop(key, None)
        count = 1 if known is None or now - known.last > FORGOTTEN_AFTER else known.count + 1
        beyond = min(count - FREE, 32)
        wait = min(FIRST_WAIT * 2.0 ** (beyond - 1), longest) if beyond > 0 else 0.0
        self._failures[key] = _Failures(count, now, now + wait)


def _keys(address: str, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("address", address), ("name", name)
