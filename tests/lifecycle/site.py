"""One place where a daemon lives and dies: its folders, its configuration, its servers, its state from outside.

Owns what a run needs around the daemon. It must not know where the daemon is killed, nor what holds afterwards.
"""

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moichord.clock import SystemClock
from moichord.queue.database import Database
from moichord.queue.requests import Requests
from moichord.queue.views import Views
from moichord.sample import RECEIPT_NAME, Api
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import image_bytes

SAMPLE = "MO-1001"
IMAGES = 3
OVERVIEW = "scan/overview.xml"
SOMEBODY_ELSES = "somebody-elses"
FINISHED = {"done", "failed", "cancelled"}

# An hour to the next try, and a step of a day: nothing but what a scenario does moves a waiting sample.
CONFIG = """\
version: 1
folders: {{inbox: {root}/inbox, work: {root}/work, done: {done}, failed: {failed}}}
state: {root}/state/state.db
watch: {{settle_time: 0s, scan_interval: 100ms, min_free_space: 0B}}
metadata: {{url: "{metadata}", key: {{env: MD_KEY}}}}
upload: {{url: "{upload}", key: {{env: U_KEY}}, concurrency: 1}}
analytics: {{url: "{analytics}", key: {{env: A_KEY}}}}
retry: {{first_delay: 50ms, max_delay: 1s}}
archive: {{images: {images}, retention: {{{retention}}}}}
workers: 1
web: {{enabled: false}}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs from the plain case: where finished samples go, which images are kept, what is deleted when old."""

    elsewhere: Path | None = None
    images: str = "updated"
    retention: str | None = None  # done or failed


@dataclass(slots=True)
class Snapshot:
    """What is true while no daemon runs: images acknowledged in the state, requests received so far, by key."""

    acknowledged: set[str]
    received: Counter[str]
    analytics_finished: bool
    places: tuple[str, ...]
    whole: bool  # whether all files that were received are in the first of these places


@dataclass(slots=True)
class Site:
    """Folders below `root`, and stand-in APIs that are up while the context lasts.

    `passed` is a file with the seconds by which the daemon's clocks are ahead, once there is one.
    """

    root: Path
    apis: StandInApis
    layout: Layout
    received: dict[str, bytes]
    watchers: list[Callable[[], None]]
    passed: Path

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def done(self) -> Path:
        return self._end("done")

    @property
    def failed(self) -> Path:
        return self._end("failed")

    def _end(self, name: str) -> Path:
        return self.root / name if self.elsewhere is None else self.elsewhere / name

    @property
    def elsewhere(self) -> Path | None:
        """This site's folder on the other file system; named after the whole path, as others run beside it."""
        if self.layout.elsewhere is None:
            return None
        return self.layout.elsewhere / "-".join(self.root.parts[1:])

    @property
    def state(self) -> Path:
        return self.root / "state" / "state.db"

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    def write_config(self) -> None:
        text = CONFIG.format(
            root=self.root,
            done=self.done,
            failed=self.failed,
            images=self.layout.images,
            retention="" if self.layout.retention is None else f"{self.layout.retention}: 30d",
            metadata=self.apis.url(Api.METADATA),
            upload=self.apis.url(Api.UPLOAD),
            analytics=self.apis.url(Api.ANALYTICS),
        )
        self.config.write_text(text)

    def drop(self) -> None:
        """Put a sample of three images and an XML file into the inbox, by one rename."""
        hidden = self.root / "scanner" / SAMPLE
        (hidden / "scan").mkdir(parents=True)
        for name, data in self.received.items():
            (hidden / name).write_bytes(data)
        hidden.rename(self.inbox / SAMPLE)

    def let_time_pass(self) -> None:
        """A quarter of an hour: longer than a clock must have been steady for its time to be believed."""
        ahead = float(self.passed.read_text()) if self.passed.exists() else 0.0
        new = self.passed.with_suffix(".new")
        new.write_text(str(ahead + 900))
        new.replace(self.passed)

    def grow_old(self) -> None:
        """The sample ended 40 days ago. A folder beside it was put there by somebody else."""
        with closing(sqlite3.connect(self.state, timeout=2)) as connection:
            connection.execute("UPDATE submissions SET finished_at = finished_at - 40 * 86400")
            connection.commit()
        for folder in (self.done, self.failed):
            (folder / SOMEBODY_ELSES).mkdir()
            (folder / SOMEBODY_ELSES / "notes.txt").write_text("to be kept\n")

    def wait_for_the_lock(self) -> None:
        """Return once nobody is in the middle of a commit."""
        with closing(sqlite3.connect(self.state, timeout=10)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()

    def is_deleted(self) -> bool:
        """Whether the deletion of the sample's folder is committed."""
        return bool(self._asked("SELECT deleted_at FROM submissions WHERE intent IS NULL"))

    def before_answer(self, number: int, act: Callable[[], None]) -> None:
        """Call `act` when the servers have carried out the `number`th request from now on, and not yet answered it."""
        countdown = iter(range(number - 1, -1, -1))
        self.watchers.append(lambda: None if next(countdown, 1) else act())

    def instead_of(self, number: int, act: Callable[[], None]) -> None:
        """Call `act` instead of carrying out the `number`th request from now on, which is lost."""
        countdown = iter(range(number - 1, -1, -1))

        def is_it(_request: Received) -> bool:
            if next(countdown, 1):
                return False
            act()
            return True

        self.apis.fail_for(is_it, status=503)

    def images(self) -> list[str]:
        return [name for name in self.received if name.endswith(".dcm")]

    def ask(self, kind: str) -> None:
        """What `moichord retry` and `moichord cancel` do: a row in the state."""
        database = Database(self.state)
        database.open()
        try:
            submission = Views(database).newest(SAMPLE)
            assert submission is not None
            requests = Requests(database, SystemClock())
            if kind == "retry":
                requests.ask_retry(submission, None)
            else:
                requests.ask_cancel(submission)
        finally:
            database.close()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, read from a copy, so that the state stays as the daemon left it."""
        copy = self.root / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("state.db", "state.db-wal"):
            if (self.state.parent / name).exists():
                shutil.copyfile(self.state.parent / name, copy / name)
        with closing(sqlite3.connect(copy / "state.db")) as connection:
            connection.row_factory = sqlite3.Row
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if table not in tables:
                return []
            found = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
            return [dict(row) for row in found]

    def state_now(self) -> str | None:
        """The submission's state once no move is under way, read beside the running daemon."""
        return self._asked("SELECT state FROM submissions WHERE intent IS NULL")

    def open_requests(self) -> int:
        """How many requests of people are not carried out yet."""
        return self._asked("SELECT count(*) FROM requests WHERE done_at IS NULL") or 0

    def _asked(self, question: str) -> Any:
        """The first value of the answer; None if there is none, or no state yet."""
        try:
            with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=5)) as connection:
                row = connection.execute(question).fetchone()
        except sqlite3.OperationalError:
            return None  # it is being made
        return None if row is None else row[0]

    def snapshot(self) -> Snapshot:
        """Call it while no daemon runs."""
        for api in Api:
            self.apis.requests.wait_for(lambda log, api=api: log.in_flight(api) == 0)
        acknowledged = {row["sop_instance_uid"] for row in self.rows("images") if row["acknowledged_at"] is not None}
        steps = {row["step"]: row["finished_at"] for row in self.rows("steps")}
        uploads = self.apis.requests.calls(Api.UPLOAD)
        received = Counter(str(request.idempotency_key) for request in uploads)
        received["analytics"] = len(self.apis.requests.calls(Api.ANALYTICS))
        places = tuple(self.places())
        return Snapshot(acknowledged, received, steps.get("analytics") is not None, places, self._is_whole(places))

    def _is_whole(self, places: Sequence[str]) -> bool:
        if not places:
            return False
        kind, _, name = places[0].partition("/")
        folder = (self.done if kind == "done" else self.failed if kind == "failed" else self.inbox) / name
        return all((folder / file).is_file() for file in (*self.received, RECEIPT_NAME))

    def places(self) -> Iterator[str]:
        """Where a folder of the sample lies under its own name."""
        for folder in (self.inbox, self.done, self.failed):
            for path in folder.iterdir() if folder.exists() else ():
                if not path.name.startswith((".moichord-", SOMEBODY_ELSES)):
                    yield f"{folder.name}/{path.name}"
        for path in self.work.glob("*/*") if self.work.exists() else ():
            if not path.name.startswith(".moichord-"):
                yield f"work/{path.name}"

    def keep(self, template: Path) -> None:
        """Keep folders and state as they are, for other sites to begin from."""
        for name in ("inbox", "work", "state"):
            shutil.copytree(self.root / name, template / name, symlinks=True)
        for folder in (self.done, self.failed):
            shutil.copytree(folder, template / folder.name, symlinks=True)
        (template / "received.json").write_text(json.dumps({k: v.hex() for k, v in self.received.items()}))

    def restore(self, template: Path) -> None:
        """Begin where another site was kept."""
        for name in ("inbox", "work", "state"):
            shutil.copytree(template / name, self.root / name, symlinks=True, dirs_exist_ok=True)
        for folder in (self.done, self.failed):
            shutil.copytree(template / folder.name, folder, symlinks=True, dirs_exist_ok=True)
        texts = json.loads((template / "received.json").read_text())
        self.received = {name: bytes.fromhex(text) for name, text in texts.items()}
        self._tell_inodes()

    def _tell_inodes(self) -> None:
        """Copies are other files; the state is to believe that they are those that it planned."""
        with closing(sqlite3.connect(self.state)) as connection:
            for folder in (*self.work.glob(f"*/{SAMPLE}"), self.failed / SAMPLE):
                for name in self.images():
                    if (folder / name).exists():
                        inode = (folder / name).stat().st_ino
                        values = (inode, os.fsencode(name))
                        connection.execute("UPDATE images SET inode = ? WHERE relative_path = ?", values)
            connection.commit()


@contextmanager
def site_at(root: Path, layout: Layout, server: Path | None = None) -> Iterator[Site]:
    """An empty site with its servers, which keep their files in `server`; removed at the end by its caller."""
    root.mkdir(parents=True, exist_ok=server is not None)
    watchers: list[Callable[[], None]] = []
    beside = server or root / "server"
    with StandInApis(keep_files=beside, on_record=lambda _: [watch() for watch in watchers]) as apis:
        site = Site(root, apis, layout, _sample(), watchers, beside.with_name("passed"))
        for folder in (site.inbox, site.done, site.failed, site.state.parent, root / "scanner"):
            folder.mkdir(parents=True, exist_ok=True)
        site.write_config()
        try:
            yield site
        finally:
            if site.elsewhere is not None:
                shutil.rmtree(site.elsewhere, ignore_errors=True)


def _sample() -> dict[str, bytes]:
    images = {f"scan/level-{n}.dcm": image_bytes(rows=16 + 8 * n, columns=16) for n in range(IMAGES)}
    return {**images, OVERVIEW: b"<overview>as the scanner wrote it</overview>\n"}
