"""Thumbnails: of an image, and of a sample, whose smallest image that can be shown it is.

Owns the cache beside the state. Only images that the state knows are looked at, and only where their sample lies. It
must not know how an image is decoded. No error leaves it: what cannot be shown is a neutral tile.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from moichord import durable
from moichord.config import Folders
from moichord.queue.listings import KnownImage, Listings
from moichord.queue.views import Views
from moichord.sample import FINISHED, State, Submission, native
from moichord.status.web.decoder import Decoder, NotNow

log = logging.getLogger(__name__)

CANDIDATES = 6
MOST_SAMPLES = 2000
KEPT_BY_BROWSERS = "private, max-age=86400"
ASKED_AGAIN_SOON = "private, max-age=5"
ASKED_AGAIN_LATER = "private, max-age=3600"
TILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">'
    '<rect width="64" height="64" fill="#8a97a3" fill-opacity=".18"/>'
    '<g fill="none" stroke="#8a97a3" stroke-width="2.5">'
    '<circle cx="26" cy="28" r="9"/><circle cx="41" cy="37" r="7"/></g>'
    "</svg>"
)


class Cache:
    """Pictures in folders of their submissions. An empty file says that there is none."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, uuid: str, name: str) -> bytes | None:
        """What is kept under that name; None if nothing is."""
        try:
            return (self._root / uuid / name).read_bytes()
        except OSError:
            return None

    def put(self, uuid: str, name: str, picture: bytes) -> None:
        """Keep it, if the disk allows."""
        folder = self._root / uuid
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
            if not folder.is_dir():
                self._make_room()
                folder.mkdir(mode=0o700)
            temporary = folder / f"{durable.TEMPORARY_PREFIX}{name}"
            temporary.write_bytes(picture)
            temporary.replace(folder / name)
        except OSError as error:
            log.debug("a thumbnail is not kept: %s", error)

    def _make_room(self) -> None:
        """The eldest half goes when there are many; they are made again when somebody looks."""
        folders = [one for one in self._root.iterdir() if one.is_dir()]
        if len(folders) < MOST_SAMPLES:
            return
        for folder in sorted(folders, key=lambda one: one.stat().st_mtime)[: MOST_SAMPLES // 2]:
            with suppress(OSError):
                shutil.rmtree(folder)


class Pictures:
    """The endpoints. `place` says where a sample lies now, `identifying` whether labels may be shown."""

    def __init__(
        self,
        views: Views,
        listings: Listings,
        place: Callable[[Submission], Path],
        decoder: Decoder,
        cache: Cache,
        identifying: Callable[[], bool],
    ) -> None:
        self._views = views
        self._listings = listings
        self._place = place
        self._decoder = decoder
        self._cache = cache
        self._identifying = identifying
        self._turn = asyncio.Semaphore(1)  # those who wait for the decoder take no thread

    async def of_sample(self, request: Request) -> Response:
        """The smallest image of the sample that can be shown."""
        return await self._answer(request.path_params["uuid"], None)

    async def of_image(self, request: Request) -> Response:
        """That image."""
        return await self._answer(request.path_params["uuid"], request.path_params["number"])

    async def _answer(self, uuid: str, number: int | None) -> Response:
        identifying = self._identifying()
        name = f"{'sample' if number is None else number}{'.all' if identifying else ''}.jpg"
        submission = await run_in_threadpool(self._views.newest, uuid)
        if submission is None or submission.uuid != uuid:
            raise HTTPException(404, "No such sample is known here.")
        picture = await run_in_threadpool(self._cache.get, uuid, name)
        if picture is None:
            async with self._turn:
                picture = await run_in_threadpool(self._make, submission, number, name, identifying)
        if picture:
            return Response(picture, media_type="image/jpeg", headers={"Cache-Control": KEPT_BY_BROWSERS})
        kept = ASKED_AGAIN_SOON if picture is None else ASKED_AGAIN_LATER
        return Response(TILE, media_type="image/svg+xml", headers={"Cache-Control": kept})

    def _make(self, submission: Submission, number: int | None, name: str, identifying: bool) -> bytes | None:
        if (kept := self._cache.get(submission.uuid, name)) is not None:
            return kept  # somebody else has asked for it meanwhile
        if number is None:
            images = self._listings.smallest_images(submission.uuid, CANDIDATES)
        else:
            found = self._listings.image(submission.uuid, number)
            images = [] if found is None else [found]
        if not images:
            return None
        try:
            picture = self._first(submission, images, identifying) or b""
        except NotNow:
            return None
        self._cache.put(submission.uuid, name, picture)
        return picture

    def _first(self, submission: Submission, images: list[KnownImage], identifying: bool) -> bytes | None:
        folder = self._place(submission)
        pictures = (self._decoder.picture(native(folder, one.relative_path), identifying=identifying) for one in images)
        return next((picture for picture in pictures if picture), None)


def place_of(submission: Submission, folders: Folders) -> Path:
    """Where the folder of a sample lies that has been taken."""
    if submission.state not in FINISHED:
        return folders.work / submission.uuid / submission.folder_name
    root = folders.done if submission.state is State.DONE else folders.failed
    return root / (submission.place or submission.folder_name)
