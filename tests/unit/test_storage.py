"""Whether a place can serve: each trouble by itself, said once when it begins and once when it ends."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from moichord.errors import Hold, StateUnwritable
from moichord.storage import PLACES, Key, Storage, mount_point

MIN = 1000


class Memory:
    """What a state remembers of mount points; it cannot be written while the test says so."""

    def __init__(self) -> None:
        self.rows: dict[Path, Path] = {}
        self.unwritable = False

    def known(self) -> dict[Path, Path]:
        return dict(self.rows)

    def remember(self, found: Mapping[Path, Path]) -> None:
        if self.unwritable:
            raise StateUnwritable("The state cannot be written: the disk is full.")
        self.rows.update(found)


class Site:
    """Four real folders; free space and the mark of work as the test says."""

    def __init__(self, root: Path) -> None:
        self.places: dict[Key, Path] = {key: root / key for key in PLACES}
        for place in self.places.values():
            place.mkdir()
        self.free: dict[Path, int] = {}
        self.ours: Callable[[], bool] = lambda: True
        self.memory = Memory()
        self.storage = self.restarted()

    def restarted(self) -> Storage:
        """What a daemon's start makes."""
        return Storage(self.places, MIN, self._ours, self.memory, lambda path: self.free.get(path, MIN))

    def _ours(self) -> bool:
        return self.ours()

    def looked(self) -> Storage:
        self.storage.look()
        return self.storage


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def low(key: Key) -> Callable[[Site], None]:
    return lambda site: site.free.update({site.places[key]: MIN - 1})


def gone(key: Key) -> Callable[[Site], None]:
    return lambda site: site.places[key].rmdir()


def not_ours(site: Site) -> None:
    site.ours = lambda: False


def unanswered(site: Site) -> None:
    def answer() -> bool:
        raise OSError(5, "Input/output error")

    site.ours = answer


def a_file(site: Site) -> None:
    site.places["done"].rmdir()
    site.places["done"].touch()


# what is wrong, and what that holds: beginning, filing, moving to done, moving to failed
TROUBLES = [
    (low("state"), {"begin", "file"}),
    (gone("state"), {"begin", "file"}),
    (low("work"), {"file"}),
    (gone("work"), {"begin", "file"}),
    (not_ours, {"begin", "file"}),
    (unanswered, {"begin", "file"}),
    (low("done"), {"file", "done"}),
    (gone("done"), {"file", "done"}),
    (a_file, {"file", "done"}),
    (low("failed"), set()),
    (gone("failed"), {"failed"}),
]


@pytest.mark.parametrize(("spoil", "holds"), TROUBLES)
def test_each_trouble_holds_what_it_concerns(site: Site, spoil: Callable[[Site], None], holds: set[str]) -> None:
    spoil(site)
    storage = site.looked()
    asked = {
        "begin": storage.require,
        "file": lambda: storage.require(filing=True),
        "done": lambda: storage.require_place("done"),
        "failed": lambda: storage.require_place("failed"),
    }
    assert {name for name, ask in asked.items() if is_held(ask)} == holds
    assert (storage.hindrance() is not None) == ("begin" in holds)
    assert bool(storage.notices) == bool(holds)


def is_held(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except Hold as hold:
        assert hold.held_by.startswith("disk:")
        assert hold.seconds is None
        return True
    return False


def test_a_trouble_is_said_once_and_its_end_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    low("done")(site)
    for _ in range(5):
        site.looked()
    site.free.clear()
    for _ in range(5):
        site.looked()
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"the disk of the folder done ({site.places['done']}) has less than")
    assert last == "the folder done can be used again"


def test_what_is_filed_is_looked_at_again_at_that_moment(site: Site) -> None:
    storage = site.looked()
    gone("done")(site)
    with pytest.raises(Hold, match="the folder done is not there"):
        storage.require(filing=True)


def test_without_a_limit_no_disk_is_asked(tmp_path: Path) -> None:
    site = Site(tmp_path)

    def ask(_: Path) -> int:
        raise AssertionError("asked")

    storage = Storage(site.places, 0, lambda: True, Memory(), ask)
    storage.look()
    assert storage.notices == []


def test_a_disk_that_does_not_answer_is_not_there(site: Site) -> None:
    def ask(_: Path) -> int:
        raise OSError(5, "Input/output error")

    storage = Storage(site.places, MIN, lambda: True, Memory(), ask)
    storage.look()
    assert "Input/output error" in (storage.hindrance() or "")


def test_the_mount_point_of_a_folder_is_found_through_links(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    assert mount_point(link) == Path("/proc")
    assert os.path.ismount(mount_point(tmp_path))


# A mount point that is not mounted. The roots of tests are on one file system: what is remembered says another.


def notices(site: Site) -> list[str]:
    storage = site.restarted()
    storage.look()
    return storage.notices


def test_after_a_restart_a_bare_mount_point_is_a_share_that_is_not_mounted(site: Site) -> None:
    site.looked()
    place = site.places["done"]
    site.memory.rows[place] = place
    (notice,) = notices(site)
    assert notice.startswith(f"the share of the folder done is not mounted ({place};")
    assert "moichord check --accept-folders" in notice
    assert site.memory.rows[place] == place, "what is not mounted is not what is known from now on"


def test_what_is_accepted_serves_at_the_next_look_without_a_restart(site: Site) -> None:
    place = site.places["failed"]
    site.memory.rows[place] = place
    storage = site.looked()
    with pytest.raises(Hold):
        storage.require_place("failed")
    site.memory.remember({place: mount_point(place)})
    storage.require_place("failed")
    storage.look()
    assert storage.notices == []


def test_a_work_folder_that_carries_our_mark_is_there_wherever_it_lies(site: Site) -> None:
    place = site.places["work"]
    site.memory.rows[place] = place
    assert notices(site) == []
    site.memory.rows[place] = place
    site.ours = lambda: False
    assert "the share of the folder work is not mounted" in notices(site)[0]
    assert "the share of the folder work is not mounted" in (site.restarted().unmounted("work") or "")


def test_a_state_that_lies_elsewhere_after_a_restart_is_a_state_that_was_moved(site: Site) -> None:
    site.memory.rows[site.places["state"]] = site.places["state"]
    assert notices(site) == []


def test_a_link_that_leads_elsewhere_now_was_changed_on_purpose(site: Site, tmp_path: Path) -> None:
    place = site.places["done"]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    site.memory.rows[place] = place
    assert notices(site) == []
    assert site.memory.rows[place] == mount_point(tmp_path)


def test_a_share_that_is_mounted_later_is_what_is_known_from_then_on(site: Site) -> None:
    place = site.places["done"]
    site.memory.rows[place] = Path("/")
    assert notices(site) == []
    assert site.memory.rows[place] == mount_point(place)


def test_what_cannot_be_remembered_now_holds_nothing_and_is_remembered_at_a_later_look(site: Site) -> None:
    site.memory.unwritable = True
    storage = site.looked()
    assert (storage.notices, site.memory.rows) == ([], {})
    site.memory.unwritable = False
    storage.look()
    assert site.memory.rows.keys() == {site.places[key] for key in ("work", "done", "failed")}
