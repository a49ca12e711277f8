"""What was said at one look is said again, until something has changed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from moichord.status.web.kept import MOST, Answer, Kept


class Speaker:
    """Counts how often it was made to say something."""

    def __init__(self) -> None:
        self.said = 0

    def __call__(self) -> Answer:
        self.said += 1
        return {"said": self.said}


def failing() -> Answer:
    raise OSError("not now")


@pytest.mark.parametrize(
    ("then", "asked", "said"),
    [
        (("state", 1), "/", 1),
        (("state", 2), "/", 2),
        (("state", 1), "/?page=2", 2),
    ],
)
def test_an_answer_is_made_anew_for_another_question_and_another_state(then: object, asked: str, said: int) -> None:
    kept, speaker = Kept(), Speaker()
    kept.answer(("state", 1), "/", speaker)
    assert kept.answer(then, asked, speaker) == {"said": said}


def test_what_was_said_of_a_state_that_is_over_is_forgotten() -> None:
    kept, speaker = Kept(), Speaker()
    for state in (1, 2, 1):
        kept.answer(state, "/", speaker)
    assert speaker.said == 3


def test_however_much_is_asked_no_more_than_some_is_kept() -> None:
    kept, speaker = Kept(), Speaker()
    for number in range(3 * MOST):
        kept.answer(1, number, speaker)
    assert len(kept._answers) <= MOST


def test_what_could_not_be_answered_is_asked_again() -> None:
    kept, speaker = Kept(), Speaker()
    with pytest.raises(OSError, match="not now"):
        kept.answer(1, "/", failing)
    assert kept.answer(1, "/", speaker) == {"said": 1}


def test_those_who_ask_at_the_same_time_get_one_answer() -> None:
    kept, speaker = Kept(), Speaker()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Answer:
        begun.set()
        assert go_on.wait(20)
        return speaker()

    def ask(make: Callable[[], Answer]) -> Answer:
        return kept.answer(1, "/", make)

    with ThreadPoolExecutor(4) as people:
        first = people.submit(ask, slow)
        assert begun.wait(20)
        others = [people.submit(ask, speaker) for _ in range(3)]
        go_on.set()
        assert [one.result() for one in (first, *others)] == [{"said": 1}] * 4
