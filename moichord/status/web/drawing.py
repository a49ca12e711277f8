"""The templates: drawn by Jinja2, every text escaped.

Owns how a page is put together, and the lines that were drawn last: what has not changed is not drawn again. It must
not know what it says. No error leaves it: a template that is wrong is a fault.
"""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from moichord import __version__
from moichord.status.web.rows import Row

LINES = 1000
FOLDER = files("moichord.status.web").joinpath("templates")


def environment() -> Environment:
    """Draws `templates/*.html`. A name that a template uses and nobody gives is an error."""
    made = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals["version"] = __version__
    made.globals["glyphs"] = GLYPHS

    @lru_cache(LINES)
    def drawn(row: Row, following: str, token: str) -> Any:
        return vars(made.get_template("parts.html").module)["row_as_line"](row, following, token)

    def line(row: Row, following: str, token: str) -> Any:
        """The row as a line, escaped. Its form, if it has one, carries the token and leads to the page `following`."""
        return drawn(row, following, token if row.can_retry else "")

    made.globals["line"] = line
    return made


def _source(name: str) -> str:
    return FOLDER.joinpath(name).read_text("utf-8")


GLYPHS: dict[str, Any] = {
    "good": "M5 12.5l4.5 4.5L19 7.5",
    "news": "M12 5v14M6 11l6-6 6 6",
    "warning": "M12 7v6.5M12 17v.5",
    "problem": "M12 7v6.5M12 17v.5",
    "quiet": "M7 12h10",
}
"""Strokes in a square of 24: what says the same as a colour."""
