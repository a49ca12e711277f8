"""New headers are kept from the plan until they are sent; what has been touched since is looked at anew."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.dicom import PositionedFile, TaggedImage, inspect
from moichord.pipeline import image_body
from moichord.pipeline.new_headers import NewHeaders
from moichord.sample import Api, Image, State
from tests.builders import image_bytes
from tests.house import Called, House, Says, house

Touch = Callable[[Path], None]


def planned(file: PositionedFile) -> tuple[TaggedImage, Image]:
    new = TaggedImage(file, inspect(file))
    inode, size, mtime_ns = file.stamp
    image = Image(
        relative_path="1.dcm",
        size=size,
        mtime_ns=mtime_ns,
        inode=inode,
        sop_instance_uid="1.2",
        header_length=new.header_length,
        header_digest=new.header_digest,
        tail_offset=new.tail_offset,
        tail_length=new.tail_length,
    )
    return new, image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "1.dcm"
    made.write_bytes(image_bytes())
    return made


def in_its_old_time(path: Path, offset: int) -> None:
    """Another byte, and the time that the file had before."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    beside = path.with_name("beside")
    beside.write_bytes(path.read_bytes())
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(path)


def asked_again(path: Path, touch: Touch, most: int = 1 << 20) -> bytes | None:
    headers = NewHeaders(most)
    with path.open("rb") as file:
        new, image = planned(PositionedFile(file))
        headers.keep(new.file, "1.dcm", new)
    touch(path)
    with path.open("rb") as file:
        found = headers.of(PositionedFile(file), image)
        if found is None:
            return None
        assert found.length == new.length == len(found.header) + found.tail_length
        return found.header


def test_the_header_of_a_file_that_nobody_has_touched_is_at_hand(path: Path) -> None:
    header = asked_again(path, lambda _: None)
    assert header
    assert path.read_bytes().startswith(header)


@pytest.mark.parametrize(
    "touch",
    [lambda path: in_its_old_time(path, 5), lambda path: path.chmod(0o600), replaced],
    ids=["written in its old time", "its mode changed", "replaced"],
)
def test_nothing_is_at_hand_for_a_file_that_is_not_as_it_was_whatever_its_times_say(path: Path, touch: Touch) -> None:
    path.chmod(0o640)
    assert asked_again(path, touch) is None


def test_no_more_is_kept_than_there_is_room_for(path: Path) -> None:
    assert asked_again(path, lambda _: None, most=100) is None


def test_a_header_of_another_plan_is_not_at_hand(path: Path) -> None:
    with path.open("rb") as file:
        new, image = planned(PositionedFile(file))
        assert NewHeaders().of(new.file, image) is None


@pytest.fixture
def lab() -> Iterator[House]:
    with house({"upload": {"concurrency": 1}}) as made:
        yield made


def test_no_image_is_walked_again_between_its_plan_and_its_request(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_body, "as_planned", None)
    lab.drop("S1", images=6)
    lab.run(1)
    assert lab.state("S1") is State.DONE


def test_a_later_turn_makes_the_headers_anew(lab: House) -> None:
    lab.script = lambda called: Says(503) if called.api is Api.UPLOAD else None
    lab.drop("S1", images=3)
    lab.run(1)
    lab.script = lambda _: None
    lab.run(86400)
    assert lab.state("S1") is State.DONE


def test_an_image_whose_header_is_altered_in_its_old_time_is_not_sent(lab: House) -> None:
    (submission,) = lab.drop("S1", images=6)

    def script(called: Called) -> Says | None:
        if called.api is Api.UPLOAD and len(lab.calls_to(Api.UPLOAD)) == 1:
            in_its_old_time(lab.root / "work" / submission.uuid / "S1" / "5.dcm", 5)
        return None

    lab.script = script
    lab.run(1)
    assert lab.state("S1") is State.FAILED
    assert "5.dcm changed while being sent" in (lab.newest("S1").reason or "")
    assert len(lab.calls_to(Api.UPLOAD)) == 5
