"""Opens bytes as files, for the tests of this room."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moichord.dicom import PositionedFile

Open = Callable[[bytes], PositionedFile]


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Open]:
    """Write bytes to a new file and open it; closed when the test ends."""
    with ExitStack() as stack:
        count = 0

        def open_bytes(content: bytes) -> PositionedFile:
            nonlocal count
            count += 1
            path = tmp_path / f"{count}.dcm"
            path.write_bytes(content)
            return PositionedFile(stack.enter_context(path.open("rb")))

        yield open_bytes
