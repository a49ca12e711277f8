"""Intents: committed before each request, those of short ones a few at once, and taken back where none began."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moichord.errors import StateUnwritable
from moichord.pipeline.intents import AHEAD, Intents
from moichord.sample import Image
from tests.unit.queue.state import image


class Noted:
    """A journal that notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.taken_back: list[str] = []
        self.full = False

    def sending(self, *images: Image) -> None:
        if self.full:
            raise StateUnwritable("the disk is full")
        self.sent.append([one.relative_path for one in images])

    def not_sent(self, *images: Image) -> None:
        self.taken_back += [one.relative_path for one in images]


def intents(journal: Any, count: int, short: int | None = None) -> Intents:
    parcels = [[image(str(number))] for number in range(count)]
    return Intents(journal, parcels, count if short is None else short)


def test_the_intents_of_short_requests_are_committed_a_few_at_once() -> None:
    journal = Noted()
    ahead = intents(journal, AHEAD + 1)
    for number in range(AHEAD + 1):
        ahead.require(number)
    ahead.take_back()
    assert journal.sent == [[str(number) for number in range(AHEAD)], [str(AHEAD)]]
    assert journal.taken_back == []


def test_the_intent_of_a_long_request_is_committed_when_it_begins() -> None:
    journal = Noted()
    ahead = intents(journal, 4, short=2)
    for number in range(4):
        ahead.require(number)
    assert journal.sent == [["0", "1"], ["2"], ["3"]]


def test_a_request_that_overtakes_another_is_not_intended_twice() -> None:
    journal = Noted()
    ahead = intents(journal, 5)
    for number in (1, 0):
        ahead.require(number)
    assert journal.sent == [["1", "2", "3", "4"], ["0"]]
    ahead.take_back()
    assert journal.taken_back == ["2", "3", "4"]


def test_what_did_not_begin_is_taken_back() -> None:
    journal = Noted()
    ahead = intents(journal, 4)
    ahead.require(0)
    ahead.require(2)
    ahead.take_back()
    assert journal.taken_back == ["1", "3"]


def test_an_intent_that_could_not_be_written_is_none() -> None:
    journal = Noted()
    journal.full = True
    ahead = intents(journal, 2)
    try:
        ahead.require(0)
    except StateUnwritable:
        journal.full = False
    ahead.take_back()
    ahead.require(1)
    assert (journal.taken_back, journal.sent) == ([], [["1"]])


def test_each_intent_is_committed_once_whoever_comes_first() -> None:
    journal = Noted()
    ahead = intents(journal, 200)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ahead.require, range(200)))
    ahead.take_back()
    assert sorted(int(name) for names in journal.sent for name in names) == list(range(200))
    assert journal.taken_back == []
