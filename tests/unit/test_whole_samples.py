"""Protocol zip through the real queue: what is sent in one request is acknowledged in one commit, or not at all."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, event

from moichord.errors import ApiTransient
from moichord.sample import Api, State
from tests.house import Called, House, Says, house

IMAGES = 3
LOST = ApiTransient("the connection was lost", api=Api.UPLOAD, maybe_done=True)


@pytest.fixture
def lab() -> Iterator[House]:
    with house({"upload": {"protocol": "zip"}}) as made:
        yield made


@pytest.fixture
def commits(lab: House) -> Iterator[list[tuple[int, int]]]:
    """Of each commit: how many images are on their way then, and how many acknowledged. Repetitions left out."""
    found: list[tuple[int, int]] = []

    def note(connection: Connection) -> None:
        asked = "SELECT total(requests), count(acknowledged_at) FROM images"
        row = connection.exec_driver_sql(asked).one()
        now = int(row[0]), int(row[1])
        if found[-1:] != [now]:
            found.append(now)

    event.listen(lab.database._engine, "commit", note)
    yield found
    event.remove(lab.database._engine, "commit", note)


def test_all_images_of_a_request_are_intended_in_one_commit_and_acknowledged_in_one(
    lab: House, commits: list[tuple[int, int]]
) -> None:
    lab.drop("S1", images=IMAGES)
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len(lab.calls_to(Api.UPLOAD)) == 1
    assert commits == [(0, 0), (IMAGES, 0), (IMAGES, IMAGES)]


@pytest.mark.parametrize("first", [Says(503), LOST])
def test_of_a_request_that_fails_nothing_is_acknowledged_and_all_is_sent_again(
    first: Says | ApiTransient, lab: House, commits: list[tuple[int, int]]
) -> None:
    answers: list[Says | ApiTransient | None] = [first, None]
    lab.script = lambda called: answers.pop(0) if called.api is Api.UPLOAD else None
    lab.drop("S1", images=IMAGES)
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len({called.key for called in lab.calls_to(Api.UPLOAD)}) == 1
    assert len(lab.calls_to(Api.UPLOAD)) == 2
    assert commits == [(0, 0), (IMAGES, 0), (2 * IMAGES, 0), (2 * IMAGES, IMAGES)]


def test_one_image_that_changes_between_two_requests_fails_the_sample_and_none_is_acknowledged(
    lab: House, commits: list[tuple[int, int]]
) -> None:
    (submission,) = lab.drop("S1", images=IMAGES)

    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        with (lab.root / "work" / submission.uuid / "S1" / "2.dcm").open("ab") as file:
            file.write(b"late")
        return Says(503)

    lab.script = script
    lab.run()
    assert lab.state("S1") is State.FAILED
    assert len(lab.calls_to(Api.UPLOAD)) == 1
    assert commits[-1] == (IMAGES, 0)
