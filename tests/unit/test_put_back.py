"""A copy of the state that somebody put back: nothing that happened since is lost, repeated or done to another."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moichord.queue import files, migrations
from moichord.queue.arrivals import Taking
from moichord.sample import Api, State
from moichord.spool import Spool
from tests.builders import write_image
from tests.house import Called, House, Says, house


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def upgraded(lab: House) -> Path:
    """What the daemon of a newer version leaves of the state as it was."""
    lab.close()
    now = lab.clock.now()
    copy = files.keep_copy(lab.settings.state, 1, now, lambda kept: migrations._mark_as_copy(kept, now))
    lab.start()
    return copy


def put_back(lab: House, copy: Path) -> None:
    lab.close()
    for file in lab.root.glob("state.db*"):
        if file != copy:
            file.unlink()
    shutil.copy(copy, lab.settings.state)
    lab.calls.clear()
    lab.start()


def at_upload(called: Called) -> Says | None:
    return Says(503) if called.api is Api.UPLOAD else None


def attempts(lab: House, *sample_ids: str) -> list[int]:
    return [one.attempt_number for one in lab.drop(*sample_ids)]


def test_attempt_numbers_that_were_given_since_are_not_given_again(lab: House) -> None:
    lab.drop("A")
    lab.run()
    copy = upgraded(lab)
    lab.drop("A", "B")
    lab.run()
    put_back(lab, copy)
    assert attempts(lab, "A", "B", "C") == [3, 2, 1]


def test_once_that_is_known_receipts_are_read_no_more(lab: House) -> None:
    lab.drop("A")
    lab.run()
    put_back(lab, upgraded(lab))
    receipt = next((lab.root / "done" / "A").glob("*receipt*"))
    receipt.write_text(receipt.read_text().replace('"attempt_number": 1', '"attempt_number": 99'))
    lab.close()
    lab.start()
    assert attempts(lab, "A") == [2]


def test_what_has_ended_since_has_ended_and_is_not_sent_again(lab: House) -> None:
    lab.script = at_upload
    lab.drop("GOOD", "BAD")
    lab.run(5)
    copy = upgraded(lab)
    lab.script = lambda called: Says(400) if called.sample_id == "BAD" and called.api is Api.UPLOAD else None
    lab.run()
    ended = [(one.state, one.place, one.finished_at) for one in (lab.newest("GOOD"), lab.newest("BAD"))]
    why = lab.newest("BAD").reason
    put_back(lab, copy)
    lab.run()
    assert lab.calls == []
    assert [(one.state, one.place) for one in (lab.newest("GOOD"), lab.newest("BAD"))] == [one[:2] for one in ended]
    assert lab.newest("GOOD").finished_at == pytest.approx(ended[0][2], abs=1)
    assert lab.newest("BAD").reason == why
    assert sorted(path.name for path in (lab.root / "work").iterdir()) == [".moichord-state"]


def test_a_taking_that_has_come_to_its_end_since_gives_no_number_back(lab: House) -> None:
    folder = lab.settings.folders.inbox / "A"
    folder.mkdir()
    write_image(folder / "0.dcm")
    (one,) = lab.rooms.arrivals.intend([Taking("A", "A", lab.rooms.manifest_of(folder), 1, 1, 1000, 1000)])
    copy = upgraded(lab)
    lab.run()
    assert lab.state("A") is State.DONE
    put_back(lab, copy)
    assert lab.newest("A").uuid == one.uuid
    assert lab.state("A") is State.DONE
    assert attempts(lab, "A") == [2]


def test_a_sample_that_was_taken_since_returns_to_the_inbox_and_gets_a_number_of_its_own(lab: House) -> None:
    copy = upgraded(lab)
    lab.drop("A")
    lab.run()
    lab.script = at_upload
    lab.drop("A", images=2)
    lab.run(5)
    put_back(lab, copy)
    assert sorted(path.name for path in (lab.root / "inbox" / "A").iterdir()) == ["0.dcm", "1.dcm"]
    shutil.rmtree(lab.root / "inbox" / "A")
    assert attempts(lab, "A") == [3]


def test_a_sample_that_was_retried_since_is_not_removed_from_work(lab: House) -> None:
    lab.script = lambda called: Says(404) if called.api is Api.METADATA else None
    lab.drop("A")
    lab.run()
    copy = upgraded(lab)
    lab.script = at_upload
    lab.rooms.attendant._desk.requests.ask_retry(lab.newest("A"), None)
    lab.rooms.attendant.look()
    lab.run(5)
    put_back(lab, copy)
    assert [path.name for path in (lab.root / "inbox" / "A").iterdir()] == ["0.dcm"]


def test_broken_off_in_the_middle_the_next_start_goes_on(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = upgraded(lab)
    lab.script = at_upload
    lab.drop("A", "B")
    lab.run(5)
    returned: list[str] = []

    def refused(spool: Spool, uuid: str) -> list[str]:
        if returned:
            raise OSError(5, "Input/output error")
        returned.append(uuid)
        return return_to_inbox(spool, uuid)

    return_to_inbox: Callable[[Spool, str], list[str]] = Spool.return_to_inbox
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "return_to_inbox", refused)
        with pytest.raises(OSError, match="Input/output"):
            put_back(lab, copy)
    lab.close()
    lab.start()
    assert sorted(path.name for path in (lab.root / "inbox").iterdir()) == ["A", "B"]
    for name in ("A", "B"):
        shutil.rmtree(lab.root / "inbox" / name)
    assert all(number > 1 for number in attempts(lab, "A", "B"))


def test_it_is_said_once(lab: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    put_back(lab, upgraded(lab))
    lab.close()
    lab.start()
    assert caplog.text.count("a copy that was put back") == 1
