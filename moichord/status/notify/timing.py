"""When a message goes out: gathered first, rarer in a storm, again after one that was not taken.

Owns the rule, for one receiver. Pure; times are monotonic seconds. No error leaves it.
"""

from dataclasses import dataclass, replace

RAREST = 900.0
"""Seconds between two messages at most, however long a storm lasts (or `notify.window`, if that is longer)."""
FIRST_RETRY = 5.0
LONGEST_RETRY = 900.0
FIRST_AFTER_HANGING = 60.0
LONGEST_AFTER_HANGING = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How it went lately. `row` counts the messages that followed one another without a rest between them."""

    sent_at: float | None = None
    row: int = 0
    failures: int = 0
    not_before: float = 0.0

    def due(self, since: float, window: float) -> float:
        """When what is new `since` then goes out, unless more comes: it may only be later."""
        after = 0.0 if self.sent_at is None else self.sent_at + _rest(self.row, window)
        return max(since + window, after, self.not_before)

    def sent(self, now: float, window: float) -> "Pace":
        """A message was taken."""
        follows = self.sent_at is not None and now - self.sent_at < 2 * _rest(self.row, window)
        return Pace(now, self.row + 1 if follows else 0)

    def failed(self, now: float) -> "Pace":
        """One was not taken: it is tried again later and later."""
        return replace(self, failures=self.failures + 1, not_before=now + retry_after(self.failures))

    def hung(self, now: float) -> "Pace":
        """One does not come back, and keeps what it holds: the next ones become rarer than after a plain no."""
        rest = min(FIRST_AFTER_HANGING * 2.0 ** min(self.failures, 32), LONGEST_AFTER_HANGING)
        return replace(self, failures=self.failures + 1, not_before=now + rest)

    def back(self) -> "Pace":
        """One of those has come back after all."""
        return replace(self, failures=0, not_before=0.0)


def retry_after(failures: int) -> float:
    """Seconds until the next try, after so many failures before this one."""
    return min(FIRST_RETRY * 2.0 ** min(failures, 32), LONGEST_RETRY)


def _rest(row: int, window: float) -> float:
    return min(window * 2.0 ** min(row, 32), max(window, RAREST))
