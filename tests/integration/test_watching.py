"""The watch on the inbox dies in every way that is known; samples dropped afterwards are taken all the same."""

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from moichord.clock import SystemClock
from moichord.inbox import taking
from moichord.inbox.doorbell import Doorbell
from moichord.inbox.intake import Intake, IntakeRules, sample_id_of
from moichord.inbox.scanner import Scanner
from moichord.inbox.seen import WatchRules
from moichord.inbox.settling import SettleRule
from moichord.queue.arrivals import Arrivals
from moichord.queue.database import Database
from moichord.queue.requests import Requests
from moichord.queue.views import Views
from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from moichord.spool import Spool
from moichord.watching import inspect_image
from tests.builders import image_bytes, write_image
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import Daemon, failure_of, receipt_of
from tests.unit.test_intake import SAMPLE_ID

PATIENCE = 30.0
NOBODY = 65534
IMAGE = image_bytes()


class House:
    """The intake's thread with its real doorbell, over folders below `root`, at the pace of tests."""

    def __init__(self, root: Path, *, ready_marker: str | None = None) -> None:
        self.root = root
        self.share = root / "share"
        self.inbox = self.share / "inbox"
        for folder in (self.inbox, self.share / "work", root / "done", root / "failed"):
            folder.mkdir(parents=True)
        clock = SystemClock()
        self.database = Database(root / "state.db")
        self.spool = Spool(self.inbox, self.share / "work", root / "done", root / "failed", self.database.open())
        self.ring, self.stopping = threading.Event(), threading.Event()
        self.rings = 0
        self.doorbell = Doorbell(self.inbox, self._rung, polling_interval=0.1)
        self.views = Views(self.database)
        self.intake = Intake(
            Scanner(self.inbox, WatchRules(ready_marker=ready_marker), inspect_image, self._is_sample_id),
            self.doorbell,
            Arrivals(self.database, clock),
            Requests(self.database, clock),
            self.spool,
            clock,
            IntakeRules(SAMPLE_ID, SettleRule(0.1, ready_marker=ready_marker), scan_interval=0.1),
            taken=lambda: None,
        )
        self._drops = 0

    @staticmethod
    def _is_sample_id(name: str) -> bool:
        return sample_id_of(name, SAMPLE_ID) is not None

    def _rung(self) -> None:
        self.rings += 1
        self.ring.set()

    @contextmanager
    def open(self, *, user: int | None = None) -> Iterator["House"]:
        """While the context lasts, the thread looks; as `user`, it may do with files what that one may."""
        thread = threading.Thread(target=self._run, args=(user,))
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self.ring.set()
            thread.join()
            self.doorbell.stop()
            self.database.close()

    def _run(self, user: int | None) -> None:
        if user is not None:
            ctypes.CDLL(None).setfsuid(user)  # of this thread only; what root may do with files goes with it
        self.doorbell.start()
        self.intake.run(self.ring, self.stopping)

    def drop(self, owner: int | None = None) -> str:
        """A whole sample, moved in whole; its ID."""
        self._drops += 1
        name = f"S{self._drops}"
        beside = self.share / f".{name}"
        beside.mkdir()
        (beside / "image.dcm").write_bytes(IMAGE)
        if owner is not None:
            os.chown(beside, owner, owner)
        beside.rename(self.inbox / name)
        return name

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}; {self.intake.notices}"
            time.sleep(0.01)

    def is_taken(self, name: str) -> bool:
        newest = self.views.newest(name)
        return newest is not None and newest.taken_at is not None and newest.intent is None

    def takes_a_new_sample(self, owner: int | None = None) -> None:
        name = self.drop(owner)
        self.wait_for(lambda: self.is_taken(name), f"{name} to be taken")
        newest = self.views.newest(name)
        assert newest is not None
        assert (self.spool.folder(newest.uuid, name) / "image.dcm").read_bytes() == IMAGE

    def is_watched_again(self, kind: str = "native") -> None:
        """The watch lives, and really rings."""
        self.wait_for(lambda: self.doorbell.kind == kind and self.doorbell.healthy(), "a living watch")
        self.wait_for(lambda: self.intake.notices == [], "no complaint")
        before = self.rings
        (self.inbox / ".bell").mkdir()
        self.wait_for(lambda: self.rings > before, "a ring")
        (self.inbox / ".bell").rmdir()


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="moichord-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def house(root: Path, caplog) -> Iterator[House]:
    caplog.set_level(logging.INFO)
    with House(root).open() as house:
        house.is_watched_again()
        yield house


def deleted_and_recreated(house: House) -> None:
    house.inbox.rmdir()
    house.wait_for(lambda: house.intake.notices, "the missing inbox to be noticed")
    house.inbox.mkdir()


def deleted_and_recreated_at_once(house: House) -> None:
    while True:
        try:
            house.inbox.rmdir()
            house.inbox.mkdir()
            return
        except OSError:
            shutil.rmtree(house.inbox, ignore_errors=True)


def renamed_away_and_back(house: House) -> None:
    away = house.inbox.rename(house.share / "away")
    house.wait_for(lambda: house.intake.notices, "the missing inbox to be noticed")
    away.rename(house.inbox)


def renamed_away_and_replaced(house: House) -> None:
    house.inbox.rename(house.share / "away")
    house.inbox.mkdir()


def dead_threads(house: House) -> None:
    observer = house.doorbell._observer
    assert observer is not None
    observer.stop()


def a_dead_emitter(house: House) -> None:
    observer = house.doorbell._observer
    assert observer is not None
    for emitter in observer.emitters:
        emitter.stop()
        emitter.join()


def many_folders_made_and_deleted(house: House) -> None:
    for number in range(300):
        (house.inbox / f".{number}").mkdir()
        (house.inbox / f".{number}").rename(house.inbox / f".{number}x")
        (house.inbox / f".{number}x").rmdir()


INCIDENTS: list[Callable[[House], None]] = [
    deleted_and_recreated,
    deleted_and_recreated_at_once,
    renamed_away_and_back,
    renamed_away_and_replaced,
    dead_threads,
    a_dead_emitter,
    many_folders_made_and_deleted,
]


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.__name__)
def test_after_an_incident_samples_are_taken_and_the_watch_rings_again(house: House, incident, caplog) -> None:
    house.takes_a_new_sample()
    incident(house)
    house.takes_a_new_sample()
    house.is_watched_again()
    said = [record.message for record in caplog.records if "cannot be watched" in record.message]
    assert len(said) <= 1


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize("source", ["tmpfs", "bind"])
def test_a_share_that_is_unmounted_and_mounted_again_goes_on(root: Path, source: str, caplog) -> None:
    caplog.set_level(logging.INFO)
    house = House(root)
    backing = root / "backing"
    backing.mkdir()
    command = ["mount", "-t", "tmpfs", "none"] if source == "tmpfs" else ["mount", "--bind", str(backing)]

    def mount() -> None:
        subprocess.run([*command, str(house.share)], check=True)
        for name in ("inbox", "work"):
            (house.share / name).mkdir(exist_ok=True)

    def unmount() -> bool:
        return subprocess.run(["umount", str(house.share)], check=False, capture_output=True).returncode == 0

    for name in ("inbox", "work"):
        (house.share / name).rmdir()
    with ExitStack() as stack:
        mount()
        stack.callback(lambda: house.wait_for(unmount, "the share to be unmounted"))
        stack.enter_context(house.open())
        house.takes_a_new_sample()
        house.is_watched_again()
        for _ in range(2):
            house.wait_for(unmount, "the share to be unmounted")  # busy while it is looked at
            house.wait_for(lambda: any("the share is gone" in n for n in house.intake.notices), "the outage")
            mount()
            house.takes_a_new_sample()
            house.is_watched_again()
    said = [record.message for record in caplog.records if record.name == "moichord.inbox.intake"]
    assert [("the share is gone" in line) for line in said if "share" in line or "there again" in line] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.needs("root")
def test_permissions_that_are_lost_and_restored_are_explained_and_then_forgotten(root: Path) -> None:
    house = House(root)
    for folder in (house.share, house.inbox, house.share / "work"):
        os.chown(folder, NOBODY, NOBODY)
    with house.open(user=NOBODY):
        house.takes_a_new_sample(owner=NOBODY)
        house.inbox.chmod(0)
        house.wait_for(lambda: any("may not read the inbox" in n for n in house.intake.notices), "the complaint")
        house.inbox.chmod(0o700)
        house.takes_a_new_sample(owner=NOBODY)
        house.is_watched_again()


@pytest.mark.needs("root")
def test_a_folder_of_another_user_stays_says_why_and_is_taken_once_that_is_mended(
    root: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(taking, "TRY_RENAME_AGAIN_AFTER", 0.3)
    house = House(root)
    for folder in (house.share, house.inbox, house.share / "work"):
        os.chown(folder, NOBODY, NOBODY)
    with house.open(user=NOBODY):
        name = house.drop(owner=0)
        house.wait_for(lambda: "belongs to another user" in reason(house, name), "the reason")
        house.takes_a_new_sample(owner=NOBODY)
        (house.inbox / name).chmod(0o777)
        house.wait_for(lambda: house.is_taken(name), "the mended folder to be taken")
    said = [record.message for record in caplog.records if "not taken" in record.message]
    assert len(said) == 1


def reason(house: House, name: str) -> str:
    arrival = next((a for a in house.views.overview().receiving if a.folder_name == name), None)
    return arrival.reason if arrival else ""


# The daemon as a whole


class LimitedDaemon(Daemon):
    """A daemon in a user namespace of its own, in which this limit of the kernel is 0."""

    limit = ""

    def _command(self, *arguments: str) -> list[str]:
        command = super()._command(*arguments)
        if arguments != ("run",):
            return command
        script = f'echo 0 >/proc/sys/user/{self.limit} && exec "$@"'
        return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *command]


class UnprivilegedDaemon(Daemon):
    """A daemon whose user owns what the tests make, and may no more than others with what belongs to somebody else."""

    def _command(self, *arguments: str) -> list[str]:
        dropped = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--securebits=+noroot"]
        return [*dropped, *super()._command(*arguments)]


def sub_folder_of_another_user(folder: Path) -> Path:
    below = folder / "below"
    below.mkdir(mode=0o755)
    write_image(below / "label.dcm")
    os.chown(below, NOBODY, NOBODY)
    return below


def file_of_another_user(folder: Path) -> Path:
    path = write_image(folder / "label.dcm")
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.needs("root", "setpriv")
@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        (sub_folder_of_another_user, "moichord may not write in the sub-folder below: it belongs to another user."),
        (file_of_another_user, "moichord may not read label.dcm: give the moichord group permission to read it"),
    ],
)
def test_what_moichord_may_not_read_or_replace_stays_in_the_inbox_says_so_and_is_done_once_that_is_mended(
    tmp_path: Path, apis: StandInApis, originals: Path, foreign: Callable[[Path], Path], words: str
) -> None:
    folder = samples.small_sample(originals / "A123", images=1)
    mended = foreign(folder)
    daemon = UnprivilegedDaemon(tmp_path / "house", apis.environment())
    try:
        daemon.start()
        folder.rename(daemon.inbox / "A123")
        daemon.wait_for(lambda: daemon.arrival("A123"), "the sample to be seen")
        samples.drop(samples.small_sample(originals / "OTHER", images=1), daemon.inbox)
        daemon.wait_until_done("OTHER")
        arrival = daemon.arrival("A123")
        assert arrival is not None
        assert words in arrival.reason
        checked = " ".join(daemon.command("check", "--offline").stdout.split())
        assert ("A123" in checked) is (foreign is sub_folder_of_another_user)
        (daemon.inbox / "A123" / mended.name).chmod(0o777)
        done = daemon.wait_until_done("A123")
        assert len(receipt_of(done)["images"]) == 2
    finally:
        daemon.close()


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize(
    ("limit", "words"),
    [("max_inotify_watches", "fs.inotify.max_user_watches"), ("max_inotify_instances", "max_user_instances")],
)
def test_at_the_limits_of_the_kernel_the_daemon_polls_says_so_once_and_takes_samples(
    tmp_path: Path, apis: StandInApis, originals: Path, limit: str, words: str
) -> None:
    daemon = LimitedDaemon(tmp_path / "house", apis.environment())
    daemon.limit = limit
    try:
        daemon.start()
        for name in ("FIRST", "SECOND"):
            samples.drop(samples.small_sample(originals / name, images=1), daemon.inbox)
            daemon.wait_until_done(name)
        assert any(words in notice for notice in daemon.overview().notices)
        assert daemon.log.count(words) == 1
    finally:
        print(daemon.log)
        daemon.close()


def test_an_overflow_of_the_event_queue_loses_no_sample_and_no_bell(make_daemon: MakeDaemon, originals: Path) -> None:
    """While the daemon is stopped the kernel gathers more events than it keeps; the last of them are lost."""
    daemon = make_daemon({"watch": {"scan_interval": "1h"}}).start()
    samples.drop(samples.small_sample(originals / "BEFORE", images=1), daemon.inbox)
    daemon.wait_until_done("BEFORE")
    daemon._running.send_signal(signal.SIGSTOP)
    events = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(events // 2 + 100):
        folder = daemon.inbox / f".{number}"
        folder.mkdir()
        folder.rmdir()
    samples.drop(samples.small_sample(originals / "LOST", images=1), daemon.inbox)
    daemon._running.send_signal(signal.SIGCONT)
    daemon.wait_until_done("LOST")
    samples.drop(samples.small_sample(originals / "AFTER", images=1), daemon.inbox)
    daemon.wait_until_done("AFTER")


def in_work(daemon: Daemon, sample_id: str, file: str) -> Path:
    (path,) = daemon.work.glob(f"*/{sample_id}/{file}")
    return path


def test_a_change_before_the_first_upload_is_waited_for_in_work(
    daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    original = samples.small_sample(originals / "LATE", images=2)
    content = (original / "image-1.dcm").read_bytes()
    apis.hold(Api.METADATA)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.METADATA) == 1)
    in_work(daemon, "LATE", "image-1.dcm").write_bytes(content[:500])
    apis.mend()
    daemon.wait_for(
        lambda: (daemon.newest("LATE").reason or "").startswith("still being written: image-1.dcm"),
        "the sample to wait",
    )
    assert not apis.requests.calls(Api.UPLOAD)
    in_work(daemon, "LATE", "image-1.dcm").write_bytes(content)
    folder = daemon.wait_until_done("LATE")
    assert len(receipt_of(folder)["images"]) == len(apis.instances) == 2
    judges.assert_pixels_untouched(content, (folder / "image-1.dcm").read_bytes(), originals)


def test_a_change_while_it_is_sent_fails_the_sample_and_says_so(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon({"upload": {"concurrency": 1}}).start()
    original = samples.small_sample(originals / "CHANGED", images=4)
    apis.hold(Api.UPLOAD)
    samples.drop(original, daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 1)
    for number in range(4):
        with in_work(daemon, "CHANGED", f"image-{number}.dcm").open("ab") as file:
            file.write(b"more")
    apis.mend()
    folder = daemon.wait_until_failed("CHANGED")
    assert "changed while being sent" in failure_of(folder)
    assert "rop the sample again" in failure_of(folder)
    assert not apis.requests.calls(Api.ANALYTICS)
