"""Our own secrets in what a server answers: careless ones quote what they were sent.

Owns the masking of an answer's bytes. It must not know what is done with answers. Pure; no error leaves it.
"""

import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote

MASK = b"***"
SHORTEST = 8
"""What is shorter may be a word of any answer, which must stay what it is: it may become a tag."""


class Mask:
    """Replaces `words`, however an answer spells them, by `***`."""

    def __init__(self, words: Iterable[str]) -> None:
        found = {spelling for word in words for spelling in _spellings(word)}
        self._found = sorted(found, key=len, reverse=True)

    def __call__(self, content: bytes) -> bytes:
        for one in self._found:
            if one in content:
                content = content.replace(one, MASK)
        return content


def _spellings(word: str) -> Iterator[bytes]:
    # Of "Bearer abc", also what follows the scheme.
    for one in {word, word.partition(" ")[2]}:
        if len(one) >= SHORTEST:
            plain = json.dumps(one)[1:-1]
            yield from (text.encode() for text in (one, plain, plain.replace("/", "\\/"), quote(one, safe="")))
