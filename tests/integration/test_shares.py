"""Samples over a real share: Samba with smbclient as the scanner, and a file system that reports no events.

All must arrive complete and none early: one submission for each sample, every image once, its untouched part the same
bytes as the scanner's. `MOICHORD_SHARE_SAMPLES=200` makes the same tests longer.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from moichord.queue.schema import images
from moichord.sample import Api, State
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_image
from tests.conftest import EVERYWHERE
from tests.house import Says, house
from tests.integration import judges, samples
from tests.integration.conftest import MakeDaemon
from tests.integration.daemon import PATIENCE, REPOSITORY, Daemon, receipt_of

SAMPLES = int(os.environ.get("MOICHORD_SHARE_SAMPLES", "12"))
SCANNERS = 4
LARGE = 1800  # rows and columns, a byte each: 3 MB
# A scanner under load pauses between two files for longer than the quick settings allow.
SETTLE = {"watch": {"settle_time": "2s", "scan_interval": "200ms"}}


class Share:
    """An smbd of our own on a loopback port, whose share "scans" is one folder; guests write as this user."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = root / "smb.conf"
        places = {name: root / name for name in ("lock", "state", "cache", "pid", "private", "ncalrpc")}
        for place in places.values():
            place.mkdir(mode=0o755)
        self.config.write_text(
            f"""[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {self.port}
lock directory = {places["lock"]}
state directory = {places["state"]}
cache directory = {places["cache"]}
pid directory = {places["pid"]}
private dir = {places["private"]}
ncalrpc dir = {places["ncalrpc"]}
log file = {root}/smbd.log
passdb backend = tdbsam:{root}/passdb.tdb
map to guest = Bad User
guest account = root
disable spoolss = yes
load printers = no

[scans]
path = {folder}
guest ok = yes
read only = no
force user = root
strict sync = no
"""
        )

    @contextmanager
    def running(self) -> Iterator["Share"]:
        command = ["smbd", "-F", "--no-process-group", "--debug-stdout", "-s", str(self.config)]
        with (self.root / "smbd.out").open("wb") as log:
            server = subprocess.Popen(
                command,
                env={**os.environ, "PATH": EVERYWHERE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens(server)
            yield self
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # with the processes that serve the clients
            server.wait(PATIENCE)

    def _wait_until_it_listens(self, server: subprocess.Popen) -> None:
        deadline = time.monotonic() + PATIENCE
        while server.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"smbd does not listen: {(self.root / 'smbd.out').read_text()}")

    def client(self, script: str) -> list[str]:
        share = "//127.0.0.1/scans"
        return ["smbclient", share, "-N", "-p", str(self.port), "-s", str(self.config), "-c", script]

    def do(self, script: str) -> None:
        done = subprocess.run(
            self.client(script), capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def put(self, original: Path) -> None:
        """A whole sample, file after file."""
        self.do(f"mkdir {original.name}; cd {original.name}; lcd {original}; prompt; recurse; mput *")

    @contextmanager
    def begun(self, sample: str, file: str, content: bytes) -> Iterator[subprocess.Popen[bytes]]:
        """A transfer that stalls after `content`; it ends when its standard input is closed, or by a kill."""
        command = self.client(f"mkdir {sample}; cd {sample}; put - {file}")
        with (self.root / "client.out").open("wb") as log:
            client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert client.stdin is not None
        try:
            client.stdin.write(content)
            client.stdin.flush()
            yield client
        finally:
            client.kill()
            client.wait()
            client.stdin.close()


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    return make_daemon(SETTLE).start()


@pytest.fixture
def share(tmp_path: Path, daemon: Daemon) -> Iterator[Share]:
    root = tmp_path / "samba"
    root.mkdir()
    with Share(root, daemon.inbox).running() as share:
        yield share


def small_and_large(folder: Path, number: int) -> Path:
    """Some small images, some of a few MB, in one folder or in two."""
    samples.small_sample(folder, images=1 + number % 4)
    if number % 3 == 0:
        write_image(folder / "large.dcm", rows=LARGE, columns=LARGE)
    if number % 5 == 0:
        (folder / "below").mkdir()
        write_image(folder / "below" / "label.dcm", transfer_syntax="jpeg")
    (folder / "scan.xml").write_text(f"<scan number='{number}'/>")
    return folder


def assert_arrived_whole(daemon: Daemon, original: Path) -> None:
    """Once, with every image, byte for byte but for the header; other files as they were."""
    daemon.wait_until(original.name, State.DONE)
    (submission,) = daemon.submissions(original.name)
    folder = daemon.folder_of(submission)
    sent, arrived = samples.files_in(original), samples.files_in(folder)
    receipt = receipt_of(folder)
    assert arrived.keys() == sent.keys()
    assert {image["path"] for image in receipt["images"]} == {name for name in sent if name.endswith(".dcm")}
    for image in receipt["images"]:
        name = image["path"]
        judges.assert_untouched_part_is_true(image["untouched"], sent[name], arrived[name])
        assert judges.read(arrived[name]).PixelData == judges.read(sent[name]).PixelData
    for name in sent.keys() - {image["path"] for image in receipt["images"]}:
        assert arrived[name] == sent[name]


@pytest.mark.needs("root", "smbd", "smbclient")
def test_samples_written_concurrently_over_smb_arrive_whole_and_none_early(
    share: Share, daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    made = [small_and_large(originals / f"SMB-{number}", number) for number in range(SAMPLES)]
    with ThreadPoolExecutor(SCANNERS) as scanners:
        list(scanners.map(share.put, made))
    for original in made:
        assert_arrived_whole(daemon, original)
    assert len(apis.instances) == sum(len(list(original.rglob("*.dcm"))) for original in made)


@pytest.mark.needs("root", "smbd", "smbclient")
def test_a_transfer_that_is_cut_off_and_repeated_later_arrives_whole(
    share: Share, daemon: Daemon, originals: Path, tmp_path: Path
) -> None:
    original = samples.small_sample(originals / "AGAIN", images=1)
    content = write_image(original / "large.dcm", rows=LARGE, columns=LARGE).read_bytes()
    share.put(samples.small_sample(originals / "OTHER", images=1))
    half = tmp_path / "half.dcm"
    half.write_bytes(content[: len(content) // 2])
    share.do(f"mkdir AGAIN; cd AGAIN; put {half} large.dcm")  # all that goes over before the connection breaks
    daemon.wait_for(reason_of(daemon, "AGAIN", "large.dcm is incomplete"), "the reason")
    assert_arrived_whole(daemon, originals / "OTHER")  # at least one settle time has passed
    daemon.wait_for(reason_of(daemon, "AGAIN", "large.dcm is incomplete"), "the reason")
    # Not `reput`: that of Samba 4.17 writes the rest over the beginning.
    share.do(f"cd AGAIN; lcd {original}; put large.dcm; put image-0.dcm")
    assert_arrived_whole(daemon, original)


@pytest.mark.needs("root", "smbd", "smbclient")
def test_a_file_that_a_client_still_holds_open_is_a_veto_though_it_looks_whole(
    share: Share, daemon: Daemon, originals: Path
) -> None:
    """The server on this machine has the file open for the client: the kernel knows that."""
    original = samples.small_sample(originals / "HELD", images=1)
    content = (original / "image-0.dcm").read_bytes()
    with share.begun("HELD", "image-0.dcm", content) as client:
        # The client sends nothing before it has more, but holds the file; its contents come another way.
        daemon.wait_for((daemon.inbox / "HELD" / "image-0.dcm").exists, "the file to be there")
        (daemon.inbox / "HELD" / "image-0.dcm").write_bytes(content)
        veto = "is still open for writing by a program on this machine"
        daemon.wait_for(reason_of(daemon, "HELD", veto), "the veto")
        assert client.stdin is not None
        client.stdin.close()
        client.wait(PATIENCE)
    assert_arrived_whole(daemon, original)


def reason_of(daemon: Daemon, sample: str, words: str) -> Callable[[], bool]:
    def said() -> bool:
        arrival = daemon.arrival(sample)
        return arrival is not None and words in arrival.reason

    return said


@contextmanager
def silent_share(backing: Path, mount_point: Path) -> Iterator[None]:
    """A FUSE file system for as long as the context lasts."""
    command = [sys.executable, "-m", "tests.integration.silent_share", str(backing), str(mount_point)]
    server = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + PATIENCE
        while not os.path.ismount(mount_point):
            assert server.poll() is None, "the FUSE process ended"
            assert time.monotonic() < deadline, "nothing was mounted"
            time.sleep(0.02)
        yield
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mount_point)], check=True)
        server.wait(PATIENCE)


@pytest.mark.needs("root", "fusermount3")
def test_on_a_share_without_events_samples_arrive_whole_and_an_outage_is_waited_out(
    make_daemon: MakeDaemon, tmp_path: Path, originals: Path
) -> None:
    backing, mount_point = tmp_path / "server", tmp_path / "mount"
    for folder in (backing / "inbox", backing / "work", mount_point):
        folder.mkdir(parents=True)
    with silent_share(backing, mount_point):
        folders = {"inbox": str(mount_point / "inbox"), "work": str(mount_point / "work")}
        daemon = make_daemon({**SETTLE, "folders": folders}).start()
        made = [small_and_large(originals / f"FUSE-{number}", number) for number in range(SAMPLES // 2)]
        for original in made:
            shutil.copytree(original, backing / "inbox" / original.name)
        for original in made:
            assert_arrived_whole(daemon, original)
        assert daemon.log.count("The inbox is watched by polling") == 1

        cut = samples.small_sample(originals / "CUT", images=1)
        content = write_image(cut / "large.dcm", rows=LARGE, columns=LARGE).read_bytes()
        shutil.copytree(cut, backing / "inbox" / "CUT")
        os.truncate(backing / "inbox" / "CUT" / "large.dcm", len(content) // 2)
        daemon.wait_for(reason_of(daemon, "CUT", "large.dcm is incomplete"), "the reason")
        with (backing / "inbox" / "CUT" / "large.dcm").open("ab") as file:
            file.write(content[len(content) // 2 :])
        assert_arrived_whole(daemon, cut)

        (backing / ".broken").touch()
        daemon.wait_for(lambda: any("the share is gone" in n for n in daemon.overview().notices), "the outage")
        (backing / ".broken").unlink()
        after = samples.small_sample(originals / "AFTER", images=1)
        samples.drop(after, backing / "inbox")
        assert_arrived_whole(daemon, after)
        daemon.stop()


def test_files_that_a_share_numbers_anew_while_no_daemon_runs_are_the_same_files() -> None:
    """As mount.cifs does with noserverino; one image is stored by then, the other waits for its retry."""
    with house() as lab:
        refused_once = iter([None, Says(503)])
        lab.script = lambda called: next(refused_once, None) if called.api is Api.UPLOAD else None
        lab.drop("A123", images=2)
        assert lab.turn() is None
        lab.database.write(lambda connection: connection.execute(images.update().values(inode=1)))
        lab.run()
        assert lab.newest("A123").reason is None
        assert lab.state("A123") is State.DONE
        assert len(lab.calls_to(Api.UPLOAD)) == 3
