"""Upgrades: from every version that was ever written down, refused backward, and harmless wherever they break off."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from moichord import __version__
from moichord.errors import StateOutdated, StateUnusable, StateUnwritable
from moichord.queue import files, migrations, schema
from moichord.queue.database import Database
from moichord.queue.requests import Requests
from moichord.sample import State
from tests.builders import write_image
from tests.fakes import FakeClock
from tests.house import House
from tests.unit.queue.state import files_may_not_grow, opened
from tests.unit.queue.versions import content, restore, shape, written_down

ROOT = Path(__file__).parents[3]
NEXT = schema.SCHEMA_VERSION + 1
NOW = 1_700_000_000.0  # FakeClock's, 2023-11-14 22:13:20 UTC
STAMP = "20231114T221320Z"
NEWS_OF_ITSELF = {"schema_version", "written_by"}

REBUILT = (
    "ALTER TABLE history ADD COLUMN told TEXT DEFAULT 'no' NOT NULL",
    "UPDATE history SET told = 'yes'",
    "CREATE TABLE anew AS SELECT * FROM submissions",
    "DROP TABLE submissions",
    "CREATE TABLE submissions (uuid VARCHAR NOT NULL PRIMARY KEY, sample_id VARCHAR NOT NULL)",
    "INSERT INTO submissions SELECT uuid, sample_id FROM anew",
    "DROP TABLE anew",
    "CREATE INDEX history_told ON history (told)",
)
"""A step as rough as one can be: a table on which others depend is made anew."""


def rebuild(connection: Connection) -> None:
    for statement in REBUILT:
        connection.exec_driver_sql(statement)


@pytest.fixture
def path(folder: Path) -> Path:
    """A state of the present version, with something of everything."""
    restore(schema.SCHEMA_VERSION, folder / "state.db")
    return folder / "state.db"


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """moichord is newer by one version than the states that were written down."""
    monkeypatch.setattr(schema, "SCHEMA_VERSION", NEXT)
    monkeypatch.setattr(migrations, "STEPS", {NEXT - 1: rebuild})
    return monkeypatch


def start(path: Path) -> None:
    """What a daemon does first, and last."""
    database = Database(path, FakeClock())
    try:
        database.open()
    finally:
        database.close()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT value FROM facts WHERE name = 'schema_version'").fetchone()[0])


def without_mark(copy: Path) -> dict[str, list[dict[str, object]]]:
    """What is in a copy, but for the fact that it is one, which must be there."""
    found = content(copy)
    facts = [row for row in found["facts"] if row["name"] != migrations.COPIED_AT]
    assert len(facts) == len(found["facts"]) - 1
    return {**found, "facts": facts}


def copies(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.glob("*.bak*"))


# Every version


def test_every_version_but_the_newest_has_its_step_and_each_is_written_down() -> None:
    assert list(migrations.STEPS) == list(range(1, schema.SCHEMA_VERSION))
    assert list(written_down()) == list(range(1, NEXT)), "python -m tests.unit.queue.versions writes it down"


def test_the_schema_is_changed_only_with_its_version(folder: Path) -> None:
    restore(schema.SCHEMA_VERSION, folder / "written-down.db")
    start(folder / "new.db")
    assert shape(folder / "new.db") == shape(folder / "written-down.db"), "how to: the docstring of queue/migrations.py"


@pytest.mark.parametrize("old", written_down())
def test_a_state_of_any_version_gets_the_shape_of_a_new_one_and_keeps_its_rows(folder: Path, old: int) -> None:
    path = folder / "state.db"
    restore(old, path)
    before = content(path)
    start(path)
    start(folder / "new.db")
    assert shape(path) == shape(folder / "new.db")
    after = content(path)
    for table, rows in before.items():
        common = set(rows[0]) & set(after[table][0])
        kept = [{name: row[name] for name in common} for row in after[table] if row.get("name") not in NEWS_OF_ITSELF]
        assert kept == [
            {name: row[name] for name in common} for row in rows if row.get("name") not in NEWS_OF_ITSELF
        ], table


@pytest.mark.parametrize("old", written_down())
def test_the_daemon_goes_on_with_a_state_of_any_version(folder: Path, old: int) -> None:
    house = House(folder)
    restore(old, house.settings.state)
    house.open()
    house.rooms.spool.prepare()
    for name in ("ready", "own-retry", "being-taken", "being-filed"):
        work = house.settings.folders.work / house.newest(name).uuid
        place = house.settings.folders.inbox if name == "being-taken" else work
        (place / name).mkdir(parents=True)
        write_image(place / name / "0.dcm")
    house.close()
    house.start()
    try:
        Requests(house.database, house.clock).resume()
        house.rooms.attendant.look()
        house.run(60)
        assert house.state("ready") is State.CANCELLED, "that was asked for, and not carried out yet"
        assert [house.state(name) for name in ("own-retry", "being-taken")] == [State.DONE, State.DONE]
        assert house.state("being-filed") is State.FAILED
        assert house.drop("done")[0].attempt_number == 2
    finally:
        house.close()


def test_a_table_that_is_made_anew_takes_no_rows_of_others_along(path: Path, upgrade: pytest.MonkeyPatch) -> None:
    before = content(path)
    start(path)
    after = content(path)
    assert len(after["submissions"]) == len(before["submissions"])
    assert {name: after[name] for name in ("images", "steps")} == {name: before[name] for name in ("images", "steps")}


# The copy


def test_the_state_as_it_was_is_kept_and_the_log_says_where(
    path: Path, upgrade: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = content(path)
    start(path)
    copy = path.with_name(f"state.db.v{NEXT - 1}-{STAMP}.bak")
    assert (version(path), copies(path)) == (NEXT, [copy.name])
    assert migrations.COPIED_AT not in {row["name"] for row in content(path)["facts"]}, "it is no copy itself"
    assert without_mark(copy) == before
    assert f"from version {NEXT - 1} to {NEXT}; as it was before, it is kept in {copy}" in caplog.text


def test_what_was_committed_last_is_in_the_copy_though_a_crash_left_it_beside_the_database(
    path: Path, upgrade: pytest.MonkeyPatch
) -> None:
    crashed = path.with_name("crashed.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO attempts VALUES ('late', 7)")
        connection.commit()
        for ending in ("", "-wal", "-shm"):
            shutil.copyfile(f"{path}{ending}", f"{crashed}{ending}")
    start(crashed)
    copy = crashed.with_name(f"crashed.db.v{NEXT - 1}-{STAMP}.bak")
    assert {"sample_id": "late", "last_attempt": 7} in content(copy)["attempts"]


def test_the_old_moichord_goes_on_with_the_copy_put_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(path)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "SCHEMA_VERSION", NEXT)
        newer.setattr(migrations, "STEPS", {NEXT - 1: rebuild})
        start(path)
    (copy,) = copies(path)
    shutil.copyfile(path.with_name(copy), path)
    with opened(path) as queue:
        assert queue.views.newest("ready") is not None
    assert without_mark(path) == before


def test_of_the_last_three_versions_the_newest_copy_is_kept(folder: Path) -> None:
    path = folder / "state.db"
    restore(1, path)
    for known, now in [(1, NOW), (2, NOW), (2, NOW + 60), (3, NOW + 120), (2, NOW + 180), (4, NOW + 240)]:
        files.keep_copy(path, known, now)
    names = ["state.db.v2-20231114T221620Z.bak", "state.db.v3-20231114T221520Z.bak", "state.db.v4-20231114T221720Z.bak"]
    assert copies(path) == names
    assert [files.newest_copy(path, up_to) for up_to in (9, 3, 1)] == [folder / names[2], folder / names[1], None]


def test_what_lies_beside_the_state_and_is_no_copy_of_it_is_left_alone(folder: Path) -> None:
    path = folder / "state.db"
    restore(1, path)
    others = [
        "state.db.bak",
        "state.db.v1.bak",
        "other.db.v1-20231114T221320Z.bak",
        "state.db.v1-20231114T221320Z.bak.gz",
    ]
    for name in others:
        (folder / name).touch()
    for known in range(1, 6):
        files.keep_copy(path, known, NOW)
    assert set(others) < set(copies(path))


def test_a_state_that_needs_no_step_is_not_copied(path: Path) -> None:
    start(path)
    start(path)
    assert copies(path) == []


# Backward, and beside the daemon


def test_a_state_of_a_newer_moichord_is_refused_and_left_as_it_is(path: Path, upgrade: pytest.MonkeyPatch) -> None:
    upgrade.setattr(migrations, "__version__", "7.8.9")
    start(path)
    upgrade.undo()
    before = path.read_bytes()
    for use in (lambda: Database(path).open(), lambda: Database(path).attach(writing=True)):
        with pytest.raises(StateUnusable) as caught:
            use()
        assert caught.value.exit_code == 78
        assert f"schema version {NEXT} and was written by moichord 7.8.9" in caught.value.problem
        assert f"moichord {__version__} works with {NEXT - 1}" in caught.value.problem
        assert "Install moichord 7.8.9 again" in (caught.value.remedy or "")
        assert copies(path)[0] in (caught.value.remedy or "")
        assert f"{path.name}-wal" in (caught.value.remedy or "")
    assert path.read_bytes() == before


def test_a_newer_state_without_a_copy_or_an_author_is_refused_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM facts WHERE name = 'written_by'")
        connection.execute(f"UPDATE facts SET value = '{NEXT}' WHERE name = 'schema_version'")
        connection.commit()
    with pytest.raises(StateUnusable, match=f"schema version {NEXT};") as caught:
        start(path)
    assert caught.value.remedy == "Install a newer moichord again."


def test_a_command_of_a_newer_moichord_changes_nothing_and_says_who_does(
    path: Path, upgrade: pytest.MonkeyPatch
) -> None:
    for writing in (False, True):
        with pytest.raises(StateOutdated, match=f"schema version {NEXT - 1}") as caught:
            Database(path).attach(writing=writing)
        assert "Restart the daemon" in (caught.value.remedy or "")
        assert "1 MiB must be free" in (caught.value.remedy or "")
        assert caught.value.exit_code == 78
    assert version(path) == NEXT - 1


@pytest.mark.parametrize(
    "made_by",
    [
        "CREATE TABLE customers (name TEXT)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT)",
        "CREATE TABLE facts AS SELECT 'schema_version' AS name, '\"one\"' AS value",
        "CREATE TABLE facts AS SELECT 'schema_version' AS name, '0' AS value",
    ],
)
def test_a_database_of_something_else_is_refused_and_left_as_it_is(folder: Path, made_by: str) -> None:
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(made_by)
        connection.commit()
    before = content(path)
    with pytest.raises(StateUnusable, match="is not a state of moichord"):
        start(path)
    assert content(path) == before


def test_the_version_that_worked_with_it_last_is_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "__version__", "0.9.9")
    start(path)
    assert {"name": "written_by", "value": '"0.9.9"'} in content(path)["facts"]


# Broken off


@pytest.mark.parametrize("statement", ["rubbish", "DELETE FROM submissions"])
def test_a_step_that_fails_or_loses_what_rows_belong_to_leaves_the_old_version(
    path: Path, upgrade: pytest.MonkeyPatch, statement: str
) -> None:
    before = content(path)
    upgrade.setattr(migrations, "STEPS", {NEXT - 1: lambda connection: connection.exec_driver_sql(statement)})
    with pytest.raises(StateUnusable):
        start(path)
    assert content(path) == before


def test_without_room_for_the_copy_nothing_is_begun(path: Path, upgrade: pytest.MonkeyPatch) -> None:
    before = content(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT * FROM facts").fetchall()  # so that SQLite's shared memory is there already
        with files_may_not_grow(), pytest.raises(StateUnwritable, match="cannot be copied") as caught:
            start(path)
    assert caught.value.exit_code == 75
    assert "needs 1 MiB" in (caught.value.remedy or "")
    assert copies(path) == []
    assert content(path) == before
    start(path)
    assert version(path) == NEXT


def test_without_room_for_the_change_the_old_version_stays(path: Path, upgrade: pytest.MonkeyPatch) -> None:
    before = content(path)
    with ExitStack() as stack:

        def full(connection: Connection) -> None:
            stack.enter_context(files_may_not_grow())
            rebuild(connection)

        upgrade.setattr(migrations, "STEPS", {NEXT - 1: full})
        with pytest.raises(StateUnwritable):
            start(path)
    assert content(path) == before
    upgrade.setattr(migrations, "STEPS", {NEXT - 1: rebuild})
    start(path)
    assert version(path) == NEXT


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from moichord.queue import migrations, schema
from moichord.queue.database import Database
from tests.unit.queue.test_migrations import NEXT, rebuild

schema.SCHEMA_VERSION, migrations.STEPS = NEXT, {NEXT - 1: rebuild}
TOUCHES = {"open", "os.rename", "os.remove", "sqlite3.connect", "os.chmod"}
original, folder = Path(sys.argv[1]), Path(sys.argv[2])

def die_at(point):
    left = iter(range(point - 1, -1, -1))
    def count(*_):
        if next(left, 1) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    sys.addaudithook(lambda name, given: count() if name in TOUCHES and str(folder) in str(given[0]) else None)

point = 0
while True:
    point += 1
    path = folder / str(point) / "state.db"
    path.parent.mkdir()
    shutil.copyfile(original, path)
    child = os.fork()
    if child == 0:
        die_at(point)
        database = Database(path)
        database.open()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_killed_at_any_moment_it_is_of_one_version_or_the_other_and_the_next_start_goes_on(
    path: Path, folder: Path, upgrade: pytest.MonkeyPatch
) -> None:
    before, killed = content(path), folder / "killed"
    killed.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(killed)], cwd=ROOT, check=True, timeout=120)
    points = len(list(killed.iterdir()))
    assert points > len(REBUILT) + 10, "it was not killed where it should have been"
    for point in range(1, points + 1):
        one = killed / str(point) / "state.db"
        if version(one) == NEXT - 1:
            assert content(one) == before, point
        start(one)
        assert version(one) == NEXT, point
        after = content(one)
        assert after["images"] == before["images"], point
        assert len(after["submissions"]) == len(before["submissions"]), point
        assert list(one.parent.glob("*.tmp")) == [], point


# Who may read it


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


def test_a_new_state_is_for_moichord_alone_whatever_the_umask(folder: Path) -> None:
    with umask(0), opened(folder / "state.db") as queue:
        queue.drop("S1")
        assert modes(queue.path) == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_an_older_state_is_taken_from_all_but_its_owner_and_group(path: Path, upgrade: pytest.MonkeyPatch) -> None:
    path.chmod(0o644)
    with umask(0):
        start(path)
    assert modes(path) == {"state.db": 0o640, copies(path)[0]: 0o600}
