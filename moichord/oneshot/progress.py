"""How far the one-shot is: told to whoever shows it, on a terminal and nowhere else.

Owns the words between the run and its display. It must not know requests, files or terminals. No error leaves it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from moichord.sample import Image


class Progress(Protocol):
    """What the one-shot tells of its way. Images report from several threads."""

    def at(self, what: str) -> None:
        """`what` is being done now."""
        ...

    def expect(self, images: Iterable[Image]) -> None:
        """These images are about to be sent."""
        ...

    def sent(self, submission: str, relative_path: str, sent: int | None) -> None:
        """So many bytes of an image have gone out; None when its request has ended."""
        ...


class Silence:
    """Shows nothing."""

    def at(self, what: str) -> None: ...

    def expect(self, images: Iterable[Image]) -> None: ...

    def sent(self, submission: str, relative_path: str, sent: int | None) -> None: ...


@contextmanager
def showing(stream: TextIO) -> Iterator[Progress]:
    """A display on standard error for as long as the context lasts, if that is a terminal."""
    if not stream.isatty():
        yield Silence()
        return
    # Loaded only where something is shown: the library takes longer than all the rest.
    from moichord.oneshot.bars import bars

    with bars() as shown:
        yield shown
