"""Messages by way of Apprise: what is sent, whom it names, and what of an address is ever seen."""

import builtins
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from moichord import logs
from moichord.config import Notify
from moichord.errors import ConfigurationInvalid, NotTold
from moichord.status.notify.news import Message
from moichord.status.notify.receivers import Addressee, addressees
from tests.receivers import ReceivingServer

KEY = "k3y-of-the-chat"
MESSAGE = Message("moichord on lab: 2 samples failed", "2 samples failed:\n- A-1 <b>&amp;\n- A_2_ *bold*")


@pytest.fixture
def server() -> Iterator[ReceivingServer]:
    with ReceivingServer() as made:
        yield made


def made(*urls: str) -> list[Addressee]:
    return addressees(Notify.model_validate({"urls": list(urls)}))


def test_a_message_arrives_as_it_is_written(server: ReceivingServer) -> None:
    (one,) = made(f"json://{server.address}/{KEY}")
    one.tell(MESSAGE)
    (told,) = server.told
    assert (told.title, told.text) == (MESSAGE.title, MESSAGE.body)
    assert one.name == "notify.urls[0] (json)"


def test_a_service_that_shows_markup_gets_none_of_ours(server: ReceivingServer) -> None:
    (one,) = made(f"json://{server.address}/?format=html")
    one.tell(MESSAGE)
    assert "<b>" not in server.told[0].text
    assert "&lt;b&gt;" in server.told[0].text


@pytest.mark.parametrize(
    "url", ["json://user:{key}@{at}/", "json://{at}/{key}", "json://{at}/?+X-Key={key}", "ntfy://{at}/{key}"]
)
def test_what_is_not_taken_is_said_without_any_part_of_the_address(url: str, server: ReceivingServer) -> None:
    log = io.StringIO()
    logs.setup(level="debug", stream=log)
    server.status = 500
    (one,) = made(url.format(key=KEY, at=server.address))
    with pytest.raises(NotTold, match=r"notify\.urls\[0\] \(\w+\) did not take a message: .*500") as failure:
        one.tell(MESSAGE)
    for part in (KEY, server.address, "127.0.0.1"):
        assert part not in str(failure.value)
        assert part not in repr(one)
    assert log.getvalue() == ""


def test_a_receiver_that_is_not_there_is_said_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    (one,) = made(f"json://127.0.0.1:9/{KEY}")
    with pytest.raises(NotTold, match="did not take a message"):
        one.tell(MESSAGE)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_redirects_are_not_followed(server: ReceivingServer) -> None:
    with ReceivingServer() as elsewhere:
        server.status, server.location = 307, f"http://{elsewhere.address}/"
        (one,) = made(f"json://{server.address}/")
        with pytest.raises(NotTold):
            one.tell(MESSAGE)
        assert elsewhere.told == []


def test_what_the_library_says_of_one_receiver_is_not_taken_for_anothers(server: ReceivingServer) -> None:
    (good, bad) = made(f"json://{server.address}/", "json://127.0.0.1:9/")
    problems: list[str] = []

    def tell(one: Addressee) -> None:
        try:
            one.tell(MESSAGE)
        except NotTold as error:
            problems.append(error.problem)

    threads = [threading.Thread(target=tell, args=(one,)) for one in (good, bad) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.told) == 4
    assert {problem.split(" did")[0] for problem in problems} == {bad.name}


def test_it_is_sent_from_the_thread_that_asked_for_it_so_that_no_stop_waits_for_it(server: ReceivingServer) -> None:
    before = set(threading.enumerate())
    (one,) = made(f"json://{server.address}/")
    one.tell(MESSAGE)
    assert {thread.name for thread in threading.enumerate() if not thread.daemon} <= {one.name for one in before}


def test_the_same_address_has_the_same_mark_wherever_it_stands() -> None:
    first, second = made("json://a/", "json://b/")
    again, _ = made("json://b/", "json://a/")
    assert first.mark != second.mark == again.mark
    assert "json" not in first.mark


def test_addresses_that_the_library_does_not_know_are_all_named_and_not_shown() -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        made(f"nosuch://{KEY}", "json://fine/", f"slack://{KEY}")
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["notify.urls[0]", "notify.urls[2]"]
    assert KEY not in str(refused.value)


def test_without_the_extra_it_is_said_what_to_install_and_only_if_somebody_is_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return really(name, *rest)

    (one,) = made("json://a/")
    monkeypatch.setattr(builtins, "__import__", without)
    assert made() == []
    with pytest.raises(ConfigurationInvalid, match=r"pip install 'moichord\[notify\]'"):
        made("json://a/")
    with pytest.raises(NotTold, match="not installed"):
        one.tell(MESSAGE)
