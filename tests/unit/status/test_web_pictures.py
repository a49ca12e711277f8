"""Thumbnails on the page: made once, by a process that may break."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.clock import SystemClock
from moichord.sample import State, Step, Submission
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.samples import make_sample
from moichord.status.web.decoder import Decoder, NotNow
from moichord.status.web.pictures import Cache
from tests.unit.status.lab import Lab
from tests.unit.status.site import Browser, served

JPEG = b"\xff\xd8\xff"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def scan(tmp_path: Path) -> list[Path]:
    return make_sample(tmp_path / "scan", "MO-1001", CATALOGUE["MO-1001"], seed=1, images=5)


@pytest.fixture
def done(lab: Lab, scan: list[Path]) -> Submission:
    """A sample in done: slide-0.dcm, its smallest, is the label; slide-1.dcm a level; slide-2.dcm is damaged."""
    submission = lab.processing("MO-1", Step.ARCHIVE)
    lab.ended(submission, State.DONE)
    folder = lab.root / "done" / "MO-1"
    shutil.copy(scan[3], folder / "slide-0.dcm")
    shutil.copy(scan[1], folder / "slide-1.dcm")
    (folder / "slide-2.dcm").write_bytes(scan[1].read_bytes()[:900])
    return lab.now(submission)


def kind(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    shown = "picture" if answer.content.startswith(JPEG) else "tile"
    assert answer.headers["content-type"] == {"picture": "image/jpeg", "tile": "image/svg+xml"}[shown]
    return shown


def test_images_that_can_be_shown_are_and_the_rest_are_tiles(lab: Lab, done: Submission) -> None:
    numbers = [image.number for image in lab.views.detail(done.uuid).images]
    with served(lab) as site:
        browser = site.browser()
        assert [kind(browser, f"/pictures/{done.uuid}/{number}") for number in numbers] == ["tile", "picture", "tile"]
        assert kind(browser, f"/pictures/{done.uuid}") == "picture"
    with served(lab, show_patient_data=True) as site:
        assert kind(site.browser(), f"/pictures/{done.uuid}/{numbers[0]}") == "picture"
    with served(lab) as site:  # what was shown with leave is not shown without, though it is kept
        assert kind(site.browser(), f"/pictures/{done.uuid}/{numbers[0]}") == "tile"


def test_a_picture_that_was_made_stays_when_the_image_is_deleted(lab: Lab, done: Submission) -> None:
    with served(lab) as site:
        assert kind(site.browser(), f"/pictures/{done.uuid}") == "picture"
        shutil.rmtree(lab.root / "done" / "MO-1")
        assert kind(site.browser(), f"/pictures/{done.uuid}") == "picture"


def test_an_image_that_is_not_there_now_is_looked_for_again(lab: Lab, done: Submission, scan: list[Path]) -> None:
    image = lab.root / "done" / "MO-1" / "slide-1.dcm"
    number = lab.views.detail(done.uuid).images[1].number
    image.rename(image.with_suffix(".away"))
    with served(lab) as site:
        assert kind(site.browser(), f"/pictures/{done.uuid}/{number}") == "tile"
        image.with_suffix(".away").rename(image)
        assert kind(site.browser(), f"/pictures/{done.uuid}/{number}") == "picture"


@pytest.mark.parametrize("path", ["/pictures/nobody", "/pictures/..%2fetc/1", "/pictures/MO-1", "/pictures/MO-1/1"])
def test_only_what_the_state_knows_is_looked_at(lab: Lab, done: Submission, path: str) -> None:
    with served(lab) as site:
        assert site.browser().get(path).status_code == 404
        assert kind(site.browser(), f"/pictures/{done.uuid}/999999") == "tile"


def test_a_sample_whose_images_are_not_known_yet_has_a_tile(lab: Lab) -> None:
    with served(lab) as site:
        assert kind(site.browser(), f"/pictures/{lab.taken('MO-1').uuid}") == "tile"


def test_a_disk_that_takes_no_picture_keeps_none_and_shows_it_all_the_same(lab: Lab, done: Submission) -> None:
    lab.state.with_name("state.db.thumbnails").write_text("a file where a folder should be")
    with served(lab) as site:
        assert kind(site.browser(), f"/pictures/{done.uuid}") == "picture"


def test_the_eldest_half_of_many_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moichord.status.web.pictures.MOST_SAMPLES", 4)
    cache = Cache(tmp_path / "kept")
    for number in range(6):
        cache.put(f"sample-{number}", "x.jpg", b"picture")
    kept = sorted(one.name for one in (tmp_path / "kept").iterdir())
    assert len(kept) <= 4
    assert kept[-1] == "sample-5"


def test_a_decoder_that_broke_is_started_again(scan: list[Path]) -> None:
    decoder = Decoder(SystemClock())
    try:
        assert (decoder.picture(scan[0], identifying=False) or b"").startswith(JPEG)
        assert decoder._process is not None
        decoder._process.kill()
        decoder._process.wait()
        assert (decoder.picture(scan[0], identifying=False) or b"").startswith(JPEG)
    finally:
        decoder.close()


def test_a_decoder_that_takes_too_long_is_ended(scan: list[Path]) -> None:
    decoder = Decoder(SystemClock(), longest=0.0)
    assert decoder.picture(scan[0], identifying=False) is None
    assert decoder._process is None


def test_a_decoder_that_cannot_read_a_file_says_not_now(tmp_path: Path) -> None:
    decoder = Decoder(SystemClock())
    try:
        with pytest.raises(NotNow):
            decoder.picture(tmp_path / "gone", identifying=False)
    finally:
        decoder.close()


def test_the_decoder_is_given_no_key_of_any_server(monkeypatch: pytest.MonkeyPatch, scan: list[Path]) -> None:
    monkeypatch.setenv("U_KEY", "planted-secret")
    decoder = Decoder(SystemClock())
    try:
        decoder.picture(scan[2], identifying=False)
        assert decoder._process is not None
        environ = Path(f"/proc/{decoder._process.pid}/environ").read_bytes()
        assert b"planted-secret" not in environ
    finally:
        decoder.close()
