"""Open pages hear of changes; a page that cannot be served stops nothing."""

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.applications import Starlette

from moichord.config import Address
from moichord.queue.glance import Glance, glance
from moichord.queue.views import Views
from moichord.sample import State
from moichord.status.standing import look
from moichord.status.web.present import LATEST, Present
from moichord.status.web.room import Page
from moichord.status.web.server import PageServer
from tests.unit.status.lab import Lab
from tests.unit.status.site import PATIENCE, served, settings_of


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def events(answer: requests.Response) -> Iterator[str]:
    lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
    return (line.partition(": ")[2] for line in lines if line.startswith("data"))


def test_an_open_page_is_told_when_something_has_changed(lab: Lab) -> None:
    with served(lab) as site, requests.get(f"{site.address}/live", stream=True, timeout=PATIENCE) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer)
        first = next(told)
        lab.taken("MO-1")
        assert next(told) != first


def test_all_open_pages_are_told_and_end_with_the_daemon(lab: Lab) -> None:
    with served(lab) as site:
        answers = [requests.get(f"{site.address}/live", stream=True, timeout=PATIENCE) for _ in range(3)]
        told = [events(answer) for answer in answers]
        firsts = [next(one) for one in told]
        lab.taken("MO-1")
        changed = [next(one) for one in told]
        assert all(now != first for now, first in zip(changed, firsts, strict=True))
    lasts = {[now, *one][-1] for now, one in zip(changed, told, strict=True)}
    assert len(lasts) == 1  # the streams have ended, and nobody was told less than others


def test_the_state_is_read_only_when_it_has_changed_or_its_words_are_old(lab: Lab) -> None:
    present = Present(lab.database, lab.failed, lab.clock, soonest=0.0)
    before = present.standing()
    assert present.standing() is before
    lab.taken("MO-1")
    changed = present.standing()
    assert changed is not before
    lab.clock.at += LATEST
    assert present.standing() is not changed
    present.close()


def test_a_sample_that_ends_between_two_questions_of_one_look_is_told_once(lab: Lab) -> None:
    submission = lab.processing("MO-1")

    class Meanwhile(Views):
        def glance(self, *, since: float, recent: int, most: int | None) -> Glance:
            asked: list[str] = []
            with lab.database.read() as connection:

                def send(statement: str, values: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
                    rows = connection.exec_driver_sql(statement, values).all()
                    if not asked:
                        lab.ended(submission, State.FAILED, "It is broken.")
                    asked.append(statement)
                    return rows

                return glance(send, since=since, recent=recent, most=most)

    standing = look(Meanwhile(lab.database), lab.failed, lambda: True, lab.clock)
    assert ([one.sample_id for one in standing.overview.unfinished], standing.attention) == (["MO-1"], [])


def test_however_much_changes_the_state_is_read_seldom(lab: Lab) -> None:
    present = Present(lab.database, lab.failed, lab.clock, soonest=0.5)
    before = present.standing()
    lab.taken("MO-1")
    assert present.standing() is before
    lab.clock.at += 0.5
    assert present.standing() is not before
    present.close()


def test_a_port_that_is_in_use_is_said_and_taken_once_it_is_free(lab: Lab) -> None:
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        page = Page(settings_of(lab, {"listen": f"127.0.0.1:{port}"}), lab.database, lab.clock, list)
        thread = threading.Thread(target=page.run, args=(stopping,))
        thread.start()
        while not page.notices:
            thread.join(0.05)
        assert page.notices == [
            f"the page cannot be served at 127.0.0.1:{port}: Address already in use; see web.listen"
        ]
    try:
        assert str(page.address_once_it_listens(PATIENCE)) == f"127.0.0.1:{port}"
        assert page.notices == []
    finally:
        stopping.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_page_that_is_switched_off_listens_nowhere(lab: Lab) -> None:
    stopping = threading.Event()
    page = Page(settings_of(lab, {"enabled": False}), lab.database, lab.clock, list)
    thread = threading.Thread(target=page.run, args=(stopping,))
    thread.start()
    stopping.set()
    thread.join(PATIENCE)
    assert page.address_once_it_listens(0) is None


def test_a_small_answer_waits_for_no_acknowledgement(lab: Lab) -> None:
    server = PageServer(Address("127.0.0.1", 0), lambda _: Starlette(), lambda: 0, lab.clock)
    listening = server._listening()
    assert listening is not None
    with listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
