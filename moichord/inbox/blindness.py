"""The times in which the inbox could not be looked at, kept across restarts.

Owns when such a time begins and ends, and for how long it is remembered. It must not know why the inbox could not be
seen. StateUnwritable leaves it; what could not be written is written by the next call.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from moichord.clock import Clock
from moichord.inbox.settling import Span
from moichord.queue.arrivals import Arrivals
from moichord.queue.timekeeping import united
from moichord.sample import Arrival


@dataclass(slots=True)
class Blindness:
    """One inbox's. A process that ends while it is blind leaves a time without an end: nobody could look since."""

    arrivals: Arrivals
    clock: Clock
    _spans: list[Span] | None = field(default=None, init=False)

    def begins(self, since: float) -> None:
        """The inbox cannot be seen, since then (epoch seconds); harmless while that is known."""
        spans = self._known()
        if not spans or spans[-1].until is not None:
            self._keep([*spans, Span(since, None)])

    def over(self, arrivals: Collection[Arrival]) -> list[Span]:
        """The inbox is seen; the times that matter to these arrivals, the newest ended."""
        spans = self._known()
        if spans and spans[-1].until is None:
            ended = [*spans[:-1], Span(spans[-1].since, self.clock.now())]
            oldest = min((arrival.last_change_at for arrival in arrivals), default=self.clock.now())
            self._keep([span for span in ended if span.until is None or span.until > oldest])
        return self._known()

    def left_out(self, arrivals: Collection[Arrival]) -> list[Span]:
        """What counts for no timeout of theirs: those times, and what the machine's clock passed over; no overlaps."""
        now = self.clock.now()
        unseen = [(span.since, now if span.until is None else span.until) for span in self.over(arrivals)]
        return [Span(*one) for one in united([*unseen, *self.arrivals.passed_over()])]

    def _known(self) -> list[Span]:
        if self._spans is None:
            self._spans = [Span(*span) for span in self.arrivals.unseen()]
        return self._spans

    def _keep(self, spans: list[Span]) -> None:
        self.arrivals.record_unseen(spans)
        self._spans = spans
