"""The sandbox as a command: what it says, and how its options are read."""

import threading

import pytest
import requests

from moichord.errors import UsageRefused
from moichord.sample import Api
from moichord.sandbox.faults import Rejection, parse_rejection
from moichord.sandbox.received import Received, names_sample
from moichord.sandbox.rehearsal import line_of, run_sandbox


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("MO-1001", Rejection(400, sample_id="MO-1001")),
        ("MO-1001:403", Rejection(403, sample_id="MO-1001")),
        ("a:b:500", Rejection(500, sample_id="a:b")),
        ("upload:401", Rejection(401, api=Api.UPLOAD)),
        ("503", Rejection(503)),
        ("1001", Rejection(400, sample_id="1001")),
    ],
)
def test_a_rejection_is_read(text: str, meaning: Rejection) -> None:
    assert parse_rejection(text) == meaning


@pytest.mark.parametrize("text", ["", "200", "MO-1001:", "MO-1001:999", "MO-1001:abc", "upload:²"])
def test_a_rejection_without_sense_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UsageRefused) as refused:
        parse_rejection(text)
    assert "SAMPLE:STATUS" in (refused.value.remedy or "")


@pytest.mark.parametrize(
    ("patient_id", "sample_id", "is_it"),
    [
        ("MO-1001", "MO-1001", True),
        ("MO-1001-001", "MO-1001", True),
        ("MO-1001", "MO", False),
        ("MO-1001-x01", "MO-1001", False),
        ("MO-10010-001", "MO-1001", False),
    ],
)
def test_a_patient_id_names_its_sample(patient_id: str, sample_id: str, is_it: bool) -> None:
    assert names_sample(patient_id, sample_id) is is_it


def test_it_says_where_it_listens_and_what_it_receives_until_it_is_stopped() -> None:
    said: list[str] = []
    spoken, stop = threading.Condition(), threading.Event()

    def say(line: str) -> None:
        with spoken:
            said.append(line)
            spoken.notify_all()

    sandbox = threading.Thread(target=lambda: run_sandbox(stop=stop, say=say))
    sandbox.start()
    try:
        with spoken:
            assert spoken.wait_for(lambda: any(line.startswith("# known samples") for line in said), 10)
        exports = dict(line.removeprefix("export ").split("=", 1) for line in said if line.startswith("export "))
        assert set(exports) == {"MD_URL", "MD_KEY", "U_URL", "U_KEY", "A_URL", "A_KEY"}
        reply = requests.get(
            exports["MD_URL"], json={"sample_id": "MO-1001"}, headers={"x-api-key": exports["MD_KEY"]}, timeout=10
        )
        assert reply.status_code == 200
    finally:
        stop.set()
        sandbox.join(10)
    assert said[-1] == "metadata GET 200 MO-1001"
    assert not sandbox.is_alive()


def test_a_line_about_an_image_does_not_name_the_patient() -> None:
    received = Received(
        Api.UPLOAD, 0.0, "POST", "/instances", sop_instance_uid="1.2.3", patient_id="Rex", length=9, status=200
    )
    assert line_of(received) == "upload POST 200 9 bytes, 1.2.3"
