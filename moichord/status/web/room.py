"""The page of one daemon, wired together and not started yet.

Owns which part is given to which, and what a reload exchanges. It must not know what the parts do. No error leaves it.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from starlette.types import ASGIApp

from moichord.clock import Clock
from moichord.config import Address, Settings, Web
from moichord.queue.database import Database
from moichord.queue.listings import Listings
from moichord.queue.page_key import page_key
from moichord.queue.requests import Requests
from moichord.queue.views import Views
from moichord.sample import Submission
from moichord.status.web.application import Outside, application
from moichord.status.web.decoder import Decoder
from moichord.status.web.desk import Desk
from moichord.status.web.drawing import environment
from moichord.status.web.live import Live
from moichord.status.web.pages import ROWS
from moichord.status.web.passwords import People
from moichord.status.web.pictures import Cache, Pictures, place_of
from moichord.status.web.present import SOONEST, Present
from moichord.status.web.server import PageServer

CACHE = "thumbnails"


class Page:
    """The page: `run` serves it in the calling thread. `hindrances` are sentences about disks and folders."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        hindrances: Callable[[], Iterable[str]],
        *,
        soonest: float = SOONEST,
    ) -> None:
        self._folders = settings.folders
        self._state = settings.state
        self._database = database
        self._clock = clock
        self._outside = Outside(hindrances, _places(settings))
        self._decoder = Decoder(clock)
        self._present = Present(database, settings.folders.failed, clock, soonest=soonest, most=ROWS)
        self._everything = Present(database, settings.folders.failed, clock, soonest=soonest)
        self._server = PageServer(settings.web.listen, self.application, self._present.look_again, clock)
        self._enabled = settings.web.enabled
        self.adopt(settings)

    def adopt(self, settings: Settings) -> None:
        """From now on go by these settings, as far as they need no restart."""
        self._web = settings.web
        self._people = People(settings.web.password_file)

    @property
    def notices(self) -> list[str]:
        """What people should know who do not see the page."""
        return self._server.notices

    def address_once_it_listens(self, seconds: float) -> Address | None:
        """Where the page is; None if it is nowhere within that time."""
        return self._server.address_once_it_listens(seconds)

    def run(self, stopping: threading.Event) -> None:
        """Serve the page until `stopping` is set; return at once if there is to be none."""
        if not self._enabled:
            stopping.wait()
            return
        try:
            self._server.run(stopping)
        finally:
            self._decoder.close()
            self._present.close()
            self._everything.close()

    def application(self, live: Live) -> ASGIApp:
        """Everything that answers requests."""
        views, listings = Views(self._database), Listings(self._database)
        desk = Desk(
            views,
            listings,
            Requests(self._database, self._clock),
            self._present,
            self._everything,
            self._settings_now,
            self._people_now,
            self._place,
            environment(),
            self._clock,
        )
        cache = Cache(_cache_beside(self._state))
        pictures = Pictures(views, listings, self._place, self._decoder, cache, self._labels_may_be_shown)
        return application(desk, pictures, live, page_key(self._database), self._outside)

    def _settings_now(self) -> Web:
        return self._web

    def _people_now(self) -> People:
        return self._people

    def _labels_may_be_shown(self) -> bool:
        return self._web.show_patient_data

    def _place(self, submission: Submission) -> Path:
        return place_of(submission, self._folders)


def _places(settings: Settings) -> Mapping[str, Path]:
    folders = settings.folders
    named = {"inbox": folders.inbox, "work": folders.work, "done": folders.done, "failed": folders.failed}
    return {**named, "state": settings.state.parent}


def _cache_beside(state: Path) -> Path:
    return state.with_name(f"{state.name}.{CACHE}")
