"""Before the first large image goes out, the server is asked once whether it would take it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from moichord.apis.preflight import Preflighted, ask
from moichord.apis.upload import Parcel, Stored
from moichord.errors import ApiFailure, ApiOutage, ApiRefusal, ApiTransient, Stopped
from moichord.sample import Api
from tests.fault_server import FaultServer, Peer, Script, answering, closing_at_once
from tests.unit.apis.endpoints import KEY, client
from tests.unit.apis.parcels import CONTENT, instance, parcel

LARGE = len(CONTENT) - 1
OUTAGE = ApiOutage("It refused.", api=Api.UPLOAD)
TRANSIENT = ApiTransient("It stumbled.", api=Api.UPLOAD)
REFUSAL = ApiRefusal("It will not.", api=Api.UPLOAD)


@dataclass
class Uploads:
    """An uploader that raises what it is told, one parcel after the other, and counts them."""

    takes_whole_samples: bool = False
    raises: list[ApiFailure | None] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        self.parcels.append(parcel)
        failure = self.raises.pop(0) if self.raises else None
        if failure is not None:
            raise failure
        return [Stored(200, None)] * len(parcel.instances)


def sent(uploader: Preflighted, *parcels: Parcel) -> None:
    for one in parcels:
        with suppress(ApiFailure):
            uploader.send(one)


def options(server: FaultServer) -> int:
    return sum(seen.line.startswith("OPTIONS ") for seen in server.requests)


@pytest.mark.parametrize("status", [200, 204, 404, 405, 500, 503])
def test_a_server_that_answers_anything_but_a_refusal_is_asked_once(status: int) -> None:
    uploads = Uploads()
    with FaultServer(answering(status)) as server:
        sent(Preflighted(uploads, client(server.url), large=LARGE), *[parcel()] * 3)
    (seen,) = server.requests
    assert (seen.line.split()[0], seen.headers["authorization"], seen.headers["x-lab"]) == ("OPTIONS", KEY, "north")
    assert len(uploads.parcels) == 3


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_refused_key_is_an_outage_before_a_byte_of_the_image_is_sent(status: int) -> None:
    uploads = Uploads()
    with FaultServer(answering(status)) as server, pytest.raises(ApiOutage) as refused:
        Preflighted(uploads, client(server.url), large=LARGE).send(parcel())
    assert (uploads.parcels, refused.value.status, refused.value.maybe_done) == ([], status, False)


def test_a_server_that_is_not_there_is_an_outage_before_the_image_is_opened() -> None:
    with FaultServer(answering()) as server:
        url = server.url
    uploads = Uploads()
    with pytest.raises(ApiOutage):
        Preflighted(uploads, client(url), large=LARGE).send(parcel())
    assert uploads.parcels == []


def test_a_server_that_hangs_up_on_the_question_is_sent_the_image_all_the_same() -> None:
    uploads = Uploads()
    with FaultServer(closing_at_once) as server:
        Preflighted(uploads, client(server.url), large=LARGE).send(parcel())
    assert len(uploads.parcels) == 1


@pytest.mark.parametrize("large", [len(CONTENT), 16 * len(CONTENT)])
def test_small_images_need_no_question(large: int) -> None:
    with FaultServer(answering(401)) as server:
        Preflighted(Uploads(), client(server.url), large=large).send(parcel())
    assert server.requests == []


def test_all_images_of_one_parcel_count() -> None:
    with FaultServer(answering()) as server:
        Preflighted(Uploads(), client(server.url), large=LARGE + 1).send(parcel(instance(), instance(uid="2.25.7")))
    assert options(server) == 1


def test_what_was_stored_proves_more_than_a_question() -> None:
    small = parcel(instance(b"small"))
    with FaultServer(answering()) as server:
        sent(Preflighted(Uploads(), client(server.url), large=LARGE), small, parcel())
    assert options(server) == 0


@pytest.mark.parametrize(("failure", "asked"), [(OUTAGE, 2), (TRANSIENT, 2), (REFUSAL, 1)])
def test_it_is_asked_again_after_an_outage_and_not_after_a_refusal_of_one_image(
    failure: ApiFailure, asked: int
) -> None:
    uploads = Uploads(raises=[failure])
    with FaultServer(answering()) as server:
        sent(Preflighted(uploads, client(server.url), large=LARGE), parcel(), parcel(), parcel())
    assert options(server) == asked


def test_images_at_once_wait_for_one_answer() -> None:
    uploads = Uploads()
    with FaultServer(answering()) as server, ThreadPoolExecutor(8) as threads:
        uploader = Preflighted(uploads, client(server.url), large=LARGE)
        list(threads.map(lambda _: uploader.send(parcel()), range(8)))
    assert (options(server), len(uploads.parcels)) == (1, 8)


def test_a_daemon_that_stops_meanwhile_has_sent_nothing_of_the_image() -> None:
    def stopping(peer: Peer) -> None:
        peer.request()
        one.stop_now()

    script: Script = stopping
    with FaultServer(script) as server:
        one = client(server.url)
        with pytest.raises(Stopped) as stopped:
            Preflighted(Uploads(), one, large=LARGE).send(parcel())
    assert not stopped.value.maybe_done


def test_the_question_carries_parameters() -> None:
    with FaultServer(answering(204)) as server:
        assert ask(client(server.url), {}, {"level": "5"}).status == 204
    assert "level=5" in server.requests[0].line
