"""What a browser sends: a small form, and the token that says that the page itself has sent it.

Owns the reading of bodies, bounded. It must not know what is asked for. Errors: Starlette's HTTPException.
"""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from moichord.status.web.guard import Visitor
from moichord.status.web.sessions import Seal

LARGEST = 8 * 1024


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that the page has sent. Raises HTTPException for one that it has not."""
    fields = parse_qs((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    form = {name: values[-1] for name, values in fields.items()}
    visitor: Visitor = request.state.visitor
    seal: Seal = request.state.seal
    if not seal.is_token(visitor.session, form.get("token", "")):
        raise HTTPException(403, "This form is too old. Go back, load the page again, and repeat it.")
    return form


async def is_from_a_program(request: Request) -> bool:
    """Whether the body is JSON, which no form of another site can send; the body is read, and otherwise ignored."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return False
    await _body(request)
    return True


def own_path(wanted: str) -> str:
    """A path of this page; `/` instead of anything that leads elsewhere."""
    strange = not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or not wanted.isprintable()
    return "/" if strange else wanted


async def _body(request: Request) -> bytes:
    read = b""
    async for piece in request.stream():
        read += piece
        if len(read) > LARGEST:
            raise HTTPException(413, "That is too much for a form.")
    return read
