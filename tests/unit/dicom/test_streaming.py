"""The digest of an image is of the very bytes that are sent, also when another thread computes it meanwhile."""

import threading
from collections.abc import Callable

import pytest
from blake3 import blake3

from moichord.dicom import ImageStream, PositionedFile, TaggedImage, inspect
from moichord.dicom import digesting as digesting_room
from moichord.dicom.digesting import DigestAside
from tests.builders import image_bytes

Open = Callable[[bytes], PositionedFile]
PATIENCE = 30.0


class Slow:
    """A BLAKE3 that reads a block only when it is let, one block for each permission."""

    def __init__(self) -> None:
        self.reads = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.read: list[bytes] = []

    def update(self, block: memoryview) -> None:
        self.begun.release()
        assert self.reads.acquire(timeout=PATIENCE)
        self.read.append(bytes(block))

    def hexdigest(self) -> str:
        return blake3(b"".join(self.read)).hexdigest()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(digesting_room, "blake3", lambda: made)
    return made


def whole(open_file: Open, content: bytes) -> TaggedImage:
    file = open_file(content)
    return TaggedImage(file, inspect(file))


@pytest.mark.parametrize("size", [1, 300, 501, 4096])
@pytest.mark.parametrize("rows", [1, 37, 400])
def test_digesting_aside_changes_neither_the_bytes_nor_the_digest(open_file: Open, size: int, rows: int) -> None:
    content = image_bytes(rows=rows, columns=20)
    image = whole(open_file, content)
    body = image.stream(bytearray(1000), aside=True)
    sent = b"".join(iter(lambda: bytes(body.read(size)), b""))
    assert sent == content
    assert body.tail_digest == blake3(content[image.tail_offset :]).hexdigest()
    body.rewind()
    assert body.tail_digest is None
    assert b"".join(map(bytes, body)) == content
    assert body.tail_digest == blake3(content[image.tail_offset :]).hexdigest()
    body.close()


def test_a_block_is_given_out_while_it_is_still_being_digested_and_its_place_is_not_filled_before(
    open_file: Open, slow: Slow
) -> None:
    content = image_bytes(rows=400, columns=20)
    image = whole(open_file, content)
    body = image.stream(bytearray(2000), aside=True)
    first, copy = body.read(1000), bytes(content[:1000])
    assert slow.begun.acquire(timeout=PATIENCE)  # and not ended
    assert bytes(first) == copy
    third_is_read = threading.Event()

    def go_on() -> None:
        body.read(1000)
        body.read(1000)
        third_is_read.set()

    thread = threading.Thread(target=go_on)
    thread.start()
    assert bytes(first) == copy  # the second block waits for the digest of the first
    slow.reads.release()
    assert slow.begun.acquire(timeout=PATIENCE)  # the second is being digested, so the first has been
    assert not third_is_read.is_set()
    for _ in range(20):
        slow.reads.release()
    thread.join()
    while body.read(1000):
        pass
    assert body.tail_digest == blake3(content[image.tail_offset :]).hexdigest()
    body.close()


def test_what_is_read_into_a_buffer_of_others_is_digested_before_they_have_it_back(open_file: Open) -> None:
    content = image_bytes(rows=400, columns=20)
    image = whole(open_file, content)
    body = ImageStream(image, bytearray(1000), aside=True)
    theirs = bytearray(700)
    while body.readinto(theirs):
        theirs[:] = bytes(700)
    assert body.tail_digest == blake3(content[image.tail_offset :]).hexdigest()
    body.close()


def test_what_goes_wrong_with_a_digest_is_told_to_whoever_asks_for_it() -> None:
    digest = DigestAside()
    digest.update("no block")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        digest.hexdigest()
    digest.close()


def test_a_body_that_is_closed_leaves_no_thread_behind(open_file: Open) -> None:
    body = whole(open_file, image_bytes(rows=400, columns=20)).stream(bytearray(1000), aside=True)
    body.read(500)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("digest")]
    body.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("digest")]
