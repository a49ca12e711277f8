"""A tagged image as an HTTP body: opened when it is to be sent, verified against its plan, streamed, digested.

Owns that only what was planned is sent. It must not know requests or the journal. Errors: SampleFailure, Moved.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from moichord.dicom import Changed, ImageStream, PositionedFile, Streamed, TaggedImage
from moichord.pipeline.image_files import as_planned, changed_while_sent, has_stamp_of, opened
from moichord.pipeline.new_headers import NewHeaders
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import Image

Sent = Callable[[int], None]

ASIDE_FROM = 16 * 1024 * 1024
"""Bytes from which on digesting in a thread of its own is worth that thread."""


class ImageBody:
    """One image of a sample, as planned. Its file is open from `prepare`, or `open`, until it is closed.

    Blocks are views into `buffer`, valid until the next one; whoever asks for that has sent the one before, and
    `on_sent` is told how many bytes of the image these are together. What it raises ends the request.
    """

    def __init__(
        self, folder: Path, image: Image, tagging: Tagging, buffer: bytearray, on_sent: Sent, headers: NewHeaders
    ) -> None:
        self.image = image
        self.tail_digest: str | None = None
        """BLAKE3 of the untouched part as it was sent; None before all of it was."""
        self._folder = folder
        self._tagging = tagging
        self._buffer = buffer
        self._on_sent = on_sent
        self._files = ExitStack()
        self._headers = headers
        self._tagged: Streamed | None = None
        self._stream: ImageStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def length(self) -> int:
        return self.image.sent_length

    def prepare(self) -> Streamed:
        """Open the file, if it is not, and make sure that it gives what was planned."""
        if self._tagged is not None:
            return self._tagged
        with ExitStack() as files:
            file = files.enter_context(opened(self._folder, self.image.relative_path))
            if not has_stamp_of(file, self.image):
                raise changed_while_sent(self.image.relative_path)
            tagged = self._headers.of(file, self.image) or self._made_anew(file)
            self._files = files.pop_all()
        self._tagged = tagged
        return tagged

    def _made_anew(self, file: PositionedFile) -> TaggedImage:
        try:
            return as_planned(file, self.image, self._tagging)
        except Changed as error:
            raise changed_while_sent(self.image.relative_path) from error

    def open(self) -> Self:
        if self._stream is not None:
            self._stream.close()
        self._stream = ImageStream(self.prepare(), self._buffer, aside=self.length >= ASIDE_FROM)
        return self

    def read(self, size: int, /) -> Any:
        """The next block of the body that was opened last."""
        if self._stream is None:
            raise ValueError("read before it was opened")
        if sent := self._stream.tell():
            self._on_sent(sent)
        try:
            return self._stream.read(size)
        except Changed as error:
            raise changed_while_sent(self.image.relative_path) from error

    def close(self) -> None:
        """Close the file, and let go of the header; the digest stays."""
        if self._stream is not None:
            self.tail_digest = self._stream.tail_digest
            self._stream.close()
        self._stream = self._tagged = None
        self._files.close()
