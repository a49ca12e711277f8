"""JSON as it is answered: ASCII only, so that no name can play tricks, and any program reads it.

Owns that form. No error leaves it.
"""

import json
from typing import Any

from starlette.responses import JSONResponse


class AsciiJson(JSONResponse):
    """What is no ASCII becomes an escape."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")
