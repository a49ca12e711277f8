"""That no question of the daemon's reads the whole state: asked of SQLite's own planner."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, event

from moichord.queue.views import LastArrival
from moichord.sample import State, Step
from tests.unit.queue.state import Queue, arrival, outage

Ask = Callable[[Queue], object]

COUNT_OF_STATES = "SELECT s.state, count(*) FROM submissions s GROUP BY s.state"
"""Of an index alone, and without any row."""

WORK: dict[str, Ask] = {
    "claim": lambda queue: queue.transitions.claim(),
    "claim a probe": lambda queue: (queue.clock.advance(3600), queue.transitions.claim()),
    "next_due": lambda queue: queue.transitions.next_due(),
    "intend and take": lambda queue: queue.drop("new"),
    "busy samples": lambda queue: queue.arrivals.busy_samples(["S1", "S2"]),
    "wake": lambda queue: queue.journal(queue.views.overview().unfinished[0]).answered(outage().api),
    "conclude": lambda queue: queue.finish(queue.claim()),
    "steps and images": lambda queue: queue.reach(queue.claim(), Step.ARCHIVE),
    "recovery": lambda queue: (
        queue.arrivals.intended(),
        queue.endings.half_brought_back(),
        queue.transitions.left_processing(),
    ),
    "requests": lambda queue: queue.requests.open(),
}
PEOPLE: dict[str, Ask] = {
    "newest": lambda queue: queue.views.newest("S1"),
    "detail": lambda queue: queue.views.detail(queue.views.overview().unfinished[0].uuid),
    "a glance": lambda queue: queue.views.glance(since=0.0, recent=10, most=10),
    "in_state": lambda queue: queue.views.in_state(State.FAILED),
    "history of a sample": lambda queue: queue.views.history("S1", None),
    "last arrival": lambda queue: queue.views.last_arrival(LastArrival(None, 3)),
    "history since": lambda queue: queue.views.history(None, 1.0),
}


@pytest.fixture
def asked(queue: Queue) -> Iterator[list[tuple[str, object]]]:
    """The SELECT, UPDATE and DELETE statements that the queue sends, with their parameters."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "DELETE"}:
            statements.append((statement, parameters))

    engines: list[Engine] = [queue.database._engine, queue.database._readers]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield statements
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def scans(queue: Queue, asked: list[tuple[str, object]]) -> list[str]:
    """Those of the statements that read or sort a whole table which grows."""
    found = []
    with queue.database.read() as connection:
        for statement, parameters in list(asked):
            one = parameters[0] if isinstance(parameters, list) else parameters
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, one).all()
            steps = [row[3] for row in plan]
            grows = [step for step in steps if step.startswith("SCAN") and not small(step)]
            if grows:
                found.append(f"{grows}: {statement}")
    return found


def small(step: str) -> bool:
    return any(table in step for table in ("circuits", "facts", "arrivals", "CONSTANT ROW"))


@pytest.fixture
def well_filled(queue: Queue) -> Queue:
    queue.drop("S1", "S2", "S3", "S4")
    queue.fail(queue.claim())
    queue.turn(queue.claim(), Step.UPLOAD, outage())
    queue.arrivals.record([arrival("S9")], gone=())
    return queue


@pytest.mark.parametrize("name", WORK | PEOPLE)
def test_no_question_reads_a_whole_table(well_filled: Queue, asked: list[tuple[str, object]], name: str) -> None:
    (WORK | PEOPLE)[name](well_filled)
    of_interest = [one for one in asked if one[0] != COUNT_OF_STATES]
    asked.clear()
    assert of_interest
    assert scans(well_filled, of_interest) == []


def test_a_claim_neither_reads_nor_sorts_what_waits(well_filled: Queue, asked: list[tuple[str, object]]) -> None:
    well_filled.claim()
    (due,) = [one for one in asked if "next_try_at <=" in one[0]]
    with well_filled.database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + due[0], due[1]).all()]
    # Of what was asked for only what is still open is looked at, and beside it what is in hand: next to nothing.
    assert [step for step in plan if step.startswith("SEARCH")] == [
        "SEARCH submissions USING INDEX submissions_due (next_try_at<?)",
        "SEARCH submissions USING INDEX submissions_in_state (state=?)",
        "SEARCH requests USING INDEX requests_open (done_at=?)",
    ]
    assert not any("SCAN" in step or "B-TREE" in step for step in plan)


def test_whether_a_sample_is_busy_is_found_by_its_name_and_not_among_all_that_wait(
    well_filled: Queue, asked: list[tuple[str, object]]
) -> None:
    well_filled.arrivals.busy_samples(["S1", "S2"])
    well_filled.drop("S7")
    found = [one for one in asked if one[0].startswith("SELECT DISTINCT submissions.sample_id")]
    assert len(found) == 2
    with well_filled.database.read() as connection:
        plans = [connection.exec_driver_sql("EXPLAIN QUERY PLAN " + one[0], one[1]).all() for one in found]
    used = "SEARCH submissions USING INDEX submissions_of_sample (sample_id=?)"
    assert [[row[3] for row in plan] for plan in plans] == [[used], [used]]


def test_the_latest_that_ended_are_found_without_sorting_all_that_did(
    well_filled: Queue, asked: list[tuple[str, object]]
) -> None:
    well_filled.views.overview()
    (recent,) = [one for one in asked if "finished_at DESC" in one[0]]
    with well_filled.database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + recent[0], recent[1]).all()]
    assert plan == ["SEARCH s USING INDEX submissions_finished (finished_at>?)"]
