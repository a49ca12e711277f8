"""What is gathered beside the state itself."""

import shutil

from moichord.sample import State, Step
from tests.unit.status.lab import MIB, Lab


def test_a_failed_sample_whose_folder_was_taken_away_needs_nobody(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    assert [one.sample_id for one in lab.standing().attention] == ["MO-1"]
    shutil.rmtree(lab.failed / "MO-1")
    assert lab.standing().attention == []


def test_a_failed_sample_that_was_dropped_again_needs_nobody(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1"), State.FAILED, "It is broken.")
    lab.taken("MO-1")
    assert lab.standing().attention == []


def test_bytes_in_flight_of_a_daemon_that_is_gone_count_no_more(lab: Lab) -> None:
    sending = lab.processing("MO-1", Step.UPLOAD)
    lab.bulletin.publish([], {sending.uuid: MIB})
    assert lab.standing().sending == {sending.uuid: MIB}
    assert lab.standing(daemon=False).sending == {}
