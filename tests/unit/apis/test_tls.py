"""Real TLS, with an authority of our own: who is trusted, who we are, what is lost and what is heard."""

import datetime
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from moichord.apis.http import Answer, Client, Deadlines, Tls
from moichord.errors import ApiFailure, ApiOutage, ApiTransient, Stopped
from tests.fault_server import (
    FaultServer,
    Peer,
    Script,
    answering,
    answering_early,
    closing_at_once,
    reply,
    resetting,
    silent,
    stalling_while_reading,
    trickling,
)
from tests.unit.apis.endpoints import PATIENT, QUICK, client

MIB = 1024 * 1024
LARGE = bytes(range(256)) * 4096 * 24  # 24 MiB: more than the buffers of a loopback connection hold
SEVERAL_BLOCKS = LARGE[: 3 * MIB + 1]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Pki:
    """Two authorities, and the files that an administrator would have of them."""

    ours: trustme.CA
    foreign: trustme.CA
    folder: Path

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ours.pem")

    @property
    def foreign_ca_file(self) -> str:
        return str(self.folder / "foreign.pem")

    def certificate(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.key")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(trustme.CA(), trustme.CA(), tmp_path_factory.mktemp("pki"))
    made.ours.cert_pem.write_to_path(made.ca_file)
    made.foreign.cert_pem.write_to_path(made.foreign_ca_file)
    for name, authority in (("us", made.ours), ("stranger", made.foreign)):
        issued = authority.issue_cert("moichord@lab.example")
        issued.cert_chain_pems[0].write_to_path(made.certificate(name))
        issued.private_key_pem.write_to_path(made.key(name))
        issued.private_key_and_cert_chain_pem.write_to_path(made.certificate(f"{name}-in-one"))
    return made


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return request.param


def speaking(
    version: ssl.TLSVersion, certificate: trustme.LeafCert, clients: trustme.CA | None = None
) -> ssl.SSLContext:
    """A server of this version with this certificate; it wants one of its clients if `clients` issued theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    certificate.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def context(pki: Pki, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Of a server that is as it should be."""
    return speaking(version, pki.ours.issue_cert("127.0.0.1"))


def trusting(server: FaultServer, pki: Pki, timeout: Deadlines = PATIENT) -> Client:
    return client(server.url, tls=Tls(ca_file=pki.ca_file), timeout=timeout)


def outage(server: FaultServer, tls: Tls, body: bytes = b"image") -> ApiOutage:
    with pytest.raises(ApiOutage) as caught:
        client(server.url, tls=tls).send(body)
    return caught.value


# Whom we trust


def test_a_server_of_a_configured_authority_is_trusted(pki: Pki, context: ssl.SSLContext) -> None:
    with FaultServer(answering(200, b"{}"), tls=context) as server:
        one = trusting(server, pki)
        assert [one.send(SEVERAL_BLOCKS).status, one.send(b"again").status] == [200, 200]
    assert server.connections == 1
    assert [bytes(seen.body) for seen in server.requests] == [SEVERAL_BLOCKS, b"again"]


def test_a_server_of_an_unknown_authority_gets_nothing(pki: Pki, context: ssl.SSLContext) -> None:
    with FaultServer(answering(), tls=context) as server:
        for tls in (Tls(), Tls(ca_file=pki.foreign_ca_file)):
            failure = outage(server, tls)
            assert "is not trusted (unable to get local issuer certificate)" in failure.problem
            assert "upload.tls.ca_file" in str(failure.remedy)
            assert not failure.maybe_done
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "since", "until", "words"),
    [
        ("127.0.0.1", -2, -1, "certificate has expired"),
        ("127.0.0.1", 1, 2, "certificate is not yet valid"),
        ("images.lab.example", -1, 1, "certificate is not valid for '127.0.0.1'"),
    ],
    ids=["expired", "of the future", "of another host"],
)
def test_a_certificate_that_does_not_hold_is_an_outage_with_its_reason(
    pki: Pki, version: ssl.TLSVersion, name: str, since: int, until: int, words: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    issued = pki.ours.issue_cert(name, not_before=now + since * YEAR, not_after=now + until * YEAR)
    with FaultServer(answering(), tls=speaking(version, issued)) as server:
        failure = outage(server, Tls(ca_file=pki.ca_file))
    assert words in failure.problem
    assert "Renew the certificate, correct the host name in upload.url" in str(failure.remedy)
    assert not failure.maybe_done
    assert server.requests == []


def test_the_environment_does_not_say_whom_to_trust(
    pki: Pki, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, pki.ca_file)
    with FaultServer(answering(), tls=context) as server:
        assert "is not trusted" in outage(server, Tls()).problem


# Who we are


@pytest.mark.parametrize("in_one", [True, False], ids=["key in the certificate's file", "key in its own file"])
def test_a_client_certificate_is_shown(pki: Pki, version: ssl.TLSVersion, in_one: bool) -> None:
    own = (pki.certificate("us-in-one"), None) if in_one else (pki.certificate("us"), pki.key("us"))
    context = speaking(version, pki.ours.issue_cert("127.0.0.1"), clients=pki.ours)
    with FaultServer(answering(), tls=context) as server:
        assert client(server.url, tls=Tls(pki.ca_file, *own)).send(SEVERAL_BLOCKS).status == 200


@pytest.mark.parametrize("body", [b"image", LARGE], ids=["small", "large"])
def test_a_client_certificate_that_the_server_does_not_trust_is_an_outage(
    pki: Pki, version: ssl.TLSVersion, body: bytes
) -> None:
    context = speaking(version, pki.ours.issue_cert("127.0.0.1"), clients=pki.ours)
    with FaultServer(answering(), tls=context) as server:
        failure = outage(server, Tls(pki.ca_file, pki.certificate("stranger"), pki.key("stranger")), body)
    assert "wants another TLS certificate of moichord" in failure.problem
    assert "upload.tls.client_cert" in str(failure.remedy)
    assert server.requests == []


@pytest.mark.parametrize("body", [b"image", LARGE], ids=["small", "large"])
def test_a_missing_client_certificate_is_an_outage(pki: Pki, version: ssl.TLSVersion, body: bytes) -> None:
    context = speaking(version, pki.ours.issue_cert("127.0.0.1"), clients=pki.ours)
    with FaultServer(answering(), tls=context) as server:
        failure = outage(server, Tls(ca_file=pki.ca_file), body)
    # With TLS 1.2 the server only says that the handshake failed.
    assert "upload.tls" in str(failure.remedy)
    assert "certificate" in str(failure.remedy)
    assert server.requests == []


def test_files_that_cannot_be_used_are_an_outage_that_names_the_setting(
    pki: Pki, context: ssl.SSLContext, tmp_path: Path
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("not PEM")
    with FaultServer(answering(), tls=context) as server:
        for tls in (
            Tls(ca_file=str(text)),
            Tls(pki.ca_file, client_cert=str(text)),
            Tls(pki.ca_file, client_cert=pki.certificate("us")),
            Tls(pki.ca_file, pki.certificate("us"), pki.key("stranger")),
            Tls(pki.ca_file, pki.certificate("us"), str(tmp_path / "gone.key")),
        ):
            assert "upload.tls" in str(outage(server, tls).remedy)
    assert server.requests == []


@pytest.mark.parametrize("in_one", [True, False], ids=["key in the certificate's file", "key in its own file"])
def test_a_key_with_a_password_is_refused_and_not_asked_for(
    pki: Pki, context: ssl.SSLContext, tmp_path: Path, in_one: bool
) -> None:
    key = serialization.load_pem_private_key(Path(pki.key("us")).read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"word"),
    )
    file = tmp_path / "locked.pem"
    file.write_bytes(Path(pki.certificate("us")).read_bytes() + locked)
    own = (str(file), None) if in_one else (pki.certificate("us"), str(file))
    with FaultServer(answering(), tls=context) as server:
        failure = outage(server, Tls(pki.ca_file, *own))
    assert "password" in failure.problem
    assert "upload.tls" in str(failure.remedy)


# What is lost, and what is heard


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (resetting(), "was lost"),
        (resetting(after=3 * MIB), "was lost"),
        (closing_at_once, "was lost"),
        (stalling_while_reading, "stopped taking data"),
        (silent, "did not answer in time"),
        (trickling(b"", reply(200, b"{}")), "too slowly"),
    ],
    ids=["reset at once", "reset in the body", "closed", "stalled", "silent", "trickling"],
)
def test_a_broken_exchange_is_transient_and_sent_once(
    pki: Pki, context: ssl.SSLContext, script: Script, words: str
) -> None:
    with FaultServer(script, tls=context) as server, pytest.raises(ApiTransient, match=words) as caught:
        trusting(server, pki, QUICK).send(LARGE)
    assert caught.value.maybe_done
    assert server.connections == 1


def test_an_answer_that_is_cut_short_is_transient(pki: Pki, context: ssl.SSLContext) -> None:
    def cut(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ncut")

    with FaultServer(cut, tls=context) as server, pytest.raises(ApiTransient, match="cut short"):
        trusting(server, pki).send(b"image")


@pytest.mark.parametrize(
    "then",
    [Peer.reset, lambda peer: None, lambda peer: peer.stall(), lambda peer: peer.hold()],
    ids=["reset", "close", "stall", "read"],
)
@pytest.mark.parametrize("status", [401, 413])
def test_an_early_refusal_is_heard_before_more_is_sent(
    pki: Pki, context: ssl.SSLContext, then: Callable[[Peer], None], status: int
) -> None:
    sent: list[int] = []
    said, heard = threading.Event(), threading.Event()

    def refuse(peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        peer.body(seen, MIB)
        peer.send(reply(status, b"no"))
        said.set()
        heard.wait()
        then(peer)

    def wait(count: int) -> None:
        sent.append(count)
        said.wait()

    with FaultServer(refuse, answering(), tls=context) as server:
        one = trusting(server, pki)
        answer = hearing(one, wait, heard)
        assert one.send(b"next").status == 200
    assert (answer.status, answer.content) == (status, b"no")
    assert sent == [MIB]
    assert server.connections == 2


def hearing(one: Client, progress: Callable[[int], None], heard: threading.Event) -> Answer:
    try:
        return one.send(LARGE, progress=progress)
    finally:
        heard.set()


@pytest.mark.parametrize("status", [401, 413])
def test_an_early_refusal_with_a_reset_is_heard_or_transient(pki: Pki, context: ssl.SSLContext, status: int) -> None:
    with FaultServer(answering_early(status, then=Peer.reset), tls=context) as server:
        try:
            assert trusting(server, pki, QUICK).send(LARGE).status == status
        except ApiFailure as failure:
            # The reset came first, and took the answer with it.
            assert isinstance(failure, ApiTransient)
            assert "was lost" in failure.problem


def test_an_early_success_is_no_reason_to_stop_sending(pki: Pki, context: ssl.SSLContext) -> None:
    read = threading.Event()

    def welcome(peer: Peer) -> None:
        seen = peer.head()
        assert seen is not None
        peer.send(reply(200, b"x" * 200_000))
        peer.body(seen)
        read.set()

    with FaultServer(welcome, tls=context) as server:
        answer = trusting(server, pki).send(SEVERAL_BLOCKS)
        assert read.wait(10)
    assert (answer.status, answer.content) == (200, b"x" * 200_000)
    assert bytes(server.requests[0].body) == SEVERAL_BLOCKS


@pytest.mark.parametrize("script", [stalling_while_reading, silent], ids=["sending", "waiting"])
def test_stopping_ends_what_is_under_way(pki: Pki, context: ssl.SSLContext, script: Script) -> None:
    ended: list[BaseException] = []
    with FaultServer(script, tls=context) as server:
        one = trusting(server, pki)

        def sending_thread() -> None:
            try:
                one.send(LARGE)
            except Stopped as stopped:
                ended.append(stopped)

        thread = threading.Thread(target=sending_thread)
        thread.start()
        assert server.reached.wait(10)
        one.stop_now()
        thread.join(10)
        assert not thread.is_alive()
    assert len(ended) == 1


def test_stopping_ends_a_handshake_that_does_not_end(pki: Pki) -> None:
    greeted = threading.Event()
    ended: list[BaseException] = []

    def mute(peer: Peer) -> None:
        peer.connection.recv(1)
        greeted.set()
        peer.stall()

    with FaultServer(mute) as server:
        one = client(server.url.replace("http:", "https:"), tls=Tls(ca_file=pki.ca_file))

        def sending_thread() -> None:
            try:
                one.send(b"image")
            except Stopped as stopped:
                ended.append(stopped)

        thread = threading.Thread(target=sending_thread)
        thread.start()
        assert greeted.wait(10)
        one.stop_now()
        thread.join(5)  # connecting may take longer than this
        assert not thread.is_alive()
    assert len(ended) == 1


# Schemes and ports that do not fit


def test_a_plain_request_to_a_tls_port_fails_no_sample(pki: Pki, context: ssl.SSLContext) -> None:
    with FaultServer(answering(), tls=context) as server, pytest.raises(ApiTransient):
        client(server.url.replace("https:", "http:"), timeout=QUICK).send(b"image")


def test_a_handshake_that_does_not_end_is_bounded_by_connect(pki: Pki) -> None:
    def drip(peer: Peer) -> None:
        peer.trickle(b"\x16\x03\x03\x40\x00" + b"\x02" * 9999)

    with FaultServer(drip) as server, pytest.raises(ApiTransient, match="did not take the connection") as caught:
        client(server.url.replace("http:", "https:"), timeout=Deadlines(connect=0.3, read=30.0)).send(b"image")
    assert not caught.value.maybe_done
