"""More large samples in hand than workers: none of them keeps a small one waiting."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from moichord import worker
from moichord.clock import Bell
from moichord.composition import LONG_SAMPLES_PER_WORKER
from moichord.queue.arrivals import Taking
from moichord.sample import LONG_REQUEST, Api, State, Submission
from moichord.seats import Seats
from tests.builders import write_large_image
from tests.house import Called, House, Says, house

LONG = 30
WORKERS = 2
IN_HAND = WORKERS * LONG_SAMPLES_PER_WORKER


class Gate:
    """Holds the uploads of samples whose names begin so until it is opened for them, and tells who asked for what."""

    def __init__(self, *held: str) -> None:
        self._open = {beginning: threading.Event() for beginning in held}
        self._changed = threading.Condition()
        self._seen: set[tuple[Api, str]] = set()

    def __call__(self, called: Called) -> None:
        if called.api is Api.UPLOAD and called.key is None:
            return  # the preflight
        with self._changed:
            self._seen.add((called.api, called.sample_id))
            self._changed.notify_all()
        for beginning, opened in self._open.items():
            if called.api is Api.UPLOAD and called.sample_id.startswith(beginning):
                assert opened.wait(LONG)

    def seen(self, api: Api) -> set[str]:
        with self._changed:
            return {sample_id for one, sample_id in self._seen if one is api}

    def wait_for(self, api: Api, *sample_ids: str, count: int = 0) -> None:
        """Return once these, or so many, have asked."""

        def true() -> bool:
            seen = {sample_id for one, sample_id in self._seen if one is api}
            return seen >= set(sample_ids) and len(seen) >= count

        with self._changed:
            assert self._changed.wait_for(true, LONG), f"seen: {self._seen}"

    def open(self, *held: str) -> None:
        """For all that it holds, or for these."""
        for beginning in held or self._open:
            self._open[beginning].set()


@pytest.fixture
def lab() -> Iterator[House]:
    with house({"workers": WORKERS}) as made:
        yield made


@contextmanager
def at_work(lab: House, *held: str) -> Iterator[Gate]:
    """The workers of this house, as threads, with a server that holds what is large, or what is named so."""
    gate = Gate(*(held or ["LARGE"]))
    lab.script = gate
    threads = [threading.Thread(target=worker.work, daemon=True) for worker in lab.rooms.workers]
    for thread in threads:
        thread.start()
    try:
        yield gate
    finally:
        lab.signals.stop()
        gate.open()
        for thread in threads:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in threads)


def drop_large(lab: House, *sample_ids: str) -> list[Submission]:
    """Samples of one image each, whose sending is long."""
    takings = []
    for sample_id in sample_ids:
        folder = lab.settings.folders.inbox / sample_id
        folder.mkdir()
        size = write_large_image(folder / "0.dcm", LONG_REQUEST >> 20).stat().st_size
        takings.append(Taking(sample_id, sample_id, lab.rooms.manifest_of(folder), 1, 1, size, size))
    submissions = lab.rooms.arrivals.intend(takings)
    assert set(lab.rooms.spool.take([(one.folder_name, one.uuid) for one in submissions]).values()) == {None}
    lab.rooms.arrivals.taken(submissions)
    lab.signals.bell.ring()
    return submissions


def large(count: int) -> list[str]:
    return [f"LARGE-{number:02d}" for number in range(count)]


def until_state(lab: House, sample_id: str, state: State) -> None:
    """Wait for what the workers do."""
    until(lambda: lab.state(sample_id) is state)


def until(holds: Callable[[], bool]) -> None:
    patience = threading.Event()
    for _ in range(LONG * 100):
        if holds():
            return
        patience.wait(0.01)
    raise AssertionError("it never came")


def test_a_small_sample_is_done_while_any_number_of_large_ones_is_being_sent(lab: House) -> None:
    count = IN_HAND + 2
    with at_work(lab) as gate:
        drop_large(lab, *large(count))
        gate.wait_for(Api.METADATA, count=IN_HAND)
        gate.wait_for(Api.UPLOAD, count=3)
        lab.drop("SMALL-1", "SMALL-2")
        lab.signals.bell.ring()
        until_state(lab, "SMALL-1", State.DONE)
        until_state(lab, "SMALL-2", State.DONE)
        assert len(gate.seen(Api.UPLOAD) & set(large(count))) == 3, "one slot is the others'"
        assert len(gate.seen(Api.METADATA) & set(large(count))) == IN_HAND, "the others wait"
        assert gate.seen(Api.ANALYTICS) == {"SMALL-1", "SMALL-2"}
        gate.open()
        for sample_id in large(count):
            until_state(lab, sample_id, State.DONE)


def test_a_stop_lets_go_of_all_large_samples_and_records_what_was_in_flight(lab: House) -> None:
    with at_work(lab) as gate:
        drop_large(lab, *large(IN_HAND))
        gate.wait_for(Api.METADATA, count=IN_HAND)
        gate.wait_for(Api.UPLOAD, count=3)
    assert {lab.state(sample_id) for sample_id in large(IN_HAND)} == {State.WAITING}
    sent = {
        sample_id
        for sample_id in large(IN_HAND)
        for image in lab.views.detail(lab.newest(sample_id).uuid).images
        if image.acknowledged_at is not None
    }
    assert sent == gate.seen(Api.UPLOAD)
    lab.close()
    lab.start()
    lab.run()
    assert {lab.state(sample_id) for sample_id in large(IN_HAND)} == {State.DONE}
    assert sorted(one.sample_id for one in lab.calls_to(Api.UPLOAD) if one.key) == large(IN_HAND), "each of them once"


def test_a_large_sample_that_is_cancelled_waits_for_nobodys_seat() -> None:
    with house({"workers": 1}) as lab, at_work(lab, "LARGE", "SMALL") as gate:
        (large_one,) = drop_large(lab, "LARGE")
        gate.wait_for(Api.UPLOAD, "LARGE")
        lab.drop("SMALL")
        lab.signals.bell.ring()
        gate.wait_for(Api.UPLOAD, "SMALL")
        lab.rooms.attendant._desk.requests.ask_cancel(large_one)
        lab.rooms.attendant.look()
        gate.open("LARGE")

        def is_cancelled() -> bool:
            lab.rooms.attendant.look()
            return lab.state("LARGE") is State.CANCELLED

        until(is_cancelled)
        assert lab.state("SMALL") is State.PROCESSING, "it still has the only seat"


def test_what_moichord_broke_off_at_is_in_hand_alone_though_it_leaves_its_seat(lab: House) -> None:
    lab.script = lambda called: Says(503) if called.api is Api.UPLOAD else None
    drop_large(lab, "LARGE")
    lab.run(1)
    lab.clock.advance(60)
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    lab.rooms.interruptions.interrupted(claimed, crashes=1)
    with at_work(lab) as gate:
        gate.wait_for(Api.UPLOAD, "LARGE")
        lab.drop("SMALL")
        lab.signals.bell.ring()
        assert lab.turn() is not None, "there is nothing to take"
        assert lab.state("SMALL") is State.READY
        gate.open()
        until_state(lab, "SMALL", State.DONE)


def test_more_large_samples_than_may_be_in_hand_are_not_looked_for_again_and_again(lab: House) -> None:
    drop_large(lab, *large(IN_HAND + 1))
    for _ in range(IN_HAND):
        assert lab.rooms.transitions.claim() is not None
    assert lab.rooms.transitions.claim() is None
    assert lab.rooms.transitions.next_due() is None
    lab.drop("SMALL")
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    assert claimed.sample_id == "SMALL"


# The seats themselves


def test_who_had_left_goes_on_at_once_and_nobody_begins_before_a_seat_is_free_again() -> None:
    bell, order = Bell(), []
    seats, away, may_return = Seats(1, bell), threading.Event(), threading.Event()
    in_seat, may_leave, may_end = threading.Event(), threading.Event(), threading.Event()

    def large_one() -> None:
        with seats.taken():
            with seats.left():
                away.set()
                assert may_return.wait(LONG)
            order.append("returned")
            assert may_end.wait(LONG)

    def substitute() -> None:
        with seats.taken():
            in_seat.set()
            assert may_leave.wait(LONG)
            order.append("substitute")

    def newcomer() -> None:
        with seats.taken():
            order.append("newcomer")

    with ThreadPoolExecutor(3) as threads:
        threads.submit(large_one)
        assert away.wait(LONG)
        substituted = threads.submit(substitute)
        assert in_seat.wait(LONG)
        assert not seats.wanted
        threads.submit(newcomer)
        until(lambda: len(seats._changed._waiters) == 1)  # type: ignore[attr-defined]
        may_return.set()
        until(lambda: order == ["returned"])
        assert seats.wanted
        may_leave.set()
        substituted.result(LONG)
        assert not seats.wanted
        assert order == ["returned", "substitute"], "both seats are one: the newcomer waits for the other too"
        may_end.set()
    assert order == ["returned", "substitute", "newcomer"]


def test_a_large_sample_that_is_sent_whole_waits_for_no_other(lab: House) -> None:
    answers = iter([Says(503)])
    lab.script = lambda called: next(answers, None) if called.api is Api.ANALYTICS else None
    drop_large(lab, "LARGE-SENT")
    lab.run(1)
    assert lab.state("LARGE-SENT") is State.WAITING
    drop_large(lab, *large(IN_HAND))
    for _ in range(IN_HAND):
        claimed = lab.rooms.transitions.claim()
        assert claimed is not None
        assert claimed.sample_id != "LARGE-SENT"
    lab.clock.advance(3600)
    claimed = lab.rooms.transitions.claim()
    assert claimed is not None
    assert claimed.sample_id == "LARGE-SENT"


def test_of_those_with_nothing_to_do_one_looks_for_all(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_WAIT", 3600.0)
    looks = []
    claim = lab.rooms.transitions.claim

    def look() -> Submission | None:
        looks.append(threading.get_ident())
        return claim()

    monkeypatch.setattr(lab.rooms.transitions, "claim", look)
    rings = 20
    with at_work(lab):
        for number in range(rings):
            until(lambda so_far=number: len(looks) > so_far)
            lab.signals.bell.ring()
        until(lambda: len(looks) > rings)
    assert len(looks) == rings + 1


def test_while_one_works_another_looks_for_what_comes(lab: House) -> None:
    with at_work(lab, "FIRST", "SECOND") as gate:
        for sample_id in ("FIRST", "SECOND"):
            lab.drop(sample_id)
            lab.signals.bell.ring()
            gate.wait_for(Api.UPLOAD, sample_id)
        gate.open()
        until_state(lab, "SECOND", State.DONE)
