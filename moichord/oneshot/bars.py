"""Progress bars on a terminal: one for all images together, one for each that is on its way.

Owns the display of the one-shot, on standard error. It must not know requests or files. No error leaves it.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from moichord.sample import Image, printable

NAME_WIDTH = 32


@contextmanager
def bars() -> Iterator["Bars"]:
    """A display that vanishes when the context ends; what is written meanwhile scrolls above it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield Bars(display)


class Bars:
    """A `progress.Progress`."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._lock = threading.Lock()
        self._whole = display.add_task("", total=None)
        self._sizes: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._on_their_way: dict[str, TaskID] = {}

    def at(self, what: str) -> None:
        self._display.update(self._whole, description=escape(what))

    def expect(self, images: Iterable[Image]) -> None:
        with self._lock:
            self._sizes = {image.relative_path: image.sent_length for image in images if image.to_send}
            self._display.update(self._whole, total=sum(self._sizes.values()))

    def sent(self, submission: str, relative_path: str, sent: int | None) -> None:  # noqa: ARG002
        with self._lock:
            if sent is None:
                self._ended(relative_path)
            else:
                self._goes_on(relative_path, sent)
            self._display.update(self._whole, completed=sum(self._gone.values()))

    def _goes_on(self, relative_path: str, sent: int) -> None:
        if relative_path not in self._on_their_way:
            name = escape(_shortened(printable(relative_path)))
            self._on_their_way[relative_path] = self._display.add_task(name, total=self._sizes[relative_path])
        self._gone[relative_path] = sent
        self._display.update(self._on_their_way[relative_path], completed=sent)

    def _ended(self, relative_path: str) -> None:
        task = self._on_their_way.pop(relative_path, None)
        if task is not None:
            self._display.remove_task(task)
        if self._gone.get(relative_path, 0) < self._sizes[relative_path]:
            self._gone.pop(relative_path, None)  # it will be sent again from its beginning


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"
