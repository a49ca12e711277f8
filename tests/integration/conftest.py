"""What the integration tests share: the stand-in APIs, a daemon beside them, a real Orthanc for all tests together."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from moichord.status.web.passwords import stored
from tests.integration import orthanc as orthanc_server
from tests.integration import samples
from tests.integration.daemon import Daemon, daemons

RECORD = {
    "patient-name": "Biscuit",
    "request_species": "Dog",
    "test_type": "blood-smear-standard",
    "clinic-name": "Harbour Street Veterinary Clinic",
}

MakeDaemon = Callable[..., Daemon]
NOBODY = "http://127.0.0.1:9/"  # discard (RFC 863): hardly anybody listens there


@pytest.fixture
def listeners() -> list[Callable[[Received], None]]:
    """Called with every request that the stand-in APIs are about to answer."""
    return []


@pytest.fixture
def people(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A password file that knows anna, by the PASSWORD of the test's module."""
    file = tmp_path / "people"
    file.write_text(f"anna:{stored(request.module.PASSWORD)}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def apis(tmp_path: Path, listeners: list[Callable[[Received], None]]) -> Iterator[StandInApis]:
    """The three APIs; any sample ID is known."""

    def tell(received: Received) -> None:
        for listener in listeners:
            listener(received)

    with StandInApis(any_sample=True, keep_files=tmp_path / "stored", on_record=tell) as stand_in:
        yield stand_in


@pytest.fixture
def make_daemon(tmp_path: Path, apis: StandInApis) -> Iterator[MakeDaemon]:
    """Makes daemons that use the stand-in APIs; not started yet."""
    with daemons(tmp_path, apis.environment()) as make:
        yield make


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """A running daemon with the quick settings."""
    return make_daemon().start()


@pytest.fixture
def another_is_taken(tmp_path: Path, originals: Path) -> Iterator[Callable[[], None]]:
    """Returns once a daemon beside, with the same pace, has taken a whole sample that came now.

    What another one has not taken by then, it does not take: no clock says that.
    """
    names = (f"BESIDE-{number}" for number in count(1))
    nobody = dict.fromkeys(("MD_URL", "U_URL", "A_URL"), NOBODY) | dict.fromkeys(("MD_KEY", "U_KEY", "A_KEY"), "key")
    with daemons(tmp_path, nobody) as make:
        beside: Daemon = make(name="beside").start()

        def wait() -> None:
            name = next(names)
            samples.drop(samples.small_sample(originals / name, images=1), beside.inbox)
            beside.wait_for(lambda: beside.submissions(name), f"{name} to be taken")

        yield wait


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """Where samples are made before they are dropped; what lies here stays as it was made."""
    folder = tmp_path / "originals"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc_server.Orthanc]:
    """A real image server. Tests tell their images apart by sample IDs of their own."""
    with orthanc_server.running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
