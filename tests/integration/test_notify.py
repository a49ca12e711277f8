"""What a daemon tells systemd in the course of its life."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from tests.integration import samples
from tests.integration.conftest import MakeDaemon
from tests.integration.supervisor import Supervisor, listening

SAMPLE = "NOTIFY-1"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Supervisor]:
    with listening(f"moichord-test-{os.getpid()}-{tmp_path.name}") as supervisor:
        yield supervisor


def test_from_the_start_to_the_end_systemd_is_told_how_it_stands(
    make_daemon: MakeDaemon, apis: StandInApis, systemd: Supervisor, originals: Path
) -> None:
    daemon = make_daemon({"drain_timeout": "30s"}, **systemd.environment(watchdog=2.0)).start()
    systemd.wait_for(lambda it: "READY=1" in it.messages and it.messages.count("WATCHDOG=1") >= 2)
    systemd.wait_for(lambda it: it.status == "nothing to do")

    gate = apis.hold(Api.UPLOAD)
    samples.drop(samples.small_sample(originals / SAMPLE), daemon.inbox)
    systemd.wait_for(lambda it: it.status.startswith("1 sending ("))

    daemon.terminate()
    systemd.wait_for(lambda it: "STOPPING=1" in it.messages)
    systemd.wait_for(lambda it: any(one.startswith("EXTEND_TIMEOUT_USEC=") for one in it.messages))
    assert systemd.status == "stopping: requests in flight may take 30 s more"
    gate.set()
    apis.mend()
    assert daemon.wait_until_ended() == 0
    assert systemd.messages.count("READY=1") == 1


def test_a_daemon_that_waits_for_its_share_is_ready_and_says_for_what(
    make_daemon: MakeDaemon, systemd: Supervisor
) -> None:
    daemon = make_daemon({"watch": {"mount_marker": ".mounted"}}, **systemd.environment())
    daemon.start(says="the share is gone")

    systemd.wait_for(lambda it: "READY=1" in it.messages and it.status.startswith("waiting: the share is gone"))
    (daemon.inbox / ".mounted").touch()
    systemd.wait_for(lambda it: it.status == "nothing to do")
    assert "WATCHDOG=1" not in systemd.messages, "it was not asked for"


def test_a_reload_is_told_from_its_beginning_to_its_end(make_daemon: MakeDaemon, systemd: Supervisor) -> None:
    daemon = make_daemon(**systemd.environment()).start()
    systemd.wait_for(lambda it: "READY=1" in it.messages)

    daemon.hang_up()
    systemd.wait_for(lambda it: it.messages.count("READY=1") == 2)

    told = [one.partition("=")[0] for one in systemd.messages if not one.startswith("STATUS=")]
    assert told == ["READY", "RELOADING", "MONOTONIC_USEC", "READY"]
