"""What arrives, and what is done with it: every kind of odd file through a real daemon, with the words people get.

One daemon gets all of it at once, good samples among it. First it may wait for as long as it likes, so that what may
become complete is seen waiting; then it is started again with a short `incomplete_timeout`.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from moichord.sample import FINISHED, OWN_FILES, Api, State
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import image_bytes
from tests.integration import arrivals, samples
from tests.integration.arrivals import ESCAPE, TWIN, TWO_LINES
from tests.integration.arrivals_told import (
    CONTRADICTIONS,
    DROP_AGAIN,
    FINE,
    NEVER,
    RECORDS,
    UNFINISHED,
    Maker,
)
from tests.integration.conftest import RECORD
from tests.integration.daemon import Daemon, daemons, failure_of, receipt_of

GOOD = "GOOD-1"


def sample_of(maker: Maker) -> str:
    return maker.__name__.replace("_", "-")


@dataclass(frozen=True)
class Ward:
    """The daemon that got everything. `waited` are the reasons seen in the first part of its life."""

    daemon: Daemon
    apis: StandInApis
    originals: Path
    waited: dict[str, str]

    def sent(self, name: str) -> list[Received]:
        return [call for call in self.apis.requests.calls(Api.UPLOAD) if call.is_about(name)]

    def asked(self, name: str) -> list[Received]:
        return [call for call in self.apis.requests.calls(Api.METADATA) if call.sample_id == name]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    root = tmp_path_factory.mktemp("arrivals")
    unfinished = [sample_of(maker) for maker, _ in UNFINISHED]
    with StandInApis(any_sample=True, keep_files=root / "stored") as apis, daemons(root, apis.environment()) as make:
        others = _make_originals(root / "originals", apis)
        daemon = make().start()
        (daemon.inbox / ESCAPE).mkdir()
        (daemon.inbox / f"{TWO_LINES}.dcm").write_text("loose")
        for name in [*unfinished, *others]:
            samples.drop(root / "originals" / name, daemon.inbox)
        for name in [*others, *unfinished, ESCAPE]:
            daemon.wait_for(lambda name=name: has_ended(daemon, name) or _stays(daemon, name), f"{name} to be judged")
        waited = {name: _stays(daemon, name) for name in [*unfinished, ESCAPE]}
        daemon.stop()
        daemon.configure({"watch": {"incomplete_timeout": "1s"}})
        daemon.start()
        yield Ward(daemon, apis, root / "originals", waited)


def _make_originals(originals: Path, apis: StandInApis) -> list[str]:
    """Make every sample; the names of those that end without further waiting."""
    for maker in [*(row[0] for row in [*NEVER, *UNFINISHED, *CONTRADICTIONS]), *FINE]:
        maker(_good_sample(originals / sample_of(maker)))
    for name, field, value, _, _ in RECORDS:
        _good_sample(originals / name)
        apis.records[name] = {**RECORD, field: value}
    _good_sample(originals / GOOD)
    unfinished = {sample_of(maker) for maker, _ in UNFINISHED}
    return sorted(path.name for path in originals.iterdir() if path.name not in unfinished)


def _good_sample(folder: Path) -> Path:
    samples.small_sample(folder, images=1)
    (folder / "notes.txt").write_text("focus was poor")
    return folder


def _stays(daemon: Daemon, name: str) -> str:
    """Why the folder is not taken, other than for the settle time; "" if it is, or will be."""
    arrival = daemon.arrival(name)
    return "" if arrival is None or arrival.reason.startswith("waiting") else arrival.reason


def has_ended(daemon: Daemon, name: str) -> bool:
    submission = daemon.newest(name)
    return submission is not None and submission.state in FINISHED and submission.intent is None


def assert_failed(ward: Ward, name: str, what: str, to_do: str) -> None:
    """failed/ holds the sample exactly as received with these words; it is nowhere else, and nothing of it was sent."""
    folder = ward.daemon.wait_until_failed(name)
    assert failure_of(folder).splitlines()[:2] == [what, to_do]
    assert "Images:     nothing was sent to the image server" in failure_of(folder)
    assert (receipt_of(folder)["reason"], receipt_of(folder)["remedy"]) == (what, to_do)
    assert contents(folder) == contents(ward.originals / name)
    assert ward.daemon.wait_for(lambda: ward.daemon.places_of(name) == [f"failed/{name}"], f"{name} in one place")
    assert ward.sent(name) == []


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What lies there, as kind of file and bytes; moichord's own files aside. Nothing but plain files is opened."""
    files = samples.files_in(folder)
    return {
        name: (stat.S_IFMT(path.lstat().st_mode), files.get(name, b""))
        for path in folder.rglob("*")
        if (name := path.relative_to(folder).as_posix()) not in OWN_FILES
    }


@pytest.mark.parametrize(("maker", "what"), NEVER, ids=[row[0].__name__ for row in NEVER])
def test_what_can_never_be_sent_fails_at_once_by_name(maker: Maker, what: str, ward: Ward) -> None:
    assert_failed(ward, sample_of(maker), what, DROP_AGAIN)

    assert ward.asked(sample_of(maker)) == []


@pytest.mark.parametrize(("maker", "lacking"), UNFINISHED, ids=[row[0].__name__ for row in UNFINISHED])
def test_what_may_become_complete_is_waited_for_then_fails_by_name(maker: Maker, lacking: str, ward: Ward) -> None:
    name = sample_of(maker)

    assert ward.waited[name] == f"still arriving: {lacking}"
    assert_failed(ward, name, f"Still incomplete after 1 s without a change: {lacking}.", DROP_AGAIN)
    assert ward.asked(name) == []


@pytest.mark.parametrize(("maker", "what", "to_do"), CONTRADICTIONS, ids=[row[0].__name__ for row in CONTRADICTIONS])
def test_what_contradicts_itself_fails_before_anything_is_sent(maker: Maker, what: str, to_do: str, ward: Ward) -> None:
    assert_failed(ward, sample_of(maker), what, to_do)


@pytest.mark.parametrize("row", RECORDS, ids=[row[0] for row in RECORDS])
def test_a_metadata_value_that_no_tag_can_hold_names_its_field(row: tuple[str, str, str, str, str], ward: Ward) -> None:
    name, _, value, what, source = row

    assert_failed(ward, name, what, f"Correct it where it comes from ({source}), then retry the sample.")
    assert value not in failure_of(ward.daemon.failed / name)


# What does no harm


def images_in(ward: Ward, name: str) -> dict[str, dict[str, object]]:
    """The images of a done sample by path, from its receipt."""
    folder = ward.daemon.wait_until_done(name)
    assert ward.daemon.places_of(name) == [f"done/{name}"]
    return {image["path"]: image for image in receipt_of(folder)["images"]}


def stored_bytes(ward: Ward, name: str, path: str) -> bytes:
    """What the image server holds of that image."""
    sent = images_in(ward, name)[path]["sha256_sent"]
    (file,) = [one.file for one in ward.apis.instances if one.sha256 == sent]
    assert file is not None
    return file.read_bytes()


@pytest.mark.parametrize("maker", [arrivals.litter, arrivals.other_documents, arrivals.dicomdir])
def test_what_lies_beside_the_images_comes_along_unsent(maker: Maker, ward: Ward) -> None:
    name = sample_of(maker)

    assert list(images_in(ward, name)) == ["image-0.dcm"]
    assert len(ward.sent(name)) == 1
    beside, received = contents(ward.daemon.done / name), contents(ward.originals / name)
    assert {**beside, "image-0.dcm": None} == {**received, "image-0.dcm": None}


def test_a_dicomdir_under_the_name_of_an_image_is_carried_as_it_came(ward: Ward) -> None:
    name = sample_of(arrivals.directory_called_dcm)

    image = images_in(ward, name)["index.dcm"]

    assert (image["sent"], image["changes"]) == (False, [])
    assert len(ward.sent(name)) == 1
    assert (ward.daemon.done / name / "index.dcm").read_bytes() == arrivals.real_file("DICOMDIR").read_bytes()


def test_the_same_bytes_under_two_names_are_sent_once_and_the_receipt_says_so(ward: Ward) -> None:
    name = sample_of(arrivals.same_bytes_twice)

    twin = images_in(ward, name)[TWIN]

    assert (twin["sent"], twin["same_as"]) == (False, "image-0.dcm")
    assert twin["warnings"] == ["the same file as image-0.dcm: sent once"]
    assert len(ward.sent(name)) == 1


def test_undeclared_text_in_a_tag_that_stays_is_carried_byte_for_byte(ward: Ward) -> None:
    name = sample_of(arrivals.undeclared_text_elsewhere)

    assert b"Blut, gef\xe4rbt" in stored_bytes(ward, name, "odd.dcm")
    assert stored_bytes(ward, name, "odd.dcm") == (ward.daemon.done / name / "odd.dcm").read_bytes()


def test_a_tiff_header_is_zeroed_once_the_pixels_move_and_the_receipt_says_so(ward: Ward) -> None:
    name = sample_of(arrivals.tiff_as_well)

    stored = stored_bytes(ward, name, "odd.dcm")

    assert stored[:132] == bytes(128) + b"DICM"
    assert stored.endswith(bytes(range(256)))
    assert images_in(ward, name)["odd.dcm"]["warnings"] == [
        "the TIFF header in the preamble was zeroed, since the pixels have moved"
    ]


def test_zeros_after_the_end_are_carried_and_the_receipt_says_so(ward: Ward) -> None:
    name = sample_of(arrivals.zeros_after_the_end)

    assert stored_bytes(ward, name, "odd.dcm").endswith(bytes(arrivals.PIXELS + 100))
    assert images_in(ward, name)["odd.dcm"]["warnings"] == [
        "100 zero bytes follow the last element; they are carried along"
    ]


def test_images_with_hostile_names_are_sent_and_keep_their_names(ward: Ward) -> None:
    name = sample_of(arrivals.images_with_hostile_names)

    shown = set(images_in(ward, name))

    assert shown == {
        "image-0.dcm",
        r"\x1b[2J\x1b[31mwiped.dcm",
        r"first\n2026-01-01 all samples are done.dcm",
        r"caf\xe9.dcm",
        '"><script>alert(1)<.dcm',
        "%s%n{0}.dcm",
    }
    assert len(ward.sent(name)) == len(shown)
    assert contents(ward.daemon.done / name).keys() == contents(ward.originals / name).keys()


# What all of them leave behind


def everything_has_ended(ward: Ward) -> Ward:
    for original in ward.originals.iterdir():
        ward.daemon.wait_for(lambda name=original.name: has_ended(ward.daemon, name), f"{original.name} to end")
    return ward


def test_good_samples_among_all_this_are_done_and_the_only_ones_that_analytics_hears_of(ward: Ward) -> None:
    everything_has_ended(ward)
    good = sorted([GOOD, *(sample_of(maker) for maker in FINE)])

    assert sorted(str(call.sample_id) for call in ward.apis.requests.calls(Api.ANALYTICS)) == good
    assert sorted(path.name for path in ward.daemon.done.iterdir()) == good
    assert pydicom.dcmread(ward.daemon.done / GOOD / "image-0.dcm").PatientID == f"{GOOD}-001"


def test_what_is_no_sample_stays_in_the_inbox_under_whatever_name(ward: Ward) -> None:
    everything_has_ended(ward)

    assert sorted(path.name for path in ward.daemon.inbox.iterdir()) == [ESCAPE, f"{TWO_LINES}.dcm"]
    assert ward.waited[ESCAPE] == "its name is not a sample ID: rename the folder to the ID of the sample"


def test_nothing_hostile_and_no_patient_gets_into_the_log(ward: Ward) -> None:
    log = everything_has_ended(ward).daemon.log_file.read_bytes().decode("utf-8", "strict")

    lines = log.splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ", line)] == []
    assert [line for line in lines if not line.isprintable()] == []
    for private in ("P1", "P2", "A-1", "Before", "Hund", "Biscuit", "Bis", "BBBB", "Harbour"):
        assert re.findall(rf"\b{private}\b.*", log) == []


@pytest.mark.parametrize(
    "command",
    [("status",), ("history",), ("status", "text-called-by-a-hostile-name"), ("status", "images-with-hostile-names")],
    ids=" ".join,
)
def test_what_commands_show_is_safe_for_terminals_and_programs(command: tuple[str, ...], ward: Ward) -> None:
    shown = everything_has_ended(ward).daemon.command(*command)
    told = ward.daemon.command(*command, "--json")

    assert [line for line in shown.stdout.split("\n") if not line.isprintable()] == []
    assert told.stdout.isascii()
    assert json.loads(told.stdout)
    assert (shown.stderr, told.stderr) == ("", "")


def test_a_growing_image_is_waited_for_until_it_is_whole(make_daemon: Callable[..., Daemon], apis: StandInApis) -> None:
    daemon = make_daemon().start()
    content = image_bytes(rows=64)
    folder = daemon.inbox / GOOD
    folder.mkdir()
    with (folder / "image.dcm").open("xb", buffering=0) as file:
        for start in range(0, len(content), 1000):
            if start:
                daemon.wait_for(lambda size=start: seen_with(daemon, size), f"{start} bytes to be seen")
                assert daemon.newest(GOOD) is None
            file.write(content[start : start + 1000])

    daemon.wait_until(GOOD, State.DONE)

    (call,) = apis.requests.calls(Api.UPLOAD)
    assert (call.status, call.complete) == (200, True)


def seen_with(daemon: Daemon, size: int) -> bool:
    arrival = daemon.arrival(GOOD)
    return arrival is not None and arrival.size == size and arrival.reason.startswith("still arriving: image.dcm is ")


def test_a_sample_whose_paths_nothing_can_open_fails_by_itself(
    make_daemon: Callable[..., Daemon], apis: StandInApis, originals: Path
) -> None:
    daemon = make_daemon().start()
    folder = samples.small_sample(originals / "LONG-1")
    _bury(folder / "image-0.dcm", below=folder, levels=16)
    folder.rename(daemon.inbox / "LONG-1")
    samples.drop(samples.small_sample(originals / GOOD), daemon.inbox)

    daemon.wait_until_done(GOOD)
    told = failure_of(daemon.wait_until_failed("LONG-1"))
    assert "is longer than 3000 bytes: shorten its names" in told
    assert apis.requests.calls(Api.UPLOAD)
    assert not [call for call in apis.requests.calls(Api.UPLOAD) if call.is_about("LONG-1")]


def _bury(file: Path, below: Path, levels: int) -> None:
    """A copy of `file`, so deep that its path is longer than any call takes (PATH_MAX)."""
    descriptor = os.open(below, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 250, dir_fd=descriptor)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    with open("x" * 240 + ".dcm", "xb", opener=lambda name, flags: os.open(name, flags, dir_fd=descriptor)) as copy:
        copy.write(file.read_bytes())
    os.close(descriptor)
