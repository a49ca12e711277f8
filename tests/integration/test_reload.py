"""SIGHUP: what a changed configuration changes while the daemon runs."""

from pathlib import Path

import pytest

from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from tests.integration import judges, samples
from tests.integration.conftest import RECORD, MakeDaemon
from tests.integration.daemon import Daemon, receipt_of

INVALID = "the changed configuration is invalid and not used since"


def reload(daemon: Daemon, says: str = "the configuration is reloaded") -> None:
    """SIGHUP; until it is said what came of it."""
    before = daemon.log.count(says)
    daemon.hang_up()
    daemon.wait_for(lambda: daemon.log.count(says) > before, "the end of the reload")


def sent(daemon: Daemon, originals: Path, sample_id: str) -> Path:
    samples.drop(samples.small_sample(originals / sample_id), daemon.inbox)
    return daemon.wait_until_done(sample_id)


def has_notice(daemon: Daemon, *words: str) -> bool:
    return any(all(word in notice for word in words) for notice in daemon.overview().notices)


def test_steps_that_start_afterwards_go_by_the_new_settings(daemon: Daemon, apis: StandInApis, originals: Path) -> None:
    sent(daemon, originals, "RELOAD-1")
    daemon.configure(
        {
            "upload": {"content_type": "application/dicom"},
            "analytics": {"enabled": False},
            "archive": {"images": "none"},
        }
    )
    reload(daemon)

    folder = sent(daemon, originals, "RELOAD-2")

    types = [call.headers["content-type"] for call in apis.requests.calls(Api.UPLOAD)]
    assert types == ["application/binary"] * 3 + ["application/dicom"] * 3
    assert len(apis.requests.calls(Api.ANALYTICS)) == 1
    assert [path.name for path in folder.iterdir()] == ["moichord-receipt.json"]
    assert "upload.content_type" in daemon.log
    assert daemon.overview().notices == []


def test_a_submission_that_has_begun_keeps_its_tags_and_the_next_one_has_the_new_ones(
    daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    gate = apis.hold(Api.UPLOAD)
    samples.drop(samples.small_sample(originals / "RELOAD-1"), daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) >= 1)
    daemon.configure({"tags": {"PatientID": {"value": "CHANGED"}}, "dicom": {"record_changes": False}, "workers": 4})
    reload(daemon)
    gate.set()
    apis.mend()

    first = daemon.wait_until_done("RELOAD-1")
    second = sent(daemon, originals, "RELOAD-2")

    for image in receipt_of(first)["images"]:
        dataset = judges.read((first / image["path"]).read_bytes())
        assert dataset.PatientID == "RELOAD-1-001"
        assert "OriginalAttributesSequence" in dataset
    for image in receipt_of(second)["images"]:
        dataset = judges.read((second / image["path"]).read_bytes())
        assert dataset.PatientID == "CHANGED"
        assert "OriginalAttributesSequence" not in dataset


def test_an_invalid_file_changes_nothing_and_status_says_so_until_it_is_mended(
    daemon: Daemon, apis: StandInApis, originals: Path
) -> None:
    good = daemon.config.read_text()
    daemon.config.write_text(good + "surprise: 1\nnonsense: 2\n")
    reload(daemon, says="the one before stays in use")
    line = good.count("\n") + 1
    daemon.wait_for(
        lambda: has_notice(daemon, INVALID, f"moichord.yaml:{line}:1: surprise", "1 more problem"), "a notice"
    )
    assert f"moichord.yaml:{line + 1}:1: nonsense" in daemon.log
    sent(daemon, originals, "RELOAD-1")

    daemon.config.write_text(good)
    reload(daemon)

    daemon.wait_for(lambda: not has_notice(daemon, INVALID), "the notice to go")


def test_what_needs_a_restart_is_named_and_stays_as_it_was(daemon: Daemon, tmp_path: Path, originals: Path) -> None:
    before = dict(daemon.settings["folders"])
    daemon.configure(
        {"folders": {"done": str(tmp_path / "elsewhere")}, "workers": 1, "watch": {"settle_time": "200ms"}}
    )
    reload(daemon)

    daemon.wait_for(lambda: has_notice(daemon, "needs a restart: folders.done, workers"), "the notice")
    daemon.configure({"folders": before, "workers": 4})
    sent(daemon, originals, "RELOAD-1")
    reload(daemon)
    daemon.wait_for(lambda: not has_notice(daemon, "needs a restart"), "the notice to go")


def test_a_key_that_was_exchanged_in_its_file_is_used_and_never_logged(
    make_daemon: MakeDaemon, apis: StandInApis, tmp_path: Path, originals: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("an-old-key-that-is-wrong")
    key.chmod(0o600)
    daemon = make_daemon({"metadata": {"key": {"file": str(key)}}, "retry": {"max_delay": "200ms"}}).start()
    samples.drop(samples.small_sample(originals / "RELOAD-1"), daemon.inbox)
    daemon.wait_for(lambda: daemon.overview().circuits, "the circuit of the metadata server")
    daemon.wait_for(lambda: any(one.is_open for one in daemon.overview().circuits), "it to open")

    key.write_text(apis.keys[Api.METADATA])
    reload(daemon)

    daemon.wait_until_done("RELOAD-1")
    assert "metadata.key" in daemon.log
    assert "an-old-key-that-is-wrong" not in daemon.log
    assert apis.keys[Api.METADATA] not in daemon.log


def test_a_daemon_that_waits_for_its_share_can_be_told_better(make_daemon: MakeDaemon, originals: Path) -> None:
    daemon = make_daemon({"watch": {"mount_marker": ".mounted"}}).start(says="the share is gone")
    daemon.configure({"watch": {"mount_marker": None}})
    daemon.hang_up()

    sent(daemon, originals, "RELOAD-1")
    assert RECORD["patient-name"] not in daemon.log


@pytest.mark.parametrize("times", [20])
def test_many_reloads_during_an_upload_cost_nothing(
    daemon: Daemon, apis: StandInApis, originals: Path, times: int
) -> None:
    gate = apis.hold(Api.UPLOAD)
    samples.drop(samples.small_sample(originals / "RELOAD-1", images=6), daemon.inbox)
    apis.requests.wait_for(lambda log: log.in_flight(Api.UPLOAD) >= 1)
    for number in range(times):
        daemon.configure({"upload": {"headers": {"X-Number": str(number)}}})
        daemon.hang_up()
    daemon.wait_for(lambda: "the configuration is reloaded" in daemon.log, "a reload")
    gate.set()
    apis.mend()

    daemon.wait_until_done("RELOAD-1")
    assert len(apis.requests.calls(Api.UPLOAD)) == 6


@pytest.mark.parametrize("trap", ["notes: " + "[" * 5000, 'logging: {file: "/tmp/a\\0b"}'], ids=["depth", "NUL"])
def test_a_file_that_no_reader_copes_with_ends_no_daemon(
    daemon: Daemon, apis: StandInApis, originals: Path, trap: str
) -> None:
    daemon.config.write_text(f"{daemon.config.read_text()}\n{trap}\n")
    reload(daemon, says="the one before stays in use")

    daemon.wait_for(lambda: has_notice(daemon, INVALID), "a notice")
    sent(daemon, originals, "RELOAD-1")


def test_what_nobody_foresaw_in_a_file_ends_no_daemon_and_is_said(
    make_daemon: MakeDaemon, apis: StandInApis, originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from moichord import reload\n"
        "def changes(*_):\n    raise ZeroDivisionError('unforeseen')\n"
        "reload.changes = changes\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    daemon = make_daemon({}).start()
    reload(daemon, says="the one before stays in use")

    daemon.wait_for(lambda: has_notice(daemon, INVALID, "cannot cope with it"), "a notice")
    assert "ZeroDivisionError: unforeseen" in daemon.log
    sent(daemon, originals, "RELOAD-1")
