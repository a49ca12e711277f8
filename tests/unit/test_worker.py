"""How a worker ends the turns that nobody foresaw: no submission may stay in its hands."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from moichord.errors import StateUnwritable
from moichord.pipeline import archive_sample
from moichord.sample import Api, State
from tests.house import Called, House, house


class Bug(Exception):
    """A mistake of moichord's own."""


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def raises(error: Exception, times: int, otherwise: object = None):
    """A verb that fails so many times, and then does what it should."""
    left = [error] * times

    def verb(*arguments: object, **named: object) -> object:
        if left:
            raise left.pop()
        return otherwise(*arguments, **named) if callable(otherwise) else None

    return verb


def test_a_mistake_while_a_mistake_is_written_down_leaves_nobody_in_hand(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Called) -> NoReturn:
        raise Bug("in the step")

    transitions = lab.rooms.transitions
    lab.drop("S1", "S2")
    monkeypatch.setattr(lab, "script", broken)
    monkeypatch.setattr(transitions, "postpone", raises(Bug("in the note of it"), 1))
    assert lab.rooms.turns.take_one() is None
    assert {lab.state("S1"), lab.state("S2")} == {State.WAITING, State.READY}
    assert "its turn could not be ended" in caplog.text
    monkeypatch.undo()
    lab.run()
    assert {lab.state("S1"), lab.state("S2")} == {State.DONE}


def test_a_submission_is_given_back_however_often_that_fails(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    transitions = lab.rooms.transitions
    lab.drop("S1")
    monkeypatch.setattr(lab, "script", raises(Bug("in the step"), 1))
    monkeypatch.setattr(transitions, "postpone", raises(Bug("in the note of it"), 1, transitions.postpone))
    monkeypatch.setattr(transitions, "hold", raises(Bug("in giving it back"), 3, transitions.hold))
    assert lab.rooms.turns.take_one() is None
    assert lab.state("S1") is State.WAITING


def test_a_submission_is_given_back_at_a_stop_too(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: Called) -> NoReturn:
        lab.signals.stop()
        raise StateUnwritable("The disk was full for a moment")

    lab.drop("S1")
    lab.script = stopped
    assert lab.rooms.turns.take_one() is None
    assert lab.state("S1") is State.WAITING


def test_a_stop_is_heeded_between_two_images_that_are_archived(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lay = archive_sample.lay
    laid = []

    def and_stop(*arguments: object, **named: object) -> object:
        laid.append(arguments)
        lab.signals.stop()
        return lay(*arguments, **named)

    monkeypatch.setattr(archive_sample, "lay", and_stop)
    lab.drop("S1", images=3)
    assert lab.rooms.turns.take_one() is None
    assert (len(laid), lab.state("S1")) == (1, State.WAITING)
    monkeypatch.undo()
    lab.close()
    lab.start()
    lab.run()
    assert lab.state("S1") is State.DONE
    assert len(lab.calls_to(Api.UPLOAD)) == 3


def test_what_stays_in_work_of_a_finished_sample_takes_nothing_from_its_end(
    lab: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(lab.rooms.spool), "discard", raises(OSError(16, "Device or resource busy"), 1))
    lab.drop("S1")
    assert lab.rooms.turns.take_one() is None
    assert lab.state("S1") is State.DONE
    assert "unforeseen" not in caplog.text
    assert "Device or resource busy" in caplog.text
