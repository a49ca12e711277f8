"""What an idle daemon does, and what a look costs, does not grow with what is there.

Counted, not timed: calls of functions at two sizes. That no statement reads whole tables is asked of the planner in
`queue/test_plans.py`.
"""

import cProfile
import pstats
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from moichord.config.example import example
from moichord.pulse import Pulse
from moichord.queue.schema import arrivals, attempts, submissions
from moichord.sample import Api, State, Submission
from moichord.status import metrics
from moichord.status.line import Teller
from moichord.status.standing import look
from tests.house import House, Says, house

FEW, MANY = 30, 300
DAY = 86_400.0

Act = Callable[[House], object]


@pytest.fixture
def lab() -> Iterator[House]:
    with house({"archive": {"retention": {"done": "30d", "failed": "30d", "history": "60d"}}}) as made:
        yield made


def held(lab: House) -> Submission:
    """One that waits for the image server, which is down."""
    lab.script = lambda called: Says(401) if called.api is Api.UPLOAD else None
    lab.drop("HELD")
    lab.turn()
    found = lab.newest("HELD")
    assert found.held_by == "api:upload"
    return found


def done(lab: House) -> Submission:
    lab.script = lambda _: None
    lab.drop("DONE")
    lab.run(0.0)
    assert lab.state("DONE") is State.DONE
    return lab.newest("DONE")


def copies(lab: House, of: Submission, number: int) -> None:
    """As many more like this one, each with a folder of its own in work if it belongs there."""
    names = [f"{of.sample_id}-{uuid.uuid4().hex[:12]}" for _ in range(number)]

    def unit(connection: Connection) -> list[dict[str, object]]:
        row = dict(connection.execute(select(submissions).where(submissions.c.uuid == of.uuid)).one()._mapping)
        made = [row | {"uuid": str(uuid.uuid4()), "sample_id": name, "folder_name": name} for name in names]
        connection.execute(submissions.insert(), made)
        connection.execute(attempts.insert(), [{"sample_id": name, "last_attempt": 1} for name in names])
        return made

    for made in lab.database.write(unit):
        if made["state"] == State.WAITING:
            (lab.settings.folders.work / str(made["uuid"]) / str(made["folder_name"])).mkdir(parents=True)


def calls(act: Act, lab: House) -> int:
    """How many functions are called, Python's and C's; what only happens once has happened before."""
    act(lab)
    profile = cProfile.Profile()
    profile.runcall(act, lab)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def times(act: Act, lab: House, *names: str) -> int:
    """How often functions of these names are called."""
    profile = cProfile.Profile()
    profile.runcall(act, lab)
    known = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    return sum(figures[1] for (_, _, name), figures in known if any(one in name for one in names))


def glance(lab: House) -> object:
    return lab.views.glance(since=0.0, recent=10, most=10)


def told(lab: House) -> object:
    return Teller(lab.views, lab.settings.folders.failed, lab.clock, Pulse(lab.clock))()


def measured(lab: House) -> object:
    standing = look(lab.views, lab.settings.folders.failed, lambda: True, lab.clock, most=10)
    return metrics.render(standing)


LOOKS: dict[str, Act] = {
    "a look at everything": glance,
    "the line for systemd": told,
    "metrics": measured,
    "the inbox": lambda lab: lab.rooms.intake.look(),
    "what people asked for": lambda lab: lab.rooms.attendant.look(),
    "disks and retention": lambda lab: (lab.clock.advance(3600.0), lab.rooms.housekeeping.look()),
    "a worker with nothing to do": lambda lab: lab.turn(),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_costs_the_same_however_much_waits_and_has_ended(lab: House, name: str) -> None:
    ended, waiting = done(lab), held(lab)
    for folder in ("A1", "A2", "A3"):
        (lab.settings.folders.inbox / folder).mkdir()
    copies(lab, waiting, FEW)
    copies(lab, ended, FEW)
    few = calls(LOOKS[name], lab)
    copies(lab, waiting, MANY)
    copies(lab, ended, MANY)
    assert calls(LOOKS[name], lab) <= few + FEW  # far less than one for each that has come


def test_retention_reads_only_what_is_old_enough(lab: House) -> None:
    old = done(lab)
    copies(lab, old, FEW)
    lab.clock.advance(20 * DAY)
    for _ in range(20):  # the clock is believed once it has been steady for a while
        lab.clock.advance(60.0)
        lab.rooms.housekeeping.look()
    lab.clock.advance(3600.0)
    assert times(lambda lab: lab.rooms.housekeeping.look(), lab, "submission_of") == 0
    assert lab.newest("DONE").deleted_at is None


def test_a_start_reads_neither_the_rows_nor_the_folders_of_what_waits(lab: House) -> None:
    waiting = held(lab)

    def start(lab: House) -> None:
        lab.close()
        lab.start()

    def opened(number: int) -> tuple[int, int]:
        copies(lab, waiting, number)
        return times(start, lab, "submission_of"), times(start, lab, "posix.stat", "posix.lstat", "posix.scandir")

    few, many = opened(FEW), opened(MANY)
    assert many == few


def test_an_arrival_that_waits_is_written_once(lab: House) -> None:
    for number in range(3):
        (lab.settings.folders.inbox / f"A{number}").mkdir()
    lab.rooms.intake.look()
    with lab.database.read() as connection:
        assert len(connection.execute(select(arrivals)).all()) == 3
    assert times(lambda lab: lab.rooms.intake.look(), lab, "record_unseen", "(record)") == 0


STATUS = """
import sys
from moichord.cli import main
code = main(["-c", sys.argv[1], "status"])
heavy = {"sqlalchemy", "pydantic", "pydicom", "requests", "urllib3", "starlette", "uvicorn", "jinja2", "PIL", "asyncio"}
print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
raise SystemExit(code)
"""


def test_status_loads_nothing_that_takes_longer_than_looking(lab: House, tmp_path: Path) -> None:
    held(lab)
    config = tmp_path / "moichord.yaml"
    config.write_text(example(lab.root, lab.settings.state))
    said = subprocess.run([sys.executable, "-c", STATUS, str(config)], capture_output=True, text=True, check=True)
    assert "HELD" in said.stdout
    assert said.stderr.strip() == "[]"
