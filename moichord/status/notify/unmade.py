"""Reports that could not be made, for a reason that nobody foresaw: kept across restarts, and tried again.

Owns which those are, by their rows of history: a mark `report:ROW` in the state for each. It must not know what is in a
report, nor why it cannot be made. Errors: StateUnwritable.
"""

from dataclasses import dataclass

from moichord.clock import Clock
from moichord.queue.announcements import Announcements
from moichord.status.notify.timing import retry_after

KIND = "report:"


@dataclass(frozen=True, slots=True)
class _Tries:
    """How often it was tried since this start, and when it is again (monotonic seconds)."""

    number: int
    next: float


class Unmade:
    """Those of one daemon, known and tried by one thread."""

    def __init__(self, announcements: Announcements, clock: Clock) -> None:
        self._announcements = announcements
        self._clock = clock
        self._known: dict[int, _Tries] = {}
        self._saved: set[int] | None = None

    @property
    def notices(self) -> list[str]:
        """What people should know."""
        match len(self._known):
            case 0:
                return []
            case 1:
                return ["1 report of a failed sample cannot be made (see the log); it is tried again"]
            case many:
                return [f"{many} reports of failed samples cannot be made (see the log); they are tried again"]

    def due(self) -> list[tuple[int, str, float]]:
        """Those to be tried now, as `Announcements.failures` has them; whose sample is forgotten is no more."""
        now, found = self._clock.monotonic(), []
        for number in [number for number, tries in self._known.items() if tries.next <= now]:
            row = next(iter(self._announcements.failures(number - 1, 1)), None)
            if row is not None and row[0] == number:
                found.append(row)
            else:
                self.made(number)
        return found

    def keep(self, number: int) -> bool:
        """It could not be made, now or again; whether that is news."""
        before = self._known.get(number)
        tries = 0 if before is None else before.number
        self._known[number] = _Tries(tries + 1, self._clock.monotonic() + retry_after(tries))
        self.save()
        return before is None

    def made(self, number: int) -> None:
        """It was made and taken, or is not wanted any more."""
        if self._known.pop(number, None) is not None:
            self.save()

    def forget(self) -> None:
        """Nobody wants any of them; whoever says so has removed the marks."""
        self._known, self._saved = {}, set()

    def save(self) -> None:
        """Bring the state's knowledge up to date, and at first one's own."""
        if self._saved is None:
            marks = self._announcements.marks()
            self._saved = {number for name, number in marks.items() if name.startswith(KIND)}
            self._known = dict.fromkeys(self._saved, _Tries(0, self._clock.monotonic())) | self._known
        for number in self._known.keys() - self._saved:
            self._announcements.mark(f"{KIND}{number}", number)
            self._saved.add(number)
        if self._saved - self._known.keys():
            self._announcements.forget_others(KIND, {f"{KIND}{number}" for number in self._known})
            self._saved = set(self._known)
