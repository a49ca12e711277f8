"""A reason, for people who are not to see values of patients.

Owns what of a sentence is hidden: what a server wrote, and what stands in quotes, which are the values of images and
records. It must not know who reads it. Pure; no error leaves it.
"""

import re

HIDDEN = "(hidden)"
_SERVER = re.compile(r"(?<=The server wrote: ).*", re.DOTALL)
# An apostrophe within a word is none of a quotation's. Quotations are those of Python's repr.
_QUOTED = re.compile(r"""(?<!\w)(?P<mark>['"])(?:\\.|(?!(?P=mark)).)*(?P=mark)(?!\w)""", re.DOTALL)


def veiled(text: str) -> str:
    """`text` without what it quotes."""
    return _QUOTED.sub(HIDDEN, _SERVER.sub(HIDDEN, text))
