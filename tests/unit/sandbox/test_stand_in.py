"""The stand-in APIs over real HTTP: what they answer, what they remember, and how they fail when asked to."""

import hashlib
import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from moichord.errors import UsageRefused
from moichord.sample import Api
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.faults import Moment, Rehearsal, Rejection
from moichord.sandbox.received import Received, read_record
from moichord.sandbox.stand_in import StandInApis
from tests.builders import image_bytes, new_uid


@pytest.fixture
def apis() -> Iterator[StandInApis]:
    with StandInApis() as apis:
        yield apis


def ask_metadata(apis: StandInApis, sample_id: str = "MO-1001", **options: Any) -> requests.Response:
    headers = {"x-api-key": apis.keys[Api.METADATA]}
    body = {"sample_id": sample_id, "priority": 2}
    return requests.get(apis.url(Api.METADATA), timeout=10, **{"json": body, "headers": headers, **options})


def upload(apis: StandInApis, data: bytes, **options: Any) -> requests.Response:
    headers = {"Authorization": apis.keys[Api.UPLOAD], "Idempotency-Key": "key-1"}
    return requests.post(apis.url(Api.UPLOAD), timeout=10, **{"data": data, "headers": headers, **options})


def trigger_analytics(apis: StandInApis, body: Any = None, **options: Any) -> requests.Response:
    headers = {"x-api-key": apis.keys[Api.ANALYTICS], "Idempotency-Key": "key-2"}
    body = {"sample_id": "MO-1001", "request_type": "t"} if body is None else body
    return requests.get(apis.url(Api.ANALYTICS), timeout=10, **{"json": body, "headers": headers, **options})


def connection_to(apis: StandInApis) -> http.client.HTTPConnection:
    address = apis.url(Api.UPLOAD).split("/")[2]
    return http.client.HTTPConnection(address, timeout=10)


# Metadata


def test_a_sample_of_the_catalogue_is_known(apis: StandInApis) -> None:
    reply = ask_metadata(apis, "MO-1003")
    assert (reply.status_code, reply.json()) == (200, CATALOGUE["MO-1003"].reply())
    assert set(reply.json()) == {"patient-name", "request_species", "test_type", "clinic-name"}


def test_an_unknown_sample_is_404_and_invented_on_request(apis: StandInApis) -> None:
    assert ask_metadata(apis, "NEVER-HEARD-OF").status_code == 404
    with StandInApis(any_sample=True) as generous:
        first, second = ask_metadata(generous, "NEVER-HEARD-OF"), ask_metadata(generous, "NEVER-HEARD-OF")
    assert first.status_code == 200
    assert first.json() == second.json()


def test_a_record_can_be_changed_while_it_runs(apis: StandInApis) -> None:
    apis.records["MO-1001"] = {"patient-name": "Only a name"}
    assert ask_metadata(apis).json() == {"patient-name": "Only a name"}


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"{}", b'{"sample_id": 7}', b"[" * 100_000])
def test_metadata_without_a_sample_id_is_400(apis: StandInApis, data: bytes) -> None:
    assert ask_metadata(apis, json=None, data=data).status_code == 400


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"Authorization": "sandbox-metadata-key"}])
def test_a_wrong_key_is_401_at_metadata_and_analytics(apis: StandInApis, headers: dict[str, str]) -> None:
    assert ask_metadata(apis, headers=headers).status_code == 401
    assert trigger_analytics(apis, headers=headers).status_code == 401
    assert not any(r.authorized for r in apis.requests)


# Upload


def test_an_image_is_stored_once_and_the_old_one_is_kept(apis: StandInApis) -> None:
    uids = {name: new_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "sop_instance_uid")}
    old = image_bytes(patient_id="MO-1001-001", PatientName="First", **uids)
    new = image_bytes(patient_id="MO-1001-001", PatientName="Second", **uids)
    first, second = upload(apis, old).json(), upload(apis, new).json()
    assert (first["Status"], second["Status"]) == ("Success", "AlreadyStored")
    assert {**first, "Status": ""} == {**second, "Status": ""}
    [instance] = apis.instances
    assert instance.sha256 == hashlib.sha256(old).hexdigest()


def test_the_same_image_under_another_patient_id_is_a_new_one(apis: StandInApis) -> None:
    uids = {name: new_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "sop_instance_uid")}
    answers = [upload(apis, image_bytes(patient_id=f"MO-1001-00{n}", **uids)).json() for n in (1, 2)]
    assert [a["Status"] for a in answers] == ["Success", "Success"]
    assert answers[0]["ID"] != answers[1]["ID"]
    assert len(apis.instances) == 2


def test_the_identifiers_are_those_that_orthanc_gives(apis: StandInApis) -> None:
    data = image_bytes(
        patient_id="1CT1",
        sop_instance_uid="1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
        StudyInstanceUID="1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
        SeriesInstanceUID="1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
    )
    # As a real Orthanc answered for pydicom's CT_small.dcm, which has this identity.
    assert upload(apis, data).json() == {
        "ID": "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af",
        "ParentPatient": "fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718",
        "ParentSeries": "93034833-163e42c3-bc9a428b-194620cf-2c5799e5",
        "ParentStudy": "8a8cf898-ca27c490-d0c7058c-929d0581-2bbf104d",
        "Path": "/instances/f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af",
        "Status": "Success",
    }


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg", "rle"])
def test_the_identity_is_read_in_every_encoding(apis: StandInApis, syntax: str) -> None:
    uid = new_uid()
    data = image_bytes(patient_id="MO-1002-001", sop_instance_uid=uid, transfer_syntax=syntax)
    assert upload(apis, data).status_code == 200
    [received] = apis.requests.calls(Api.UPLOAD)
    assert (received.sop_instance_uid, received.patient_id) == (uid, "MO-1002-001")
    assert (received.length, received.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (received.idempotency_key, received.status, received.stored) == ("key-1", 200, "Success")


@pytest.mark.parametrize("data", [b"", b"hello", bytes(132), bytes(128) + b"DICM" + b"\xff" * 5000])
def test_what_is_no_dicom_file_is_400_in_orthancs_words(apis: StandInApis, data: bytes) -> None:
    reply = upload(apis, data)
    assert (reply.status_code, reply.json()["OrthancStatus"]) == (400, 15)
    assert len(apis.instances) == 0


def test_a_wrong_upload_key_is_401_and_stores_nothing(apis: StandInApis) -> None:
    assert upload(apis, image_bytes(), headers={"Authorization": "wrong"}).status_code == 401
    assert len(apis.instances) == 0


def test_a_body_that_ends_early_is_recorded_but_not_stored(apis: StandInApis) -> None:
    data = image_bytes()
    connection = connection_to(apis)
    connection.putrequest("POST", "/instances")
    connection.putheader("Authorization", apis.keys[Api.UPLOAD])
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data[:-1])
    connection.sock.shutdown(socket.SHUT_WR)
    [received] = apis.requests.wait_for(lambda log: log.calls(Api.UPLOAD))
    connection.close()
    assert (received.complete, received.status, received.length) == (False, None, len(data) - 1)
    assert len(apis.instances) == 0


def test_a_body_without_a_length_is_411(apis: StandInApis) -> None:
    assert upload(apis, iter([image_bytes()])).status_code == 411  # type: ignore[arg-type]


def test_a_client_that_expects_100_continue_is_told_to_go_on(apis: StandInApis) -> None:
    data = image_bytes()
    host, port = apis.url(Api.UPLOAD).split("/")[2].split(":")
    head = f"POST /instances HTTP/1.1\r\nHost: x\r\nAuthorization: {apis.keys[Api.UPLOAD]}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as plug:
        plug.sendall(f"{head}Content-Length: {len(data)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert plug.recv(1000).startswith(b"HTTP/1.1 100 ")
        plug.sendall(data)
        assert plug.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_images_are_kept_in_a_folder_on_request(tmp_path: Path) -> None:
    data = image_bytes()
    with StandInApis(keep_files=tmp_path / "kept") as apis:
        identifier = upload(apis, data).json()["ID"]
        upload(apis, data)
        upload(apis, b"no image")
    assert {f.name: f.read_bytes() for f in (tmp_path / "kept").iterdir()} == {f"{identifier}.dcm": data}


# Analytics


def test_analytics_is_queued_and_counts_the_images_it_has(apis: StandInApis) -> None:
    upload(apis, image_bytes(patient_id="MO-1001-001"))
    upload(apis, image_bytes(patient_id="MO-10010-001"))
    reply = trigger_analytics(apis)
    assert (reply.status_code, reply.json()) == (200, {"status": "queued", "sample_id": "MO-1001", "images": 1})
    [received] = apis.requests.calls(Api.ANALYTICS)
    assert (received.json, received.idempotency_key) == ({"sample_id": "MO-1001", "request_type": "t"}, "key-2")


@pytest.mark.parametrize("body", [{"sample_id": "MO-1001"}, {"request_type": "t"}, {"sample_id": ""}, [], "text"])
def test_analytics_without_a_field_is_400(apis: StandInApis, body: Any) -> None:
    assert trigger_analytics(apis, body).status_code == 400


# Probes, methods, paths, connections


def test_probes_prove_the_key_and_cause_no_work(apis: StandInApis) -> None:
    def probe(api: Api, header: str, key: str) -> int:
        return requests.options(apis.url(api), headers={header: key}, timeout=10).status_code

    assert probe(Api.ANALYTICS, "x-api-key", apis.keys[Api.ANALYTICS]) == 204
    assert probe(Api.ANALYTICS, "x-api-key", "wrong") == 401
    assert probe(Api.UPLOAD, "Authorization", "wrong") == 401
    # Orthanc has no OPTIONS on /instances.
    assert probe(Api.UPLOAD, "Authorization", apis.keys[Api.UPLOAD]) == 404
    assert len(apis.requests) == 4
    assert not apis.requests.calls(Api.ANALYTICS)


def test_other_methods_and_paths_are_refused(apis: StandInApis) -> None:
    reply = requests.put(apis.url(Api.UPLOAD), data=b"x", headers={"Authorization": apis.keys[Api.UPLOAD]}, timeout=10)
    assert (reply.status_code, reply.headers["Allow"]) == (405, "POST,OPTIONS")
    assert requests.get(apis.url(Api.UPLOAD) + "/elsewhere", timeout=10).status_code == 404


def test_one_connection_serves_many_requests_good_and_bad(apis: StandInApis) -> None:
    connection, key = connection_to(apis), {"Authorization": apis.keys[Api.UPLOAD]}
    statuses = []
    connection.connect()
    plug = connection.sock
    for path, body in [("/instances", image_bytes()), ("/instances", b"bad"), ("/nowhere", b"x"), ("/instances", b"")]:
        connection.request("POST", path, body, key)
        response = connection.getresponse()
        statuses.append(response.status)
        response.read()
        assert connection.sock is plug
    connection.close()
    assert statuses == [200, 400, 404, 400]


def test_it_listens_on_loopback_only() -> None:
    for host in ("0.0.0.0", "192.0.2.1", "", "lab.example"):  # noqa: S104 - what must be refused
        with pytest.raises(UsageRefused, match="anybody could"):
            StandInApis(host=host)


# Failures on request


def test_scripted_failures_come_in_order_and_then_end(apis: StandInApis) -> None:
    apis.fail_next(Api.METADATA, status=503, times=2, headers={"Retry-After": "7"})
    apis.fail_next(Api.METADATA, status=200, body=b"{}")
    requests.options(apis.url(Api.METADATA), timeout=10)
    replies = [ask_metadata(apis) for _ in range(4)]
    assert [r.status_code for r in replies] == [503, 503, 200, 200]
    assert replies[0].headers["Retry-After"] == "7"
    assert replies[2].json() == {}
    assert trigger_analytics(apis).status_code == 200


def test_failures_by_rule_last_until_mended(apis: StandInApis) -> None:
    apis.fail_for(lambda r: r.is_about("MO-1002"), status=403)
    upload_of_2 = image_bytes(patient_id="MO-1002-001")
    assert [ask_metadata(apis, "MO-1002").status_code, upload(apis, upload_of_2).status_code] == [403, 403]
    assert [ask_metadata(apis).status_code, len(apis.instances)] == [200, 0]
    apis.mend()
    assert [ask_metadata(apis, "MO-1002").status_code, upload(apis, upload_of_2).status_code] == [200, 200]


@pytest.mark.parametrize(
    ("moment", "stored", "length"), [(Moment.CUT, 0, "half"), (Moment.LOST, 1, "whole"), (Moment.INSTEAD, 0, "whole")]
)
def test_a_request_may_be_cut_lost_or_refused(apis: StandInApis, moment: Moment, stored: int, length: str) -> None:
    data = image_bytes()
    apis.fail_next(Api.UPLOAD, moment=moment)
    if moment is Moment.INSTEAD:
        assert upload(apis, data).status_code == 500
    else:
        with pytest.raises(requests.ConnectionError):
            upload(apis, data)
    [received] = apis.requests.wait_for(lambda log: log.calls(Api.UPLOAD))
    assert received.length == {"half": len(data) // 2, "whole": len(data)}[length]
    assert received.status == (500 if moment is Moment.INSTEAD else None)
    assert len(apis.instances) == stored
    assert upload(apis, data).json()["Status"] == ("AlreadyStored" if stored else "Success")


def test_an_early_answer_comes_before_the_body(apis: StandInApis) -> None:
    apis.fail_next(Api.UPLOAD, status=413, moment=Moment.EARLY)
    connection = connection_to(apis)
    connection.putrequest("POST", "/instances")
    connection.putheader("Content-Length", "1000000000")
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.headers["Connection"]) == (413, "close")
    connection.close()


def test_failures_by_chance_are_repeatable() -> None:
    def statuses(seed: int) -> list[int]:
        with StandInApis(rehearsal=Rehearsal(fail_rate=0.5, seed=seed)) as apis, requests.Session() as session:
            headers = {"x-api-key": apis.keys[Api.METADATA]}
            ask = [session.get(apis.url(Api.METADATA), json={"sample_id": "MO-1001"}, headers=headers, timeout=10)]
            ask += [session.get(r.url, json={"sample_id": "MO-1001"}, headers=headers, timeout=10) for r in ask * 19]
            return [r.status_code for r in ask]

    assert statuses(1) == statuses(1)
    assert set(statuses(1)) == {200, 500, 503}


def test_a_rehearsal_rejects_samples_and_apis() -> None:
    reject = (Rejection(422, sample_id="MO-1002"), Rejection(401, api=Api.ANALYTICS))
    with StandInApis(rehearsal=Rehearsal(reject=reject)) as apis:
        assert ask_metadata(apis, "MO-1002").status_code == 422
        assert ask_metadata(apis, "MO-1001").status_code == 200
        assert trigger_analytics(apis).status_code == 401


def test_down_refuses_and_cuts_and_up_serves_again_at_the_same_port(apis: StandInApis) -> None:
    url, data = apis.url(Api.UPLOAD), image_bytes()
    upload(apis, data)
    with requests.Session() as session:
        session.options(url, timeout=10)
        for _ in range(3):
            apis.down()
            apis.down()
            with pytest.raises(requests.ConnectionError):
                session.options(url, timeout=10)
            with pytest.raises(ConnectionRefusedError):
                connection_to(apis).connect()
            apis.up()
            apis.up()
            assert session.options(url, timeout=10).status_code == 401
    assert upload(apis, data).json()["Status"] == "AlreadyStored"
    assert apis.url(Api.UPLOAD) == url


def test_nobody_else_is_given_the_port_while_the_server_is_down(apis: StandInApis) -> None:
    host, port = apis.url(Api.UPLOAD).split("/")[2].split(":")
    apis.down()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((host, int(port)))


def test_a_request_under_way_when_the_server_goes_down_is_not_carried_out(apis: StandInApis) -> None:
    gate = apis.hold(Api.UPLOAD)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(upload, apis, image_bytes())
        apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 1)
        apis.down()
        assert isinstance(held.exception(timeout=10), requests.ConnectionError)
    gate.set()
    [received] = apis.requests.wait_for(lambda log: log.calls(Api.UPLOAD))
    assert (received.status, len(apis.instances)) == (None, 0)


def test_held_requests_are_answered_when_the_gate_opens(apis: StandInApis) -> None:
    gate = apis.hold(Api.UPLOAD)
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(upload, apis, image_bytes()) for _ in range(3)]
        apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) == 3)
        assert len(apis.requests) == 0
        gate.set()
        assert [f.result(timeout=10).status_code for f in held] == [200, 200, 200]
    assert apis.requests.most_at_once(Api.UPLOAD) == 3


def test_leaving_ends_held_requests_without_carrying_them_out() -> None:
    with ThreadPoolExecutor() as pool:
        with StandInApis() as apis:
            apis.hold(Api.METADATA)
            held = pool.submit(ask_metadata, apis)
            apis.requests.wait_for(lambda log: log.in_flight(Api.METADATA) == 1)
        assert isinstance(held.exception(timeout=10), requests.ConnectionError)
    assert [r.status for r in apis.requests] == [None]


# The log


def test_waiting_for_what_never_comes_says_what_came(apis: StandInApis) -> None:
    ask_metadata(apis, "NEVER-HEARD-OF")
    with pytest.raises(TimeoutError, match="metadata GET 404"):
        apis.requests.wait_for(lambda log: log.calls(Api.UPLOAD), timeout=0.01)


def test_the_record_file_holds_every_request_before_its_answer(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    with StandInApis(record=file) as apis:
        for count, act in enumerate((lambda: ask_metadata(apis), lambda: upload(apis, image_bytes())), start=1):
            act()
            assert len(read_record(file)) == count
        apis.requests.wait_for(lambda log: len(log) == 2)
        assert tuple(read_record(file)) == apis.requests.all()
    with StandInApis(record=file) as apis:
        trigger_analytics(apis)
    assert [r.api for r in read_record(file)] == [Api.METADATA, Api.UPLOAD, Api.ANALYTICS]
    assert not any(key in file.read_text() for key in apis.keys.values())


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    whole = Received(Api.UPLOAD, 1.0, "POST", "/instances", patient_id="\udcff")
    file.write_bytes(whole.to_line() + whole.to_line()[:-5])
    assert read_record(file) == [whole]


def test_a_port_that_another_program_uses_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageRefused, match=f"Port {port} of 127.0.0.1 is in use") as refused,
            StandInApis(port=port),
        ):
            pass
    assert "--port" in str(refused.value.remedy)
