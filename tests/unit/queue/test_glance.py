"""Everything in one piece: what is counted agrees with what is read, and a command needs no library for it."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from moichord.queue import aside, glance, migrations
from moichord.queue.schema import SCHEMA_VERSION
from moichord.sample import Acknowledgement, Api, State, Step
from tests.fakes import FakeClock
from tests.unit.queue.state import Queue, arrival, image, outage


@pytest.fixture
def well_filled(queue: Queue, clock: FakeClock) -> Queue:
    for name in ("S1", "S2", "S3", "S4", "S5", "S6"):
        queue.drop(name)
        clock.advance(1)
    queue.fail(queue.claim())
    queue.finish(queue.claim())
    queue.turn(queue.claim(), Step.UPLOAD, outage())
    journal = queue.reach(queue.claim(), Step.TAGS)
    journal.advance(Step.TAGS, {}, Step.UPLOAD, [image("a"), image("b", tail_length=1800), image("c", carried=True)])
    journal.acknowledged(Acknowledgement(journal.images()[1], 200, None, already_stored=False, tail_digest=None))
    queue.arrivals.record([arrival("S9"), arrival("S8")], gone=())
    queue.requests.pause()
    return queue


def test_the_statements_are_written_for_the_schema_that_is_there() -> None:
    assert glance.VERSION == SCHEMA_VERSION, "look through the statements of `glance`, then raise its VERSION"


def test_no_more_is_read_than_asked_for_and_all_of_it_is_counted(well_filled: Queue) -> None:
    some, everything = well_filled.views.overview(most=1), well_filled.views.overview()
    assert [one.sample_id for one in some.unfinished] == ["S3"]
    assert [one.sample_id for one in everything.unfinished] == ["S3", "S4", "S5", "S6"]
    assert [one.sample_id for one in some.processing] == ["S4"]
    assert some.number_unfinished == everything.number_unfinished == 4
    assert some.groups == everything.groups
    assert {(one.state, one.held_by): one.number for one in some.groups} == {
        (State.WAITING, "api:upload"): 1,
        (State.PROCESSING, None): 1,
        (State.READY, None): 2,
    }
    assert min(one.oldest for one in some.groups) == everything.unfinished[0].taken_at
    assert max(one.newest for one in some.groups) == everything.unfinished[-1].taken_at
    assert some.progress.keys() == {some.unfinished[0].uuid, some.processing[0].uuid} & everything.progress.keys()


def test_the_bytes_that_are_left_are_those_of_the_plan_or_those_received(well_filled: Queue) -> None:
    overview = well_filled.views.overview(most=0)
    rows = well_filled.views.overview()
    planned = sum(one.size - one.size_acknowledged for one in rows.progress.values())
    received = sum(one.size for one in rows.unfinished if one.uuid not in rows.progress)
    assert overview.bytes_left == planned + received
    assert planned > 0


def test_the_progress_of_more_than_one_statement_takes_is_whole(
    well_filled: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = well_filled.views.overview().progress
    monkeypatch.setattr(glance, "AT_ONCE", 1)
    assert well_filled.views.overview().progress == whole
    assert len(whole) > 1


def test_a_command_reads_the_same_without_a_library(well_filled: Queue) -> None:
    with aside.opened(well_filled.path) as beside:
        seen = beside.glance(since=0.0, recent=10, most=10)
    assert seen == well_filled.views.glance(since=0.0, recent=10, most=10)
    assert seen.overview.paused_at is not None
    assert [circuit.api for circuit in seen.overview.circuits] == list(Api)


def test_a_command_writes_nothing(queue: Queue) -> None:
    with (
        aside.opened(queue.path) as beside,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        beside._connection.execute("DELETE FROM facts")


def test_a_state_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(aside.OtherWay), aside.opened(tmp_path / "none.db") as beside:
        beside.glance(since=0.0, recent=1, most=1)
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_another_version_or_of_something_else_is_not_read_so(queue: Queue, tmp_path: Path) -> None:
    def newer(connection: Connection) -> None:
        migrations.set_fact(connection, "schema_version", SCHEMA_VERSION + 1)

    queue.database.write(newer)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE things (name)")
    for state in (queue.path, tmp_path / "other.db"):
        with aside.opened(state) as beside, pytest.raises(aside.OtherWay):
            beside.glance(since=0.0, recent=1, most=1)
