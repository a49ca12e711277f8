"""One pool of upload threads for the whole daemon, shared fairly between samples.

Owns the threads, their buffers, and whose turn it is. It must not know what a job does. What a job raises is given
back to whoever submitted it; the pool itself raises nothing.

There are up to two threads more than requests may be in flight, so that opening the next image and committing the
last answer overlap the wait for the server. A bench's `slot` bounds the sending alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

BUFFER_SIZE = 1024 * 1024


class Bench:
    """What a running job has to itself: a buffer of 1 MiB that is used again and again, and a slot to send in."""

    def __init__(self, slot: threading.BoundedSemaphore) -> None:
        self.buffer = bytearray(BUFFER_SIZE)
        self.slot = slot


Job = Callable[[Bench], None]


class Lane:
    """The jobs of one submission: those that wait, how many run, and what the failed ones raised."""

    def __init__(self, jobs: Sequence[Job], ends: Callable[[BaseException], bool]) -> None:
        self.waiting = deque(jobs)
        self.running = 0
        self.failures: list[BaseException] = []
        self.ends = ends
        self.finished = threading.Event()


class UploadPool:
    """`concurrency` requests at once, one image of each submission in turn."""

    def __init__(self, concurrency: int, spare_threads: int = 2) -> None:
        slots = threading.BoundedSemaphore(concurrency)
        threads = concurrency + min(2, spare_threads)
        self._benches = [Bench(slots) for _ in range(threads)]
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._lanes: deque[Lane] = deque()
        self._lock = threading.Lock()

    def run(self, jobs: Sequence[Job], ends: Callable[[BaseException], bool]) -> list[BaseException]:
        """Run `jobs` and wait for them; return what they raised.

        After an exception of which `ends` is true no further job of these starts; those that run are waited for.
        """
        if not jobs:
            return []
        lane = Lane(jobs, ends)
        with self._lock:
            self._lanes.append(lane)
            self._start_jobs()
        lane.finished.wait()
        return lane.failures

    def close(self) -> None:
        """Wait for the jobs that run, and end the threads."""
        self._executor.shutdown(wait=True)

    def _start_jobs(self) -> None:
        while self._benches and self._lanes:
            lane = self._lanes.popleft()
            job = lane.waiting.popleft()
            if lane.waiting:
                self._lanes.append(lane)  # behind the others: one job each, in turn
            lane.running += 1
            bench = self._benches.pop()
            future = self._executor.submit(job, bench)
            future.add_done_callback(partial(self._ended, lane, bench))

    def _ended(self, lane: Lane, bench: Bench, done: Future[None]) -> None:
        error = done.exception()
        with self._lock:
            self._benches.append(bench)
            lane.running -= 1
            if error is not None:
                lane.failures.append(error)
                if lane.ends(error) and lane.waiting:
                    lane.waiting.clear()
                    self._lanes.remove(lane)
            if not lane.running and not lane.waiting:
                lane.finished.set()
            self._start_jobs()
