"""The trips that daemons are killed on: from where each begins, what sets it going, and how it must end.

Owns the trips. It must not know about deaths.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moichord.sample import Api
from tests.lifecycle.daemon import Daemon, Launcher, until
from tests.lifecycle.site import SAMPLE, Layout, Site, site_at

AN_HOUR = {"Retry-After": "3600"}
MAIN = "main"
THREADS = (MAIN, "intake", "worker", "upload", "queue-writer")
HOUSEKEEPING = ("housekeeping", "queue-writer")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A trip. `template` names the site it begins from; `known` whether the metadata API knows the sample.

    `threads` are those that have something to do with it.
    """

    name: str
    outcome: str
    act: Callable[[Site], None]
    template: str | None = None
    layout: Layout = field(default_factory=Layout)
    known: bool = True
    threads: tuple[str, ...] = THREADS

    @contextmanager
    def site(self, root: Path, templates: Path, server: Path | None = None) -> Iterator[Site]:
        with site_at(root, self.layout, server) as site:
            if self.template is not None:
                site.restore(templates / self.template)
            if not self.known:
                del site.apis.records[SAMPLE]
            yield site

    def over(self, site: Site) -> bool:
        """Whether the trip has come to its end."""
        if self.layout.retention is not None:
            site.let_time_pass()
            return site.is_deleted()
        return site.open_requests() == 0 and site.state_now() == self.outcome


def scenarios(elsewhere: Path | None) -> list[Scenario]:
    """All trips; `elsewhere` is a folder on another file system, None if this machine has none."""
    trips = [
        Scenario("done", "done", Site.drop),
        Scenario("done-without-images", "done", Site.drop, layout=Layout(images="none")),
        Scenario("failed", "failed", Site.drop, known=False),
        Scenario("retry-failed", "done", _retry, template="failed"),
        Scenario("cancel", "cancelled", _cancel, template="waiting"),
        Scenario("retry-cancelled", "done", _retry, template="cancelled"),
        Scenario("retention", "deleted", Site.grow_old, "done", Layout(retention="done"), threads=HOUSEKEEPING),
        Scenario(
            "retention-failed", "deleted", Site.grow_old, "failed", Layout(retention="failed"), threads=HOUSEKEEPING
        ),
    ]
    if elsewhere is not None:
        far = Layout(elsewhere=elsewhere)
        trips += [
            Scenario("done-elsewhere", "done", Site.drop, layout=far),
            Scenario("failed-elsewhere", "failed", Site.drop, layout=far, known=False),
            Scenario("retry-failed-elsewhere", "done", _retry, template="failed", layout=far),
            Scenario("retry-cancelled-elsewhere", "done", _retry, template="cancelled", layout=far),
        ]
    return trips


def other_file_system(than: Path) -> Path | None:
    """A folder for temporary files on another file system than `than`."""
    for folder in map(Path, ("/dev/shm", "/var/tmp", "/tmp")):  # noqa: S108 - a place to look, nothing is opened
        if folder.is_dir() and os.access(folder, os.W_OK) and folder.stat().st_dev != than.stat().st_dev:
            return folder
    return None


def make_templates(folder: Path, launcher: Launcher) -> None:
    """The sites that trips begin from, made by daemons that nobody disturbs."""
    with Scenario("failed", "failed", Site.drop, known=False).site(folder / "making-failed", folder) as site:
        _undisturbed(site, launcher, Site.drop, "failed")
        site.keep(folder / "failed")
    with Scenario("done", "done", Site.drop).site(folder / "making-done", folder) as site:
        _undisturbed(site, launcher, Site.drop, "done")
        site.keep(folder / "done")
    with Scenario("waiting", "waiting", Site.drop).site(folder / "making-waiting", folder) as site:
        site.apis.fail_for(lambda r: r.api is Api.UPLOAD and len(site.apis.instances) > 0, status=429, headers=AN_HOUR)
        _undisturbed(site, launcher, Site.drop, "waiting")
        site.keep(folder / "waiting")
    with Scenario("cancelled", "cancelled", _cancel, "waiting").site(folder / "making-cancelled", folder) as site:
        _undisturbed(site, launcher, _cancel, "cancelled")
        site.keep(folder / "cancelled")
    for made in folder.glob("making-*"):
        shutil.rmtree(made)


def start(site: Site, launcher: Launcher) -> Daemon:
    return launcher.start(site.config, site.root / "log", site.root / "gate", site.passed)


def _undisturbed(site: Site, launcher: Launcher, act: Callable[[Site], None], state: str) -> None:
    daemon = start(site, launcher)
    daemon.begin()
    assert daemon.wait_ready(), daemon.said()
    act(site)
    until(lambda: site.state_now() == state, f"{state}: {daemon.said()}")
    daemon.terminate()
    assert daemon.wait() == 0, daemon.said()


def _retry(site: Site) -> None:
    site.ask("retry")


def _cancel(site: Site) -> None:
    site.ask("cancel")
