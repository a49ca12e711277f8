"""What people are told elsewhere by a running daemon: messages through Apprise, reports, heartbeats."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from moichord.sample import Api
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.integration import samples
from tests.integration.conftest import NOBODY, MakeDaemon
from tests.integration.daemon import Daemon
from tests.integration.test_reload import has_notice, reload
from tests.receivers import ReceivingServer, Told

PATIENT = ("Vermeulen", "Anneke", "1987-03-12-HV")
RECORD = {"patient-name": "Vermeulen^Anneke", "request_species": "Dog", "test_type": "1987-03-12-HV"}
KEY = "k3y-that-nobody-may-read"
GATHERED = "1500ms"


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    with ReceivingServer() as server:
        yield server


@pytest.fixture
def second() -> Iterator[ReceivingServer]:
    with ReceivingServer() as server:
        yield server


def notify(*servers: ReceivingServer, **more: Any) -> dict[str, Any]:
    urls = [f"json://{server.address}/{KEY}" for server in servers]
    return {"notify": {"urls": urls, "window": GATHERED} | more}


def is_bad(received: Received) -> bool:
    return received.api is Api.METADATA and (received.sample_id or "").startswith("BAD")


def drop(daemon: Daemon, originals: Path, *sample_ids: str) -> None:
    for sample_id in sample_ids:
        samples.drop(samples.small_sample(originals / sample_id, images=1), daemon.inbox)


def messages(daemon: Daemon, server: ReceivingServer, number: int) -> list[Told]:
    """What it was told, once that many requests have come."""
    daemon.wait_for(lambda: len(server.told) >= number, f"{number} messages")
    return server.told


def test_thirty_failures_at_once_are_one_message(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    apis.fail_for(is_bad, status=400)
    daemon = make_daemon({**notify(receiver, window="4s"), "workers": 8}).start()
    names = [f"BAD-{number:02}" for number in range(30)]
    drop(daemon, originals, *names)
    for name in names:
        daemon.wait_until_failed(name)

    (only,) = messages(daemon, receiver, 1)

    assert only.title.endswith(": 30 samples failed")
    assert "30 samples failed:\n- BAD-" in only.text
    assert "- and 10 more: `moichord status` names them" in only.text
    assert "moichord-FAILED.txt" in only.text
    assert receiver.told == [only]
    daemon.stop()
    assert receiver.told == [only]


def test_an_outage_is_one_message_and_so_is_its_end(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    daemon = make_daemon(notify(receiver, window="300ms")).start()
    apis.down()
    drop(daemon, originals, "WAITS-1", "WAITS-2", "WAITS-3")
    began = messages(daemon, receiver, 1)[0]
    assert began.title.endswith(": The metadata server cannot be used")
    assert "Samples wait meanwhile; nothing is lost" in began.text

    apis.up()
    daemon.command("resume")
    daemon.hang_up()  # servers that are believed down are asked at once
    for name in ("WAITS-1", "WAITS-2", "WAITS-3"):
        daemon.wait_until_done(name)
    ended = messages(daemon, receiver, 2)[1]

    assert ended.title.endswith(": The metadata server answers again")
    assert len(receiver.told) == 2


def test_a_receiver_that_hangs_and_then_refuses_disturbs_nothing_and_is_told_of_later(
    make_daemon: MakeDaemon,
    apis: StandInApis,
    originals: Path,
    receiver: ReceivingServer,
    second: ReceivingServer,
) -> None:
    apis.fail_for(is_bad, status=400)
    receiver.hanging.set()
    receiver.status = 500
    urls = [f"json://{receiver.address}/{KEY}?rto=1", f"json://{second.address}/{KEY}"]
    daemon = make_daemon(notify(window="300ms", urls=urls)).start()
    drop(daemon, originals, "BAD-1", "GOOD-1")
    daemon.wait_until_failed("BAD-1")
    daemon.wait_until_done("GOOD-1")
    assert "BAD-1 failed" in messages(daemon, second, 1)[0].title

    daemon.wait_for(lambda: has_notice(daemon, "notify.urls[0] (json) did not take a message"), "a notice")
    assert daemon.log.count("notify.urls[0] (json) did not take a message") == 1
    receiver.hanging.clear()
    receiver.status = 200
    assert "BAD-1 failed" in messages(daemon, receiver, 1)[0].title
    daemon.wait_for(lambda: not has_notice(daemon, "notify.urls"), "the end of the notice")

    assert daemon.log.count("takes messages again") == 1
    assert (len(receiver.told), len(second.told)) == (1, 1)
    assert KEY not in daemon.log
    assert KEY not in daemon.command("status", "--json").stdout


def test_no_stop_waits_for_a_receiver_that_hangs(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    apis.fail_for(is_bad, status=400)
    receiver.hanging.set()
    hanging = f"http://{receiver.address}/{KEY}"
    settings = notify(
        window="100ms", report_url=hanging, heartbeat_url=hanging, urls=[f"json://{receiver.address}/?rto=600"]
    )
    daemon = make_daemon(settings).start()
    drop(daemon, originals, "BAD-1")
    daemon.wait_until_failed("BAD-1")
    daemon.wait_for(lambda: len(receiver.refused) >= 3, "all of them to hang")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_a_failure_that_was_not_told_before_a_kill_is_told_afterwards_and_once(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    apis.fail_for(is_bad, status=400)
    daemon = make_daemon(notify(receiver, window="1h", report_url=f"http://{receiver.address}/report")).start()
    receiver.status = 503
    drop(daemon, originals, "BAD-1")
    daemon.wait_until_failed("BAD-1")
    daemon.kill()
    receiver.status = 200
    daemon.configure({"notify": {"window": "300ms"}})
    daemon.start()
    messages(daemon, receiver, 2)
    daemon.wait_for(lambda: "told notify.urls[0] (json) of 1 change" in daemon.log, "the mark")
    daemon.stop()

    daemon.start()
    drop(daemon, originals, "BAD-2")
    messages(daemon, receiver, 4)

    told = [one.title.partition(": ")[2] for one in receiver.told if one.path != "/report"]
    assert told == ["BAD-1 failed", "BAD-2 failed"]
    reports = [one.json["receipt"]["sample_id"] for one in receiver.told if one.path == "/report"]
    assert reports == ["BAD-1", "BAD-2"]


def test_no_message_and_no_report_names_a_patient_or_a_key(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    apis.records["LEAK-1"] = RECORD
    apis.fail_for(
        lambda received: received.api is Api.UPLOAD and received.method == "POST",
        status=400,
        body=b'{"error": "Vermeulen^Anneke 1987-03-12-HV is known"}',
    )
    settings = notify(receiver, window="300ms", report_url=f"http://{receiver.address}/report/{KEY}")
    daemon = make_daemon({**settings, "tags": {"PatientName": '"patient-name"', "BarcodeValue": "test_type"}}).start()
    folder = samples.small_sample(originals / "LEAK-1", PatientName="Vermeulen^A", BarcodeValue="old 1987-03-12-HV")
    for image in folder.iterdir():
        os.rename(image, os.fsencode(folder) + b"/Vermeulen\xff\x1b[31m<b>" + os.fsencode(image.name))
    samples.drop(folder, daemon.inbox)
    daemon.wait_until_failed("LEAK-1")
    messages(daemon, receiver, 2)

    (report,) = [one for one in receiver.told if "report" in one.path]
    for one in receiver.told:
        assert [word for word in PATIENT if word.encode() in one.body] == []
        assert KEY.encode() not in one.body
        assert one.body.isascii()
        assert b"\x1b" not in one.body
        assert apis.keys[Api.UPLOAD].encode() not in one.body
    content = report.json
    assert content["receipt"]["sample_id"] == "LEAK-1"
    assert content["receipt"]["step"] == "upload"
    assert content["receipt"]["outcome"] == "failed"
    assert {change["keyword"] for change in content["receipt"]["images"][0]["changes"]} == {
        "PatientName",
        "BarcodeValue",
    }
    assert {change["before"] for change in content["receipt"]["images"][0]["changes"]} == {"***"}
    assert any("failed: " in line and "sample=LEAK-1" in line for line in content["log"])
    assert [row["state"] for row in content["history"]][-1] == "failed"


def test_a_name_that_is_no_usual_sample_id_is_not_told(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer
) -> None:
    apis.fail_for(is_bad, status=400)
    hostile = "BAD <!channel> @everyone [x](http:"
    settings = notify(receiver, window="300ms", report_url=f"http://{receiver.address}/report")
    daemon = make_daemon({**settings, "watch": {"sample_id": "^(?P<sample_id>.+)$"}}).start()
    drop(daemon, originals, hostile)
    daemon.wait_until_failed(hostile)
    messages(daemon, receiver, 2)

    for one in receiver.told:
        assert b"everyone" not in one.body
        assert b"<!" not in one.body
        assert b"an ID that is not shown" in one.body


def test_the_heartbeat_says_well_and_unwell_as_readyz_does_and_a_reload_moves_it(
    make_daemon: MakeDaemon, receiver: ReceivingServer, second: ReceivingServer
) -> None:
    daemon = make_daemon({"notify": {"heartbeat_url": f"http://{receiver.address}/ping/{KEY}"}}).start()
    daemon.wait_for(lambda: receiver.told, "a heartbeat")
    daemon.command("pause")
    daemon.wait_for(lambda: receiver.paths()[-1].endswith("/fail"), "a heartbeat that says unwell")
    daemon.command("resume")
    daemon.wait_for(lambda: not receiver.paths()[-1].endswith("/fail"), "a heartbeat that says well")
    assert receiver.paths() == [f"/ping/{KEY}", f"/ping/{KEY}/fail", f"/ping/{KEY}"]

    second.status = 404
    daemon.configure({"notify": {"heartbeat_url": f"http://{second.address}/other/{KEY}"}})
    reload(daemon)
    daemon.wait_for(lambda: has_notice(daemon, "notify.heartbeat_url: the server did not take it (status 404)"), "it")
    assert KEY not in daemon.log
    assert second.refused[0].path == f"/other/{KEY}"


def test_while_a_start_waits_for_its_share_nobody_is_told_that_all_is_well(
    make_daemon: MakeDaemon, receiver: ReceivingServer
) -> None:
    settings = {
        "watch": {"mount_marker": ".mounted"},
        "web": {"enabled": True, "listen": "127.0.0.1:0"},
        "notify": {"heartbeat_url": f"http://{receiver.address}/ping"},
    }
    daemon = make_daemon(settings).start(says="the share is gone")
    page = daemon.wait_for(lambda: re.search(r"the page is at (http://\S+)/", daemon.log), "the page")[1]
    waiting = requests.get(f"{page}/readyz", timeout=20)
    assert (waiting.status_code, waiting.text.startswith("the share is gone")) == (503, True)
    daemon.wait_for(lambda: has_notice(daemon, "the share is gone"), "what status says")
    daemon.wait_for(lambda: receiver.told, "a heartbeat")
    assert set(receiver.paths()) == {"/ping/fail"}

    (daemon.inbox / ".mounted").touch()
    daemon.wait_for(lambda: receiver.paths()[-1] == "/ping", "a heartbeat that says well")
    ready = requests.get(f"{page}/readyz", timeout=20)
    assert (ready.status_code, ready.text) == (200, "ready\n")
    daemon.wait_for(lambda: not has_notice(daemon, "the share is gone"), "the end of it in status")


def test_a_reload_takes_other_receivers_and_refuses_those_that_cannot_be(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, receiver: ReceivingServer, second: ReceivingServer
) -> None:
    apis.fail_for(is_bad, status=400)
    daemon = make_daemon(notify(receiver, window="300ms")).start()
    daemon.configure({"notify": {"urls": [f"nosuch://{KEY}/chat"]}})
    reload(daemon, "the changed configuration is invalid")
    assert "notify.urls[0]: is no address that Apprise can use" in daemon.log

    daemon.configure(notify(second, window="300ms"))
    reload(daemon)
    drop(daemon, originals, "BAD-1")
    messages(daemon, second, 1)
    assert receiver.told == []
    assert KEY not in daemon.log


def test_a_disk_without_room_is_told_even_at_the_start(make_daemon: MakeDaemon, receiver: ReceivingServer) -> None:
    settings = {**notify(receiver, window="300ms"), "watch": {"min_free_space": "500000GiB"}}
    daemon = make_daemon(settings).start()
    (only,) = messages(daemon, receiver, 1)
    assert only.title.endswith(": A disk is low")
    assert "has less than 500000.0 GiB free" in only.text


def test_check_says_where_messages_can_go_and_sends_one_if_asked(
    make_daemon: MakeDaemon, receiver: ReceivingServer
) -> None:
    daemon = make_daemon({"notify": {**notify(receiver)["notify"], "heartbeat_url": f"{NOBODY}{KEY}"}})
    assert "Messages can go to notify.urls[0] (json)" in daemon.command("check").stdout
    assert receiver.told == []

    asked = daemon.command("check", "--notify")
    assert "notify.urls[0] (json) took a test message." in asked.stdout
    assert "notify.heartbeat_url: the server did not take it (connection refused)" in asked.stdout.replace("\n", " ")
    assert asked.returncode == 1
    assert receiver.told[0].title.endswith(": a test")
    assert KEY not in asked.stdout + asked.stderr

    daemon.configure({"notify": {"urls": ["nosuch://chat"]}})
    assert daemon.command("check").returncode == 78


def test_without_the_extra_a_daemon_with_receivers_does_not_start_and_says_what_to_install(
    make_daemon: MakeDaemon, receiver: ReceivingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "apprise.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    daemon = make_daemon(notify(receiver))
    refused = daemon.command("run")
    assert refused.returncode == 78
    assert "pip install 'moichord[notify]'" in refused.stderr
