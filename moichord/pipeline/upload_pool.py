"""One pool of upload threads for the whole daemon, shared fairly between samples.

Owns the threads, their buffers, and whose turn it is. It must not know what a job does. What a job raises is given
back to whoever asked for it; the pool itself raises nothing.

There are up to two threads more than requests may be in flight, so that opening the next image overlaps the wait for
the server. A bench's `slot` bounds the sending alone; it is not given any more to a lane that an error in it has ended,
so that nothing new goes out while that error is still being written down. How many requests a crash can repeat is
bounded too: those in flight and those whose answers are not written yet are never more than `concurrency` and `spare`
together.

Long jobs, whose requests may take minutes, never run in all slots at once: of two or more slots one is left to the
others, so that a small sample waits for no large image. For the same reason whoever waits for long jobs waits `aside`:
what that means is the caller's.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from moichord.clock import SystemClock
from moichord.errors import Stopped
from moichord.pulse import Pulse

BUFFER_SIZE = 1024 * 1024
ANSWER_SECONDS = 600.0
"""How long reading what is not a request's body usually takes at most."""


class Bench:
    """What a running job has to itself: a buffer of 1 MiB that is used again and again, and a slot to send in."""

    def __init__(self, slots: threading.BoundedSemaphore, unwritten: threading.BoundedSemaphore, pulse: Pulse) -> None:
        self.buffer = bytearray(BUFFER_SIZE)
        self.slot = Slot(slots, unwritten, pulse)


class Slot:
    """Held while a request is in flight. An error that leaves it, and that ends the lane, lets no other job in.

    What came of the request counts as unwritten until the job is over, or until what `hand_over` gave is called.
    """

    def __init__(self, slots: threading.BoundedSemaphore, unwritten: threading.BoundedSemaphore, pulse: Pulse) -> None:
        self._slots = slots
        self._unwritten = unwritten
        self._pulse = pulse
        self._counts = False
        self.lane: Lane | None = None

    def __enter__(self) -> None:
        with self._pulse.untimed():
            self._unwritten.acquire()
            self._counts = True
            self._slots.acquire()
        if self.lane is not None and self.lane.ended:
            self._slots.release()
            raise LaneEnded

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and self.lane is not None and self.lane.ends(error):
            self.lane.ended = True
        self._slots.release()

    def hand_over(self) -> Callable[[], None]:
        """To be called, by any thread, once what came of the request is written, or cannot be."""
        self._counts = False
        return self._unwritten.release

    def job_is_over(self) -> None:
        if self._counts:
            self._counts = False
            self._unwritten.release()


class LaneEnded(Exception):
    """The job comes too late to send. It concerns nobody: whoever waits for the lane gets the error that ended it."""


Job = Callable[[Bench], None]
Aside = Callable[[], AbstractContextManager[None]]


class Lane:
    """The jobs of one submission: those that wait, how many run, and what the failed ones raised.

    The first `short` of them are short, the others long.
    """

    def __init__(self, jobs: Sequence[Job], ends: Callable[[BaseException], bool], short: int) -> None:
        self.waiting = deque(jobs)
        self._long = len(jobs) - short
        self.running = 0
        self.failures: list[BaseException] = []
        self.ends = ends
        self.ended = False
        self.finished = threading.Event()

    @property
    def next_is_long(self) -> bool:
        return len(self.waiting) <= self._long

    @property
    def has_long(self) -> bool:
        return self._long > 0

    def give_up(self, why: BaseException) -> None:
        """Start none of those that wait."""
        self.waiting.clear()
        self.failures.append(why)
        self.settle()

    def settle(self) -> None:
        if not self.running and not self.waiting:
            self.finished.set()


class UploadPool:
    """`concurrency` requests at once, one image of each submission in turn."""

    def __init__(
        self, concurrency: int, spare: int = 2, pulse: Pulse | None = None, aside: Aside = nullcontext
    ) -> None:
        self._aside = aside
        self._pulse = pulse or Pulse(SystemClock())
        slots = threading.BoundedSemaphore(concurrency)
        unwritten = threading.BoundedSemaphore(concurrency + spare)
        self._lanes: deque[Lane] = deque()  # those with jobs that wait; the first is next
        self._long = 0  # how many long jobs run
        self._most_long = max(1, concurrency - 1)
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=self._work, args=(Bench(slots, unwritten, self._pulse),), name=f"upload-{number}", daemon=True
            )
            for number in range(concurrency + min(2, spare))
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self, jobs: Sequence[Job], ends: Callable[[BaseException], bool], *, short: int | None = None
    ) -> list[BaseException]:
        """Run `jobs` and wait for them; return what they raised. The first `short` are short (None: all of them).

        After an exception of which `ends` is true no further job of these starts; those that run are waited for.
        Once the pool is closed nothing starts either, and Stopped is among what is returned.
        """
        lane = Lane(jobs, ends, len(jobs) if short is None else short)
        with self._changed:
            if self._closed:
                lane.give_up(_stopped())
            elif jobs:
                self._lanes.append(lane)
                self._changed.notify_all()
            else:
                lane.settle()
        with self._pulse.untimed(), self._aside() if lane.has_long else nullcontext():
            lane.finished.wait()
        return lane.failures

    def close(self) -> None:
        """Start nothing more, wait for the jobs that run, and end the threads."""
        with self._changed:
            self._closed = True
            while self._lanes:
                self._lanes.popleft().give_up(_stopped())
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, bench: Bench) -> None:
        while (turn := self._next_job()) is not None:
            lane, job, is_long = turn
            error: BaseException | None = None
            bench.slot.lane = lane
            try:
                with self._pulse.share("the images of a sample", ANSWER_SECONDS):
                    job(bench)
            except BaseException as raised:  # noqa: BLE001 - it belongs to whoever asked for the job, not to this thread
                error = raised
            bench.slot.job_is_over()
            self._ended(lane, error, is_long=is_long)

    def _next_job(self) -> tuple[Lane, Job, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next_lane() is not None)
            lane = self._next_lane()
            if lane is None:
                return None
            self._lanes.remove(lane)
            is_long = lane.next_is_long
            job = lane.waiting.popleft()
            lane.running += 1
            self._long += is_long
            if lane.waiting:
                self._lanes.append(lane)  # behind the others: one job each, in turn
            return lane, job, is_long

    def _next_lane(self) -> Lane | None:
        may_be_long = self._long < self._most_long
        return next((lane for lane in self._lanes if may_be_long or not lane.next_is_long), None)

    def _ended(self, lane: Lane, error: BaseException | None, *, is_long: bool) -> None:
        with self._changed:
            lane.running -= 1
            if is_long:
                self._long -= 1
                self._changed.notify()  # a thread may have waited for that
            if error is not None and not isinstance(error, LaneEnded):
                lane.failures.append(error)
                if lane.waiting and lane.ends(error):
                    lane.waiting.clear()
                    self._lanes.remove(lane)
            lane.settle()


def _stopped() -> Stopped:
    return Stopped("the daemon is stopping")
