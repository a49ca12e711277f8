"""Transactions: merged commits, failures that harm nobody else, a disk that is full and mended, other processes."""

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from moichord.errors import StateUnusable, StateUnwritable, UsageRefused
from moichord.queue import migrations, schema
from moichord.queue.database import Database, after_commit
from moichord.queue.rows import IllegalTransition
from moichord.queue.units import Alike
from moichord.sample import State
from tests.unit.queue.state import Queue, files_may_not_grow, opened, taking

ROOT = Path(__file__).parents[3]
Act = Callable[[], object]


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    one = Database(folder / "state.db")
    one.open()
    yield one
    one.close()


def setting(name: str, value: object) -> Callable[[Connection], None]:
    return lambda connection: migrations.set_fact(connection, name, value)


def fact(database: Database, name: str) -> object:
    with database.read() as connection:
        return migrations.fact(connection, name)


def at_once(database: Database, acts: list[Act]) -> list[object]:
    """Do all of `acts`, each in a thread, so that their units come together; what each returned or raised."""
    gate, at_gate = threading.Event(), threading.Event()

    def wait(_connection: Connection) -> None:
        at_gate.set()
        assert gate.wait(10)

    with ThreadPoolExecutor(len(acts) + 1) as threads:
        threads.submit(database.write, wait)
        assert at_gate.wait(10)
        futures = [threads.submit(act) for act in acts]
        while database._units.qsize() < len(acts):
            gate.wait(0.001)
        gate.set()
    return [future.exception() or future.result() for future in futures]


@contextmanager
def counted_commits(database: Database) -> Iterator[list[Connection]]:
    commits: list[Connection] = []
    event.listen(database._engine, "commit", commits.append)
    yield commits


# Merged commits


def test_a_write_returns_what_its_unit_returns(database: Database) -> None:
    assert database.write(lambda _connection: 42) == 42


def test_what_gathers_while_a_commit_runs_is_one_commit(database: Database) -> None:
    with counted_commits(database) as commits:
        results = at_once(database, [lambda n=n: database.write(lambda _connection: n) for n in range(50)])
    assert results == list(range(50))
    assert len(commits) == 2


def test_one_unit_that_fails_harms_none_of_those_committed_with_it(database: Database) -> None:
    def refused(_connection: Connection) -> None:
        raise IllegalTransition("not in that state")

    def nonsense(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    good = [lambda n=n: database.write(setting(f"fact {n}", n)) for n in range(8)]
    results = at_once(
        database, [*good[:4], lambda: database.write(refused), *good[4:], lambda: database.write(nonsense)]
    )
    assert [type(result).__name__ for result in results] == [
        *(["NoneType"] * 4),
        "IllegalTransition",
        *(["NoneType"] * 4),
        "StateUnwritable",
    ]
    assert [fact(database, f"fact {number}") for number in range(8)] == list(range(8))


def test_units_that_are_alike_are_carried_out_together(database: Database) -> None:
    given: list[list[int]] = []

    def act(_connection: Connection, rows: list[int]) -> None:
        given.append(sorted(rows))

    others = [lambda: database.write(lambda _connection: "another")]
    results = at_once(database, [*(lambda n=n: database.write(Alike(act, [n])) for n in range(20)), *others])
    assert given == [list(range(20))]
    assert results == [*[None] * 20, "another"]


def test_of_units_that_are_alike_only_the_one_that_fails_does(database: Database) -> None:
    def act(connection: Connection, rows: list[int]) -> None:
        for row in rows:
            if row == 3:
                raise IllegalTransition("not 3")
            migrations.set_fact(connection, f"fact {row}", row)

    results = at_once(database, [lambda n=n: database.write(Alike(act, [n])) for n in range(6)])
    assert [type(result).__name__ for result in results] == [*["NoneType"] * 3, "IllegalTransition", *["NoneType"] * 2]
    assert [fact(database, f"fact {row}") for row in range(6)] == [0, 1, 2, None, 4, 5]


def test_nothing_of_a_unit_that_fails_is_kept(database: Database) -> None:
    def half(connection: Connection) -> None:
        migrations.set_fact(connection, "half", 1)
        raise IllegalTransition("and no further")

    with pytest.raises(IllegalTransition):
        database.write(half)
    assert fact(database, "half") is None
    database.write(setting("whole", 1))
    assert fact(database, "whole") == 1


def test_a_mistake_of_a_statement_is_not_blamed_on_the_disk(database: Database) -> None:
    def twice(connection: Connection) -> None:
        connection.execute(schema.attempts.insert(), [{"sample_id": "S1", "last_attempt": 1}] * 2)

    with pytest.raises(Exception, match="UNIQUE") as caught:
        database.write(twice)
    assert not isinstance(caught.value, StateUnwritable)


def test_what_follows_a_commit_is_done_once_and_before_its_caller_goes_on(database: Database) -> None:
    done: list[int] = []

    def unit(number: int) -> Callable[[Connection], None]:
        return lambda connection: after_commit(connection, lambda: done.append(number))

    def refused(connection: Connection) -> None:
        after_commit(connection, lambda: done.append(-1))
        raise IllegalTransition("never")

    database.write(unit(0))
    assert done == [0]
    at_once(
        database, [lambda: database.write(unit(1)), lambda: database.write(refused), lambda: database.write(unit(2))]
    )
    assert sorted(done) == [0, 1, 2]


def test_many_threads_get_each_their_own_result(queue: Queue) -> None:
    def take(number: int) -> int:
        (submission,) = queue.drop(f"S{number}")
        return int(submission.sample_id[1:])

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(take, range(24))) == list(range(24))
    claimed = [queue.transitions.claim() for _ in range(25)]
    assert len({one.uuid for one in claimed if one is not None}) == 24
    assert claimed[-1] is None


def test_workers_that_claim_at_once_get_different_samples(queue: Queue) -> None:
    queue.drop(*(f"S{number}" for number in range(5)))
    claimed = at_once(queue.database, [queue.transitions.claim] * 8)
    assert len({one.uuid for one in claimed if one is not None}) == 5  # type: ignore[attr-defined]
    assert claimed.count(None) == 3


def test_what_goes_along_is_no_commit_of_its_own_and_comes_before_what_follows_it(database: Database) -> None:
    def twice(connection: Connection) -> None:
        value = migrations.fact(connection, "a")
        assert isinstance(value, int)
        migrations.set_fact(connection, "a", value * 2)

    with counted_commits(database) as commits:
        database.write_along(setting("a", 21))
        database.write(twice)
    assert len(commits) == 1
    assert fact(database, "a") == 42


def test_what_goes_along_is_written_at_the_latest_when_the_state_is_closed(folder: Path) -> None:
    for value in (1, 2):
        database = Database(folder / "state.db")
        database.open()
        assert fact(database, "a") == (value - 1 or None)
        database.write_along(setting("a", value))
        database.close()


def test_what_goes_along_and_fails_harms_nobody_and_is_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_connection: Connection) -> None:
        raise IllegalTransition("not in that state")

    database.write_along(setting("a", 1))
    database.write_along(refused)
    database.write(setting("b", 2))
    assert (fact(database, "a"), fact(database, "b")) == (1, 2)
    assert "not in that state" in caplog.text


def test_what_nobody_waits_for_shares_the_commit_of_what_follows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moichord.queue.database.LINGER", 10.0)
    ended = threading.Event()
    with counted_commits(database) as commits:
        database.write_soon(setting("a", 1), lambda _: ended.set())
        while not database._units.empty():  # the writer has it in hand
            ended.wait(0.001)
        database.write(setting("b", 2))
    assert len(commits) == 1
    assert ended.is_set()
    assert (fact(database, "a"), fact(database, "b")) == (1, 2)


def test_what_nobody_waits_for_is_written_also_if_nothing_follows(database: Database) -> None:
    ended = threading.Event()
    database.write_soon(setting("a", 1), lambda _: ended.set())
    assert ended.wait(10)
    assert fact(database, "a") == 1


def test_what_nobody_waits_for_ends_also_if_it_fails_or_comes_too_late(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_connection: Connection) -> None:
        raise IllegalTransition("not in that state")

    raised: list[BaseException | None] = []
    late: list[BaseException | None] = []
    database.write_soon(refused, raised.append)
    database.close()
    assert isinstance(raised[0], IllegalTransition)
    assert "not in that state" in caplog.text
    with pytest.raises(StateUnwritable, match="closed"):
        database.write_soon(setting("a", 1), late.append)
    assert isinstance(late[0], StateUnwritable)


# Readers


def test_a_reader_sees_one_moment(database: Database) -> None:
    database.write(setting("a", 1))
    with database.read() as connection:
        assert migrations.fact(connection, "a") == 1
        database.write(setting("a", 2))
        assert migrations.fact(connection, "a") == 1
    assert fact(database, "a") == 2


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StateUnwritable, match="readonly"), database.read() as connection:
        migrations.set_fact(connection, "a", 1)


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    seen: list[object] = []

    def unit(connection: Connection) -> None:
        migrations.set_fact(connection, "a", 1)
        seen.append(fact(database, "a"))

    database.write(unit)
    assert seen == [None]


# A disk that is full, and mended


def test_a_commit_that_fails_is_told_to_its_caller_and_all_goes_on_once_it_is_mended(queue: Queue) -> None:
    queue.drop("S1")
    submission = queue.claim()
    with files_may_not_grow():
        for _ in range(2):
            with pytest.raises(StateUnwritable, match="could not be written") as caught:
                queue.transitions.hold(submission, "the disk is full", "disk", 30)
        assert caught.value.remedy is not None
        assert queue.now(submission) == submission
    queue.transitions.hold(submission, "the disk is full", "disk", 30)
    assert queue.now(submission).state is State.WAITING
    assert queue.told(submission)[2:] == ["the disk is full"]


def test_on_a_full_disk_every_caller_of_a_merged_commit_is_told(database: Database) -> None:
    database.write(setting("before", 1))
    with files_may_not_grow():
        results = at_once(database, [lambda n=n: database.write(setting(f"fact {n}", n)) for n in range(5)])
    assert [type(result) for result in results] == [StateUnwritable] * 5
    assert [fact(database, f"fact {number}") for number in range(5)] == [None] * 5


def test_on_a_full_disk_others_still_read_the_state(database: Database) -> None:
    database.write(setting("a", 1))
    with files_may_not_grow():
        with pytest.raises(StateUnwritable):
            database.write(setting("a", 2))
        command = Database(database.path)
        command.attach()
        assert fact(command, "a") == fact(database, "a") == 1
        command.close()
    database.write(setting("a", 3))
    assert fact(database, "a") == 3


def test_a_state_that_is_replaced_by_rubbish_is_told_by_readers_and_writers(database: Database) -> None:
    database.close()
    database.path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(StateUnusable, match="file is not a database") as caught:
        Database(database.path).open()
    assert caught.value.exit_code == 78


# Opening and closing


def test_a_state_keeps_its_uuid(folder: Path) -> None:
    uuids = []
    for _ in range(2):
        with opened(folder / "state.db") as queue:
            uuids.append(queue.state_uuid)
    assert uuids[0] == uuids[1]
    with opened(folder / "other.db") as queue:
        assert queue.state_uuid != uuids[0]


@pytest.mark.parametrize("name", ["state?mode=ro.db", "100 %25.db", "ä#b.db"])
def test_a_state_may_have_any_file_name(folder: Path, name: str) -> None:
    with opened(folder / name) as queue:
        queue.drop("S1")
    assert (folder / name).stat().st_size > 0


def test_a_state_in_a_folder_that_is_missing_cannot_be_opened(folder: Path) -> None:
    with pytest.raises(StateUnusable, match="unable to open database file") as caught:
        Database(folder / "missing" / "state.db").open()
    assert caught.value.remedy is not None


def test_a_full_disk_at_the_start_is_no_fault_of_the_settings(folder: Path) -> None:
    database = Database(folder / "state.db")
    with files_may_not_grow(), pytest.raises(StateUnwritable) as caught:
        database.open()
    assert caught.value.exit_code == 75
    database.open()
    database.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, StateUnwritable),
        (errno.EROFS, StateUnwritable),
        (errno.EIO, StateUnwritable),
        (errno.EACCES, StateUnusable),
        (errno.EPERM, StateUnusable),
    ],
)
def test_why_the_file_of_the_state_cannot_be_made_decides_whether_to_try_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("moichord.queue.database.os.open", refuse)
    with pytest.raises(error):
        Database(folder / "missing" / "state.db").open()


def test_a_state_that_another_process_keeps_locked_may_open_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moichord.queue.connections.BUSY_SECONDS", 0)
    other = sqlite3.connect(folder / "state.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateUnwritable, match="database is locked"):
        Database(folder / "state.db").open()
    other.close()


def test_a_closed_state_takes_nothing_more(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(StateUnwritable, match="closed"):
        database.write(setting("late", 1))


def test_what_was_asked_before_the_close_is_committed(folder: Path) -> None:
    database = Database(folder / "state.db")
    database.open()
    asked: list[Act] = [lambda n=n: database.write(setting(f"fact {n}", n)) for n in range(10)]
    results = at_once(database, [*asked, database.close])
    again = Database(folder / "state.db")
    again.open()
    for number, result in enumerate(results[:-1]):
        assert (result is None) == (fact(again, f"fact {number}") == number)
    again.close()


def test_every_commit_is_on_disk_before_it_is_told(database: Database) -> None:
    def pragmas(connection: Connection) -> tuple[str, int, int]:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        return journal, synchronous, connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()

    assert database.write(pragmas) == ("wal", 2, 1)


# Another process


COMMAND = """
import sys
from pathlib import Path
from moichord.clock import SystemClock
from moichord.queue.database import Database
from moichord.queue.requests import Requests
database = Database(Path(sys.argv[1]))
database.attach(writing=True)
requests = Requests(database, SystemClock())
for _ in range(20):
    requests.pause()
    requests.resume()
database.close()
"""


def test_a_command_writes_while_the_daemon_does(queue: Queue) -> None:
    command = subprocess.Popen([sys.executable, "-c", COMMAND, str(queue.path)], cwd=ROOT)
    taken = 0
    while command.poll() is None or taken < 5:
        queue.arrivals.withdraw(*queue.arrivals.intend([taking("S1")]), "not yet")
        taken += 1
    assert command.returncode == 0
    assert len(queue.views.history("S1", None)) == taken
    assert not queue.requests.is_paused()


def test_a_command_needs_a_state_that_the_daemon_has_made(folder: Path) -> None:
    with pytest.raises(UsageRefused, match="There is no state"):
        Database(folder / "state.db").attach()
    assert list(folder.iterdir()) == []


def test_the_file_is_plain_sqlite_that_any_tool_reads(queue: Queue) -> None:
    queue.drop("S1")
    with sqlite3.connect(f"file:{queue.path}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT sample_id, state FROM submissions").fetchall() == [("S1", "ready")]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
