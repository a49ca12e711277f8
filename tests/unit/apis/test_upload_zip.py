"""Upload protocol zip: an archive that others can read, at any size, and an answer for every image of it."""

import io
import json
import socket
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Self

import pytest

from moichord.apis.bodies import BodyLengthWrong, BytesBody
from moichord.apis.upload import Instance, Stored, zip_archive
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.zip import ZipUpload
from moichord.apis.upload.zip_archive import ZipArchive
from moichord.errors import ApiFailure, ApiRefusal, ApiTransient
from tests.fault_server import FaultServer, Peer, answering, reply
from tests.unit.apis.endpoints import client
from tests.unit.apis.parcels import CONTENT, OnlyLength, instance, parcel, whole

GIB = 1 << 30
UIDS = ("1.2.1", "1.2.2", "1.2.3")


def archive(*contents: bytes) -> ZipArchive:
    return ZipArchive([(f"{number}.dcm", BytesBody(content)) for number, content in enumerate(contents)])


def test_the_archive_holds_every_file_as_it_is() -> None:
    contents = (CONTENT, b"", b"DICM" * 999)
    with zipfile.ZipFile(io.BytesIO(whole(archive(*contents)))) as read:
        assert read.testzip() is None
        assert read.namelist() == ["0.dcm", "1.dcm", "2.dcm"]
        assert [read.read(name) for name in read.namelist()] == list(contents)
        assert {info.compress_type for info in read.infolist()} == {zipfile.ZIP_STORED}
        assert {info.external_attr >> 16 for info in read.infolist()} == {0o100644}


@pytest.mark.parametrize("block", [1, 7, 4096, 1 << 20])
def test_an_archive_can_be_opened_again_and_is_the_same_byte_for_byte(block: int) -> None:
    one = archive(CONTENT, b"x")
    assert whole(one, block) == whole(one)


def test_the_sizes_in_the_descriptors_are_those_of_the_files() -> None:
    content = whole(archive(CONTENT))
    descriptor = struct.pack("<4s3L", b"PK\x07\x08", zlib.crc32(CONTENT), len(CONTENT), len(CONTENT))
    assert CONTENT + descriptor + b"PK\x01\x02" in content


@pytest.mark.parametrize("count", [65_534, 65_535])
def test_more_files_than_the_old_format_can_count_are_all_there(count: int) -> None:
    content = whole(ZipArchive([(str(number), BytesBody(b"")) for number in range(count)]))
    assert (b"PK\x06\x06" in content) is (count >= 65_535)
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert len(read.namelist()) == count


LARGE_FILE, FAR_FILE, FAR_DIRECTORY = 20 + 8 + 20, 12, 56 + 20
"""Bytes that ZIP64 adds: in the local header, the descriptor and the directory; in the directory; at its end."""


@pytest.mark.parametrize(
    ("sizes", "added"),
    [
        ([0xFFFFFFFF - 200], 0),
        ([0xFFFFFFFF - 1], FAR_DIRECTORY),
        ([0xFFFFFFFF], LARGE_FILE + FAR_DIRECTORY),
        ([5 * GIB], LARGE_FILE + FAR_DIRECTORY),
        ([3 * GIB, 3 * GIB], FAR_DIRECTORY),
        ([3 * GIB, 3 * GIB, 1], FAR_DIRECTORY + FAR_FILE),
    ],
)
def test_zip64_is_used_where_it_must_be_and_only_there(sizes: list[int], added: int) -> None:
    empty = ZipArchive([("x", OnlyLength(0)) for _ in sizes]).length
    assert ZipArchive([("x", OnlyLength(size)) for size in sizes]).length == empty + sum(sizes) + added


class Hollow(io.RawIOBase):
    """What was received, its middle forgotten: that was zeros. Enough of a file for a reader of archives."""

    def __init__(self, first: bytes, last: bytes, size: int) -> None:
        self._first, self._last, self._size = first, last, size
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        start_of_last = self._size - len(self._last)
        for index, position in enumerate(range(self._position, end)):
            if position < len(self._first):
                buffer[index] = self._first[position]
            else:
                buffer[index] = self._last[position - start_of_last] if position >= start_of_last else 0
        count = max(0, end - self._position)
        self._position += count
        return count


class Zeros:
    """So many of them, from one buffer: touching fresh memory, as reading a file does, took most of the time."""

    def __init__(self, length: int) -> None:
        self.length = self._left = length
        self._buffer = memoryview(bytes(1 << 20))

    def open(self) -> Self:
        self._left = self.length
        return self

    def read(self, size: int, /) -> memoryview:
        block = self._buffer[: min(size, self._left)]
        self._left -= len(block)
        return block

    def close(self) -> None:
        """Nothing is open."""


def test_an_archive_beyond_4_gib_arrives_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a socket; what the server keeps of it is read by another implementation.

    Checksums that are true are tested with small archives. Here they count, which takes a tenth of the time.
    """
    monkeypatch.setattr(zip_archive, "crc32", lambda block, before: (before + len(block)) & 0xFFFFFFFF)
    size, kept = 4 * GIB + 3 * (1 << 20) + 4096, 4096
    received: dict[str, Any] = {}

    def counting(peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        expected = int(seen.headers["content-length"])
        peer.body(seen, kept)
        count = len(seen.body) + len(peer._pending)
        count += discarded(peer.connection, expected - kept - count)
        last = b""
        while count < expected and (got := peer.connection.recv(kept)):
            count += len(got)
            last += got
        received.update(first=bytes(seen.body), last=last, size=count, expected=expected)
        peer.send(reply(200))

    instances = [Instance(Zeros(size), "1.2.1"), Instance(BytesBody(b"DICM"), "1.2.2")]
    with FaultServer(counting) as server:
        assert len(ZipUpload(client(server.url), Acceptance(frozenset({200}))).send(parcel(*instances))) == 2

    assert received["size"] == received["expected"] > size
    with zipfile.ZipFile(Hollow(received["first"], received["last"], received["size"])) as read:  # type: ignore[call-overload]
        large, small = read.infolist()
        assert (large.filename, large.file_size, large.CRC) == ("1.2.1.dcm", size, size & 0xFFFFFFFF)
        assert small.header_offset > size
        assert (small.filename, small.file_size, small.CRC) == ("1.2.2.dcm", 4, 4)


def discarded(connection: socket.socket, wanted: int) -> int:
    """Take so many bytes without looking at them; tcp(7): MSG_TRUNC."""
    nowhere, count = bytearray(1 << 20), 0
    while count < wanted and (
        got := connection.recv_into(nowhere, min(len(nowhere), wanted - count), socket.MSG_TRUNC)
    ):
        count += got
    return count


def test_a_file_that_gives_less_than_it_said_ends_the_request() -> None:
    class Shrunk(BytesBody):
        @property
        def length(self) -> int:
            return len(self.content) + 1

    with FaultServer(answering()) as server, pytest.raises(BodyLengthWrong):
        ZipUpload(client(server.url), Acceptance(frozenset({200}))).send(parcel(Instance(Shrunk(b"abc"), "1.2.1")))


# What the answer says of each


def upload(status: int, said: object, *, maybe_stored: Sequence[bool] = (False,) * 3, accept: bool = True) -> Any:
    instances = [instance(uid=uid, maybe_stored=maybe) for uid, maybe in zip(UIDS, maybe_stored, strict=True)]
    with FaultServer(answering(status, json.dumps(said).encode())) as server:
        uploader = ZipUpload(client(server.url), Acceptance(frozenset({200})))
        assert uploader.takes_whole_samples
        return uploader.send(parcel(*instances, accept_already_stored=accept))


def orthanc(*words: str) -> list[dict[str, str]]:
    return [{"ID": f"id-{number}", "Status": word} for number, word in enumerate(words)]


def refused(*arguments: Any, **more: Any) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        upload(*arguments, **more)
    return caught.value


def test_a_server_that_says_nothing_of_single_images_has_them_all() -> None:
    assert upload(200, {"ok": True}) == (Stored(200, {"ok": True}),) * 3


def test_orthancs_word_for_each_image_is_kept_with_it() -> None:
    said = orthanc("Success", "AlreadyStored", "Success")
    stored = upload(200, said)
    assert [one.reply for one in stored] == said
    assert [one.already_stored for one in stored] == [False, True, False]


@pytest.mark.parametrize("word", ["Failure", "FilteredOut"])
def test_one_image_that_orthanc_did_not_store_fails_them_all(word: str) -> None:
    failure = refused(200, orthanc("Success", word, "Success"))
    assert isinstance(failure, ApiRefusal)
    assert failure.maybe_done, "the others are stored"
    assert word in failure.problem


@pytest.mark.parametrize("said", [orthanc("Success", "Success"), orthanc(*["Success"] * 4)])
def test_an_image_that_orthanc_does_not_speak_of_fails_them_all(said: object) -> None:
    failure = refused(200, said)
    assert isinstance(failure, ApiRefusal)
    assert "was sent 3" in failure.problem


def test_where_already_stored_is_to_fail_only_our_own_images_may_be_there() -> None:
    said = orthanc("AlreadyStored", "AlreadyStored", "Success")
    assert upload(200, said, accept=False, maybe_stored=(True, True, False))
    assert "already holds" in refused(200, said, accept=False, maybe_stored=(True, False, True)).problem


def test_a_conflict_means_that_all_of_them_are_there() -> None:
    assert [one.already_stored for one in upload(409, {})] == [True] * 3
    assert upload(409, {}, accept=False, maybe_stored=(True,) * 3)
    assert isinstance(refused(409, {}, accept=False, maybe_stored=(True, True, False)), ApiRefusal)


@pytest.mark.parametrize(("status", "kind"), [(503, ApiTransient), (413, ApiRefusal)])
def test_other_answers_are_what_the_table_says(status: int, kind: type) -> None:
    assert type(refused(status, {})) is kind
