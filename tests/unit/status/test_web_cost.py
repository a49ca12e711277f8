"""What a page costs does not grow with history, nor with what waits. Counted, not timed; the times are those of
`python -m tests.benchmarks.page`.
"""

import cProfile
import pstats
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moichord.sample import State, Step, Submission
from moichord.status.web.guard import Visitor
from moichord.status.web.live import Live
from moichord.status.web.room import Page
from moichord.status.web.sessions import new_session
from tests.unit.status.lab import Lab
from tests.unit.status.site import settings_of

LARGEST = 200 * 1024
PLACES = {"/": "", "/?q=MO-1": "q=MO-1", "/?page=3": "page=3"}
SHOWN = 60
NUMBERS = count(1)
FEW, MANY = 600, 1000  # of the first, as many as end on one day

Ask = Callable[[str], Response]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def ask(lab: Lab) -> Ask:
    """Asks for the list as a browser would, without a server, each time as somebody else."""
    page = Page(settings_of(lab, {}), lab.database, lab.clock, lambda: [], soonest=0.0)
    inner = page.application(Live(lambda: 0))._application  # type: ignore[attr-defined]
    (route,) = (one for one in inner.routes if isinstance(one, Route) and one.path == "/")

    def asked(query: str) -> Response:
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": []}
        request = Request({**scope, "path_params": {}})
        request.state.visitor = Visitor(new_session(None, lab.clock.now()), "0" * 64)
        answer: Response = route.endpoint(request)
        return answer

    return asked


def much(lab: Lab) -> tuple[Submission, Submission]:
    """More of each kind than is shown; the last ones, to be copied."""
    for number in range(SHOWN):
        lab.transient(lab.processing(f"WAITS-{number}"))
        lab.ended(
            lab.processing(f"FAILED-{number}"), State.FAILED, "It is broken in a way that takes words.", "Mend it."
        )
        lab.arriving(f"COMES-{number}")
    sent = lab.processing("SENT", Step.ARCHIVE)
    lab.ended(sent, State.DONE)
    return lab.now(sent), lab.transient(lab.processing("WAITS"))


def calls(ask: Ask, query: str) -> int:
    """What it takes to answer while nothing changes."""
    profile = cProfile.Profile()
    profile.runcall(ask, query)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def calls_anew(lab: Lab, ask: Ask, query: str) -> int:
    """What it takes to answer just after a change; what is read again only when a sample has ended is read before."""
    ask(query)
    lab.bulletin.publish([], {"nobody": next(NUMBERS)})
    return calls(ask, query)


@pytest.mark.parametrize("place", PLACES)
def test_the_list_costs_the_same_and_stays_small_however_long_history_is(lab: Lab, ask: Ask, place: str) -> None:
    sent, _ = much(lab)
    lab.copies(sent, FEW)
    few = calls_anew(lab, ask, PLACES[place])
    lab.copies(sent, MANY)
    assert calls_anew(lab, ask, PLACES[place]) < few + MANY // 2
    body = bytes(ask(PLACES[place]).body)
    assert len(body) < LARGEST
    assert body.count(b'<li class="row') >= 25


def test_the_list_costs_the_same_however_much_waits(lab: Lab, ask: Ask) -> None:
    _, waiting = much(lab)
    few = calls_anew(lab, ask, "")
    lab.copies(waiting, MANY)
    assert calls_anew(lab, ask, "") < few + MANY // 2
    assert len(bytes(ask("").body)) < LARGEST


def test_what_has_not_changed_is_neither_read_nor_drawn_again_for_the_next_who_looks(lab: Lab, ask: Ask) -> None:
    much(lab)
    first = calls(ask, "")
    assert calls(ask, "") < first / 20
    assert calls_anew(lab, ask, "") < first / 2, "the lines that are as they were"
