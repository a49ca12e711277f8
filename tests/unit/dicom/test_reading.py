import os
from pathlib import Path

import pytest

from moichord.dicom import Changed, PositionedFile
from moichord.dicom.reading import Window
from tests.unit.dicom.conftest import Open


def test_reads_stop_at_the_end_of_the_file(open_file: Open) -> None:
    file = open_file(b"0123456789")
    assert (file.size, file.read_at(2, 3), file.read_at(8, 10), file.read_at(20, 4)) == (10, b"234", b"89", b"")
    target = bytearray(6)
    assert file.read_into(7, memoryview(target)) == 3
    assert target[:3] == b"789"


def test_the_beginning_of_a_file_is_read_once(open_file: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 256
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        reads.append((offset, count))
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    file = open_file(content)
    for offset in range(0, 32 * 1024, 100):
        assert file.read_at(offset, 60) == content[offset : offset + 60]
    assert reads == [(0, 32 * 1024)]
    assert file.read_at(32_000, 1000) == content[32_000:33_000]
    assert reads[1:] == [(32_000, 1000)]


def test_a_system_without_positioned_reads_gives_the_same(open_file: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread", raising=False)
    monkeypatch.delattr(os, "preadv", raising=False)
    file = open_file(b"0123456789")
    target = bytearray(6)
    assert file.read_at(2, 3) == b"234"
    assert file.read_into(7, memoryview(target)) == 3
    assert target[:3] == b"789"


def test_a_file_that_is_written_to_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"one")
    with path.open("rb") as opened:
        file = PositionedFile(opened)
        file.require_unchanged()
        path.write_bytes(b"one more")
        assert file.changed()
        with pytest.raises(Changed, match="changed while it was being read"):
            file.require_unchanged()


@pytest.mark.parametrize("step", [1, 7, 5000, 300_000])
def test_a_window_shows_the_same_bytes_as_the_file(open_file: Open, step: int) -> None:
    content = bytes(range(256)) * 4000
    window = Window(open_file(content))
    for offset in range(0, len(content) - 12, step * 97):
        assert window.bytes_at(offset, 12) == content[offset : offset + 12]


def test_a_window_stays_small_and_says_when_the_file_ends(open_file: Open) -> None:
    window = Window(open_file(bytes(3_000_000)))
    for offset in range(0, 2_000_000, 1000):
        window.show(offset, 8)
    assert len(window.buffer) <= 256 * 1024
    assert window.show(2_999_996, 8) == -1
    assert window.bytes_at(2_999_996, 8) == bytes(4)
