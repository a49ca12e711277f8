"""The demonstration's own judgement and words: it may not praise what did not happen."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from moichord import config
from moichord.errors import UsageRefused
from moichord.sample import Api, State, Step, Submission
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.demo import browsing, interruptions, telling
from moichord.sandbox.demo.cast import BUSY_SECONDS, BUSY_TIMES, CAST, IMAGES, BusyServer, Part, Role
from moichord.sandbox.demo.stage import FOLDER_NAME, Stage, set_up, write_configuration
from moichord.sandbox.demo.verdict import Trip, surprises
from moichord.sandbox.received import Received

ENVIRONMENT = {f"{name}_URL": f"http://127.0.0.1:8042/{name}" for name in ("MD", "U", "A")}
KEYS = {f"{name}_KEY": "a-key" for name in ("MD", "U", "A")}


def submission(state: State, step: Step = Step.ARCHIVE) -> Submission:
    reason = "The metadata server does not know it." if state is State.FAILED else None
    return Submission(
        "3a64240f-163e-45f5-bdf7-073765cfea37", "MO-1", "MO-1", 1, state, 0.0, step=step, reason=reason, remedy="Ask."
    )


def sent(part: Part = Part.SMOOTH) -> Trip:
    return Trip(
        Role("MO-1", CATALOGUE["MO-1001"], part),
        submission(State.DONE),
        acknowledged=IMAGES,
        stored=IMAGES,
        identical=IMAGES,
        tagged=IMAGES,
        analytics=1,
    )


RETRIED = replace(sent(Part.RETRIED), busy=BUSY_TIMES, pause=BUSY_SECONDS + 0.3)
UNKNOWN = Trip(Role("MO-1", CATALOGUE["MO-1001"], Part.UNKNOWN), submission(State.FAILED, Step.METADATA))


@pytest.mark.parametrize("trip", [sent(), RETRIED, UNKNOWN], ids=lambda trip: trip.role.part.name)
def test_a_trip_as_planned_has_no_surprises(trip: Trip) -> None:
    assert list(surprises(trip)) == []
    assert not any("Not as planned" in line for line in telling.story(trip))


@pytest.mark.parametrize(
    ("trip", "what"),
    [
        (replace(sent(), submission=None), "never taken"),
        (replace(sent(), submission=submission(State.FAILED)), "should be done and is failed: The metadata"),
        (replace(sent(), acknowledged=2), "2 of 3 images were acknowledged"),
        (replace(sent(), stored=2), "2 of 3 images were stored"),
        (replace(sent(), stored_again=1), "came again"),
        (replace(sent(), identical=2), "pixel data"),
        (replace(sent(), tagged=0), "0 of 3 images have the new tags"),
        (replace(sent(), analytics=0), "triggered 0 times"),
        (replace(sent(), analytics=2), "triggered 2 times"),
        (replace(sent(), in_order=False), "before all images were stored"),
        (replace(RETRIED, busy=1), "busy 1 times instead of 2"),
        (replace(RETRIED, pause=0.4), "after 0.4 s, too early"),
        (replace(UNKNOWN, submission=submission(State.DONE)), "should be failed and is done"),
        (replace(UNKNOWN, submission=submission(State.FAILED, Step.UPLOAD)), "as far as upload"),
        (replace(UNKNOWN, stored=1), "unknown sample"),
    ],
)
def test_whatever_is_not_as_planned_is_said_instead_of_praise(trip: Trip, what: str) -> None:
    assert what in " ".join(surprises(trip))
    assert all(line.startswith("Not as planned: ") for line in telling.story(trip))
    assert not trip.went_well


def test_most_samples_are_known_and_one_of_each_kind_is_not_smooth() -> None:
    parts = [role.part for role in CAST]
    assert parts.count(Part.RETRIED) == parts.count(Part.UNKNOWN) == 1
    assert all((role.sample_id in CATALOGUE) is (role.part is not Part.UNKNOWN) for role in CAST)


def test_the_server_is_busy_for_one_image_of_one_sample_a_few_times() -> None:
    busy = BusyServer("MO-1", times=2)

    def upload(sample_id: str, image: str) -> bool:
        return busy(Received(Api.UPLOAD, 0.0, "POST", "/", sop_instance_uid=image, patient_id=f"{sample_id}-001"))

    assert not busy(Received(Api.METADATA, 0.0, "GET", "/", json={"sample_id": "MO-1"}))
    assert not upload("MO-2", "1.1")
    assert [upload("MO-1", image) for image in ("1.1", "1.2", "1.1", "1.1")] == [True, False, True, False]


def test_its_configuration_is_valid_wherever_the_folder_lies(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a ${HOME} \"quoted\" 'place' ü: #1")
    stage.root.mkdir()
    write_configuration(stage, ENVIRONMENT, 8642)
    settings = config.load(stage.config, KEYS)
    assert settings.folders.inbox == stage.inbox
    assert settings.state == stage.state
    assert settings.upload.url == ENVIRONMENT["U_URL"]


def test_its_configuration_holds_no_keys(tmp_path: Path) -> None:
    write_configuration(Stage(tmp_path), ENVIRONMENT | KEYS, 8642)
    assert "a-key" not in (tmp_path / "moichord.yaml").read_text()


def test_without_a_folder_it_makes_one_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set_up(None).root == tmp_path / FOLDER_NAME
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER_NAME]


def test_where_one_is_already_it_takes_place_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / FOLDER_NAME).mkdir()
    root = set_up(None).root
    assert root.parent == tmp_path
    assert root.name.startswith(f"{FOLDER_NAME}-")
    assert list((tmp_path / FOLDER_NAME).iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageRefused, match="not empty"):
        set_up(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("environ", "terminal", "platform", "opens"),
    [
        ({"DISPLAY": ":0"}, True, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, "linux", True),
        ({"DISPLAY": ":0"}, False, "linux", False),
        ({"DISPLAY": ""}, True, "linux", False),
        ({"BROWSER": "firefox"}, True, "linux", False),
        ({}, True, "win32", True),
        ({}, True, "darwin", True),
        ({}, False, "win32", False),
    ],
)
def test_a_browser_is_opened_only_for_somebody_at_a_terminal_with_a_screen(
    environ: dict[str, str], terminal: bool, platform: str, opens: bool
) -> None:
    assert browsing.can_be_opened(environ, terminal=terminal, platform=platform) is opens


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noticed_and_breaks_nothing_off_and_afterwards_means_what_it_meant(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptions() as interrupted:
        assert not interrupted.noticed
        signal.raise_signal(number)
        assert interrupted.noticed
    assert signal.getsignal(number) is before
