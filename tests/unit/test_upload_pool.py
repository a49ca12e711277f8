"""The one pool of upload threads: fair, bounded, and never stuck."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from moichord.errors import ApiRefusal, ApiTransient, Stopped
from moichord.pipeline.upload_pool import BUFFER_SIZE, Bench, Job, UploadPool
from moichord.sample import Api

LONG = 30


def never(_error: BaseException) -> bool:
    return False


def always(_error: BaseException) -> bool:
    return True


def nothing(_bench: Bench) -> None:
    """A job that is done at once."""


@pytest.fixture
def pool() -> Iterator[UploadPool]:
    one = UploadPool(4)
    yield one
    one.close()


class Gate:
    """Jobs that say when they began, and end when they are let."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._allowed = 0
        self.begun: list[str] = []
        self.running = 0
        self.most = 0

    def job(self, name: str, error: BaseException | None = None, *, within_slot: bool = False) -> Job:
        def wait() -> None:
            with self._changed:
                self.begun.append(name)
                self.running += 1
                self.most = max(self.most, self.running)
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: self._allowed > 0, LONG)
                self._allowed -= 1
                self.running -= 1
                self._changed.notify_all()

        def do(bench: Bench) -> None:
            if within_slot:
                with bench.slot:
                    wait()
            else:
                wait()
            if error is not None:
                raise error

        return do

    def let(self, count: int) -> None:
        """Let `count` jobs end, and wait until they have."""
        with self._changed:
            self._allowed += count
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._allowed == 0, LONG)

    def open(self) -> None:
        """Let all that run and that will run end, whatever became of the test."""
        with self._changed:
            self._allowed = sys.maxsize
            self._changed.notify_all()

    def wait_for(self, begun: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= begun, LONG)


@contextmanager
def gated(concurrency: int, spare: int = 0) -> Iterator[tuple[UploadPool, Gate, ThreadPoolExecutor]]:
    """A pool, a gate for its jobs, and threads that call it; nothing is left behind when the test fails."""
    pool, gate, callers = UploadPool(concurrency, spare=spare), Gate(), ThreadPoolExecutor(4)
    try:
        yield pool, gate, callers
    finally:
        gate.open()
        callers.shutdown()
        pool.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do and tells nobody."""
    patience = threading.Event()
    for _ in range(LONG * 1000):
        if holds():
            return
        patience.wait(0.001)
    raise AssertionError("it never came")


def test_all_jobs_are_done_when_run_returns(pool: UploadPool) -> None:
    done: list[int] = []
    jobs: list[Job] = [lambda _bench, n=n: done.append(n) for n in range(100)]  # type: ignore[misc]
    assert pool.run(jobs, never) == []
    assert sorted(done) == list(range(100))


def test_no_jobs_are_done_at_once(pool: UploadPool) -> None:
    assert pool.run([], never) == []


def test_no_more_requests_than_may_be_repeated_go_out_before_what_came_of_them_is_written() -> None:
    with gated(concurrency=2, spare=1) as (pool, gate, callers):
        written: list[Callable[[], None]] = []

        def send(bench: Bench) -> None:
            with bench.slot:
                gate.begun.append(1)
            written.append(bench.slot.hand_over())

        running = callers.submit(pool.run, [send] * 5, never)
        for count in (3, 4, 5):
            until(lambda count=count: len(written) == count)  # type: ignore[misc]
            assert len(gate.begun) == count, "one more only for one that is written"
            written[count - 3]()
        assert running.result(LONG) == []


def test_a_request_that_failed_counts_until_its_job_is_over() -> None:
    with gated(concurrency=1) as (pool, _gate, callers):

        def fail(bench: Bench) -> None:
            with bench.slot:
                raise ApiTransient("it failed", api=Api.UPLOAD)

        assert len(callers.submit(pool.run, [fail] * 5, never).result(LONG)) == 5


def test_jobs_that_end_at_once_never_block_the_pool(pool: UploadPool) -> None:
    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(lambda _: pool.run([nothing] * 50, never), range(40)))
    assert results == [[]] * 40


def test_what_a_job_raises_is_given_back_and_the_others_go_on(pool: UploadPool) -> None:
    done: list[int] = []
    broken = ApiTransient("it failed", api=Api.UPLOAD)

    def breaks(_bench: Bench) -> None:
        raise broken

    failures = pool.run([breaks, *([lambda _bench: done.append(1)] * 20), breaks], never)
    assert failures == [broken, broken]
    assert len(done) == 20


def test_after_an_ending_failure_nothing_of_the_lane_starts_and_what_runs_is_waited_for() -> None:
    refusal = ApiRefusal("no", api=Api.UPLOAD)
    with gated(2) as (pool, gate, callers):

        def refused(_bench: Bench) -> None:
            gate.wait_for(1)
            raise refusal

        turn = callers.submit(pool.run, [gate.job("runs"), refused, *[gate.job("never")] * 50], always)
        gate.wait_for(1)
        pool.run([nothing] * 5, never)  # the refusal has been seen: another lane has had its thread
        assert not turn.done()
        gate.let(1)
        assert turn.result(LONG) == [refusal]
        assert gate.begun == ["runs"]


def test_a_failure_that_does_not_end_the_turn_lets_the_others_go_out(pool: UploadPool) -> None:
    done: list[int] = []

    def transient(_bench: Bench) -> None:
        raise ApiTransient("it failed", api=Api.UPLOAD)

    failures = pool.run([transient] * 3 + [lambda _bench: done.append(1)] * 3, lambda e: isinstance(e, ApiRefusal))
    assert (len(failures), len(done)) == (3, 3)


def test_one_lane_that_ends_leaves_the_others_alone(pool: UploadPool) -> None:
    done: list[int] = []

    def refused(_bench: Bench) -> None:
        raise ApiRefusal("no", api=Api.UPLOAD)

    with ThreadPoolExecutor(2) as callers:
        bad = callers.submit(pool.run, [refused] * 50, always)
        good = callers.submit(pool.run, [lambda _bench: done.append(1)] * 50, always)
        assert good.result(LONG) == []
        assert 1 <= len(bad.result(LONG)) <= 6
    assert len(done) == 50


def test_a_sample_of_200_images_does_not_hold_back_one_of_a_single_image() -> None:
    with gated(4) as (pool, gate, callers):
        many = callers.submit(pool.run, [gate.job("many")] * 200, never)
        gate.wait_for(4)
        one = callers.submit(pool.run, [gate.job("one")], never)
        until(lambda: len(pool._lanes) == 2)
        gate.let(2)
        gate.wait_for(6)
        assert "one" in gate.begun[:6]
        gate.let(199)
        assert one.result(LONG) == many.result(LONG) == []


def test_lanes_take_turns_one_image_each() -> None:
    with gated(1) as (pool, gate, callers):
        callers.submit(pool.run, [gate.job("first")], never)
        gate.wait_for(1)
        turns = []
        for number, name in enumerate("ab"):
            turns.append(callers.submit(pool.run, [gate.job(name)] * 3, never))
            until(lambda lanes=number + 1: len(pool._lanes) == lanes)
        for _ in range(7):
            gate.let(1)
        assert [turn.result(LONG) for turn in turns] == [[], []]
        assert gate.begun == ["first", "a", "b", "a", "b", "a", "b"]


def test_two_long_samples_leave_a_slot_to_a_small_one() -> None:
    with gated(4, 2) as (pool, gate, callers):
        for name in ("long", "longer"):
            callers.submit(pool.run, [gate.job(name, within_slot=True)] * 8, never, short=0)
        gate.wait_for(3)
        small = callers.submit(pool.run, [gate.job("small", within_slot=True)], never)
        gate.wait_for(4)
        assert (gate.begun[3], gate.running) == ("small", 4)
        gate.open()
        assert small.result(LONG) == []


def test_the_long_images_of_a_sample_that_has_short_ones_too_leave_a_slot() -> None:
    with gated(4, 2) as (pool, gate, callers):
        turn = callers.submit(pool.run, [*[nothing] * 9, *[gate.job("long")] * 8], never, short=9)
        gate.wait_for(3)
        gate.let(8)
        assert turn.result(LONG) == []
        assert gate.most == 3


def test_a_single_slot_serves_long_images_too() -> None:
    with gated(1) as (pool, gate, callers):
        turn = callers.submit(pool.run, [gate.job("long")] * 3, never, short=0)
        gate.let(3)
        assert turn.result(LONG) == []


@pytest.mark.parametrize(("concurrency", "spare"), [(1, 0), (1, 2), (4, 2), (4, 8)])
def test_there_are_at_most_two_threads_more_than_requests(concurrency: int, spare: int) -> None:
    threads = concurrency + min(2, spare)
    with gated(concurrency, spare) as (pool, gate, callers):
        turn = callers.submit(pool.run, [gate.job("x")] * 20, never)
        gate.wait_for(threads)
        gate.let(20)
        assert turn.result(LONG) == []
        assert gate.most == threads


def test_no_more_requests_are_in_flight_than_there_are_slots() -> None:
    with gated(3, 2) as (pool, gate, callers):
        turns = [callers.submit(pool.run, [gate.job("x", within_slot=True)] * 10, never) for _ in range(4)]
        gate.wait_for(3)
        gate.let(40)
        assert [turn.result(LONG) for turn in turns] == [[]] * 4
        assert gate.most == 3


def test_a_bench_is_one_jobs_alone_and_its_buffer_is_used_again() -> None:
    pool = UploadPool(2)
    in_use: set[int] = set()
    seen: set[int] = set()
    lock = threading.Lock()

    def use(bench: Bench) -> None:
        with lock:
            assert id(bench.buffer) not in in_use
            in_use.add(id(bench.buffer))
            seen.add(id(bench.buffer))
        assert len(bench.buffer) == BUFFER_SIZE
        with lock:
            in_use.remove(id(bench.buffer))

    assert pool.run([use] * 200, never) == []
    assert len(seen) <= 4
    pool.close()


def test_closing_waits_for_what_runs_and_starts_nothing_more() -> None:
    with gated(2) as (pool, gate, callers):
        turn = callers.submit(pool.run, [gate.job("x")] * 10, never)
        gate.wait_for(2)
        closing = callers.submit(pool.close)
        until(lambda: pool._closed)
        assert not turn.done()
        gate.let(2)
        closing.result(LONG)
        (stopped,) = turn.result(LONG)
        assert isinstance(stopped, Stopped)
        assert gate.begun == ["x", "x"]
        assert not any(thread.is_alive() for thread in pool._threads)


def test_a_closed_pool_says_so_rather_than_that_all_is_done() -> None:
    pool = UploadPool(1)
    pool.close()
    pool.close()
    (stopped,) = pool.run([nothing], never)
    assert isinstance(stopped, Stopped)
