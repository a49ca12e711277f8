"""Generated samples: whole-slide images that independent readers open, repeatable, dropped in three ways."""

import subprocess
import threading
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from wsidicom import WsiDicom

from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.samples import Manner, drop, make_sample
from moichord.sandbox.slides import SCANNER_NAME

PARROT = CATALOGUE["MO-1003"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "MO-1003"
    assert len(make_sample(folder, "MO-1003", PARROT, seed=1, images=5)) == 5
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def subsampling(jpeg: bytes) -> tuple[int, int]:
    """How many brightness samples share one colour sample, across and down (frame header, ITU-T T.81 B.2.2)."""
    start = jpeg.index(b"\xff\xc0")
    across, down = divmod(jpeg[start + 11], 16)
    assert jpeg[start + 14] == jpeg[start + 17] == 0x11
    return across, down


def test_wsidicom_opens_a_sample_as_one_slide(sample: Path) -> None:
    with WsiDicom.open(sample) as slide:
        assert [(level.size.width, level.size.height) for level in slide.levels] == [(1024, 768), (512, 384)]
        assert slide.levels[0].mpp.width == pytest.approx(0.25)
        assert slide.read_region((300, 200), 0, (500, 400)).size == (500, 400)
        assert slide.read_label().size == (400, 300)
        assert slide.read_overview().size == (600, 200)
        [colours] = {slide.read_region((0, 0), 0, (1024, 768)).resize((1, 1)).getpixel((0, 0))}
        red, green, blue = colours
        assert red > blue > 100
        assert red > green > 100


def test_pydicom_reads_every_frame(sample: Path) -> None:
    for file in sample.iterdir():
        image = pydicom.dcmread(file)
        frames = list(generate_frames(image.PixelData, number_of_frames=image.NumberOfFrames))
        assert {Image.open(BytesIO(frame)).size for frame in frames} == {(image.Columns, image.Rows)}
        assert image.PhotometricInterpretation == "YBR_FULL_422"
        assert {subsampling(frame) for frame in frames} == {(2, 1)}
    assert pydicom.dcmread(sample / "DCM_0.dcm").NumberOfFrames == 12


@pytest.mark.needs("dcmdump")
def test_dcmdump_reads_every_image_without_a_word_of_complaint(sample: Path) -> None:
    for file in sample.iterdir():
        done = subprocess.run(["dcmdump", file], capture_output=True, check=True)
        assert done.stderr == b""


def test_the_identity_is_the_scanners_until_it_is_tagged(sample: Path) -> None:
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(sample.iterdir())]
    assert {str(i.PatientName) for i in images} == {SCANNER_NAME}
    assert {i.PatientID for i in images} == {"MO-1003"}
    assert all(i.file_meta.MediaStorageSOPInstanceUID == i.SOPInstanceUID for i in images)
    assert len({i.SOPInstanceUID for i in images}) == 5
    assert len({i.SeriesInstanceUID for i in images}) == len({i.StudyInstanceUID for i in images}) == 1
    for absent in ("BarcodeValue", "InstitutionName", "PatientSpeciesDescription"):
        assert absent not in images[0]
    assert PARROT.name.encode() not in b"".join(contents(sample).values())


def test_a_seed_gives_the_same_bytes_again_and_another_seed_another_scan(sample: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "again", "MO-1003", PARROT, seed=1, images=2)
    make_sample(tmp_path / "other", "MO-1003", PARROT, seed=2, images=2)
    again, other, first = contents(tmp_path / "again"), contents(tmp_path / "other"), contents(sample)
    assert again == {name: first[name] for name in ("DCM_0.dcm", "DCM_1.dcm")}
    assert other["DCM_0.dcm"] != again["DCM_0.dcm"]
    uids = {pydicom.dcmread(tmp_path / f / "DCM_0.dcm").SOPInstanceUID for f in ("again", "other")}
    assert len(uids) == 2


@pytest.mark.parametrize("manner", list(Manner))
def test_a_dropped_sample_arrives_whole(sample: Path, tmp_path: Path, manner: Manner) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    folder = drop(sample, inbox, manner, stop=threading.Event(), pause=0)
    marker = {"COMPLETE": b""} if manner is Manner.MARKED else {}
    assert contents(folder) == {**contents(sample), **marker}
    assert [f.name for f in tmp_path.iterdir()] == ["inbox"]
    assert [f.name for f in inbox.iterdir()] == ["MO-1003"]


def test_a_slow_drop_ends_in_the_middle_of_an_image_when_stopped(sample: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    folder = drop(sample, tmp_path, Manner.SLOWLY, stop=stop, piece=1000)
    assert {name: len(data) for name, data in contents(folder).items()} == {"DCM_0.dcm": 1000}


@pytest.mark.parametrize("manner", list(Manner))
def test_a_sample_that_is_already_there_is_not_mixed_with_another(sample: Path, tmp_path: Path, manner: Manner) -> None:
    (tmp_path / "inbox" / sample.name).mkdir(parents=True)
    with pytest.raises(FileExistsError):
        drop(sample, tmp_path / "inbox", manner, stop=threading.Event(), pause=0)
    assert [f.name for f in tmp_path.iterdir()] == ["inbox"]
