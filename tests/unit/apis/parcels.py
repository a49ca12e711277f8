"""Bodies and parcels for the tests of the upload protocols."""

from dataclasses import dataclass
from typing import Any

from moichord.apis.bodies import Body, BytesBody
from moichord.apis.upload import Instance, Parcel

UID = "1.2.840.1"
CONTENT = bytes(range(256)) * 20


def instance(
    content: bytes = CONTENT, uid: str = UID, *, maybe_stored: bool = False, patient_id: str | None = None
) -> Instance:
    return Instance(BytesBody(content), uid, maybe_stored=maybe_stored, patient_id=patient_id)


def parcel(*instances: Instance, accept_already_stored: bool = True, **fields: str) -> Parcel:
    chosen = instances or (instance(),)
    return Parcel(chosen, "key-1", accept_already_stored, headers={"X-Lab": "north"}, fields=fields)


def whole(body: Body, block: int = 1 << 20) -> bytes:
    """Everything that a body gives, read in blocks of this size; it must be as long as it says."""
    stream = body.open()
    pieces = []
    while piece := bytes(stream.read(block)):
        assert len(piece) <= block
        pieces.append(piece)
    stream.close()
    content = b"".join(pieces)
    assert len(content) == body.length
    return content


@dataclass(frozen=True)
class OnlyLength:
    """A body of which nobody may read a byte."""

    length: int

    def open(self) -> Any:
        raise AssertionError("it was opened")
