"""How fast samples go out, when all will be sent, and when a disk will be full.

Owns these estimates. Pure; it must not know where the numbers come from. No error leaves it.
"""

from collections.abc import Iterable, Sequence

from moichord.queue.glance import Upload

WINDOW = 3600.0
SHORTEST = 5.0
DAY = 86400.0
FEWEST_LOOKS = 6
FEWEST_HOURS = 6.0
SOON = 14 * DAY
"""A disk that will be full sooner than this is worth saying."""


def rate(uploads: Iterable[Upload], now: float, window: float = WINDOW) -> float | None:
    """Bytes in a second of all uploads together, while any took place within the last `window` seconds.

    None where too little was sent to tell. What a long upload sent is taken to be spread evenly over its time.
    """
    spans, sent = [], 0.0
    for one in uploads:
        began, ended = one.began, now if one.ended is None else one.ended
        seen = min(ended, now) - max(began, now - window)
        if seen <= 0 or ended <= began:
            continue
        spans.append((max(began, now - window), min(ended, now)))
        sent += one.size * seen / (ended - began)
    busy = _covered(spans)
    return sent / busy if busy >= SHORTEST and sent > 0 else None


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in any of the spans."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def full_in(free: Sequence[tuple[float, float]]) -> float | None:
    """Seconds until nothing is free, from looks at a disk (time, free bytes); None if it does not fill, or who knows.

    A straight line through all looks (least squares), from what was free at the last one.
    """
    if len(free) < FEWEST_LOOKS or free[-1][0] - free[0][0] < FEWEST_HOURS * 3600:
        return None
    middle = sum(at for at, _ in free) / len(free)
    mean = sum(left for _, left in free) / len(free)
    spread = sum((at - middle) ** 2 for at, _ in free)
    slope = sum((at - middle) * (left - mean) for at, left in free) / spread
    return free[-1][1] / -slope if slope < 0 else None
