"""What `check` finds: places on real folders, servers over real connections."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from moichord.checks import Finding, Result, check_places, check_servers, places
from moichord.clock import SystemClock
from moichord.config import Settings
from moichord.errors import FoldersUnwritable
from moichord.queue import schema
from moichord.queue.database import Database
from moichord.queue.holder import lock_of
from moichord.sample import Api
from moichord.sandbox.stand_in import StandInApis
from tests.fault_server import FaultServer, answering


@pytest.fixture(scope="module")
def servers() -> Iterator[StandInApis]:
    with StandInApis() as apis:
        yield apis


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("inbox", "work", "done", "failed", "state"):
        (tmp_path / folder).mkdir()
    return tmp_path


def settings(root: Path, apis: StandInApis | None = None, **changes: dict[str, object]) -> Settings:
    names = {Api.METADATA: "MD", Api.UPLOAD: "U", Api.ANALYTICS: "A"}
    environ = {f"{name}_KEY": "unused" for name in names.values()}
    urls = dict.fromkeys(Api, "http://127.0.0.1:9/")
    if apis is not None:
        environ |= apis.environment()
        urls = {api: apis.url(api) for api in Api}
    blocks: dict[str, object] = {
        str(api): {"url": urls[api], "key": {"env": f"{name}_KEY"}, **changes.pop(str(api), {})}
        for api, name in names.items()
    }
    blocks["folders"] = {name: str(root / name) for name in ("inbox", "work", "done", "failed")}
    blocks["state"] = str(root / "state" / "state.db")
    return Settings.model_validate(blocks | changes, context={"environ": environ})


def found(root: Path, **changes: dict[str, object]) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_places(settings(root, **changes))}


def asked(root: Path, apis: StandInApis | None = None, **changes: dict[str, object]) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_servers(settings(root, apis, **changes), SystemClock())}


def test_folders_in_order_are_ok_and_stay_as_they_were(root: Path) -> None:
    before = sorted(root.rglob("*"))
    findings = found(root)
    assert {findings[name].result for name in ("inbox", "done", "failed", "take", "watch", "state")} == {Result.OK}
    assert sorted(root.rglob("*")) == before


def test_whatever_is_not_ok_has_a_remedy(root: Path) -> None:
    for folder in ("inbox", "done", "state"):
        (root / folder).rmdir()
    findings = [*check_places(settings(root)), *check_servers(settings(root), SystemClock())]
    assert sum(finding.result is Result.FAILED for finding in findings) >= 6
    assert [finding for finding in findings if finding.result is not Result.OK and not finding.remedy] == []


def test_a_missing_folder_is_named_with_its_key(root: Path) -> None:
    (root / "done").rmdir()
    finding = found(root)["done"]
    assert finding.result is Result.FAILED
    assert str(root / "done") in finding.text
    assert "folders.done" in (finding.remedy or "")


def test_a_file_in_the_place_of_a_folder_is_no_folder(root: Path) -> None:
    (root / "done").rmdir()
    (root / "done").touch()
    assert "is not a folder" in found(root)["done"].text


def test_a_folder_that_cannot_be_written_is_found_by_trying(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir

    def mkdir(self: Path, *args: int, **more: bool) -> None:
        if self.parent == root / "failed":
            raise PermissionError(13, "Permission denied")
        made(self, *args, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert found(root)["failed"].text == f"moichord may not write in {root / 'failed'}: Permission denied."


def test_a_work_folder_that_is_not_there_yet_is_no_fault(root: Path) -> None:
    (root / "work").rmdir()
    assert found(root)["take"].result is Result.OK
    assert not (root / "work").exists()


def test_a_work_folder_that_cannot_take_a_sample_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "folders.work: it must be on the same file system"
    monkeypatch.setattr(places.Spool, "rename_problem", lambda _: problem)
    finding = found(root)["take"]
    assert (finding.result, finding.text) == (Result.FAILED, f"{problem}.")


def test_a_full_disk_below_the_folders_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise FoldersUnwritable("the inbox cannot be written: No space left on device", remedy="Make room.")

    monkeypatch.setattr(places.Spool, "rename_problem", full)
    finding = found(root)["take"]
    assert (finding.result, finding.remedy) == (Result.FAILED, "Make room.")


def test_samples_of_other_users_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "inbox" / "MO-1").mkdir()
    (root / "inbox" / "MO-2").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("MO-2"))
    finding = found(root)["inbox permissions"]
    assert finding.result is Result.FAILED
    assert "MO-2" in finding.text
    assert "MO-1" not in finding.text


def test_a_share_without_its_marker_counts_as_gone(root: Path) -> None:
    marked = {"watch": {"mount_marker": ".mounted"}}
    assert found(root, **marked)["mount"].result is Result.FAILED
    (root / "inbox" / ".mounted").touch()
    assert "mount" not in found(root, **marked)


def test_a_state_on_a_share_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "filesystem_type", lambda _: "cifs")
    finding = found(root)["state"]
    assert finding.result is Result.FAILED
    assert "cifs" in finding.text


def test_a_state_says_whether_a_daemon_runs_with_it(root: Path) -> None:
    state = root / "state" / "state.db"
    database = Database(state)
    database.open()
    database.close()
    assert found(root)["state"].text.endswith("no daemon runs with it.")
    lock = lock_of(state)
    assert lock.try_acquire()
    assert found(root)["state"].text.endswith("a daemon runs with it.")
    lock.release()


def test_a_state_of_an_older_version_is_a_warning_and_left_to_the_daemon(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = root / "state" / "state.db"
    database = Database(state)
    database.open()
    database.close()
    before = state.read_bytes()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    finding = found(root)["state"]
    assert finding.result is Result.WARNING
    assert f"works with {schema.SCHEMA_VERSION}" in finding.text
    assert "puts a copy of it beside" in (finding.remedy or "")
    assert state.read_bytes() == before


def test_a_state_that_is_no_database_fails(root: Path) -> None:
    (root / "state" / "state.db").write_text("not a database, but long enough to be taken for one " * 100)
    assert found(root)["state"].result is Result.FAILED


@pytest.mark.parametrize(
    ("free", "result"), [(2**40, Result.OK), (5 * 2**30, Result.OK), (5 * 2**30 - 1, Result.FAILED)], ids=str
)
def test_free_space_is_judged(root: Path, monkeypatch: pytest.MonkeyPatch, free: int, result: Result) -> None:
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert found(root)["space"].result is result


def test_an_exhausted_system_of_watches_is_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(doorbell: places.Doorbell) -> None:
        doorbell._kind = "polling"

    monkeypatch.setattr(places.Doorbell, "start", start)
    finding = found(root)["watch"]
    assert finding.result is Result.WARNING
    assert "max_user_watches" in (finding.remedy or "")


def test_servers_that_serve_are_ok_and_no_work_is_caused(root: Path) -> None:
    with StandInApis() as apis:
        findings = asked(root, apis)
        methods = [(received.api, received.method) for received in apis.requests.all()]
        assert len(apis.instances) == 0
    assert {finding.result for finding in findings.values()} == {Result.OK}
    assert sorted(methods) == [(Api.ANALYTICS, "OPTIONS"), (Api.METADATA, "GET"), (Api.UPLOAD, "OPTIONS")]


@pytest.mark.parametrize("api", [str(api) for api in Api])
def test_a_refused_key_fails(root: Path, servers: StandInApis, api: str) -> None:
    finding = asked(root, servers, **{api: {"key": None}})[api]
    assert finding.result is Result.FAILED
    assert "401" in finding.text
    assert f"{api}.key" in (finding.remedy or "")


def test_a_server_that_is_not_there_fails(root: Path) -> None:
    findings = asked(root)
    assert {finding.result for finding in findings.values()} == {Result.FAILED}
    assert "refused the connection" in findings["upload"].text


def test_a_metadata_server_that_knows_every_sample_is_a_warning(root: Path) -> None:
    with StandInApis(any_sample=True) as apis:
        finding = asked(root, apis)["metadata"]
    assert finding.result is Result.WARNING
    assert "moichord-check" in finding.text


def test_what_answers_is_reachable_and_no_more_is_claimed(root: Path, servers: StandInApis) -> None:
    findings = asked(root, servers)
    assert [findings[name].result for name in ("upload", "analytics")] == [Result.OK, Result.OK]
    assert "reachable, credentials unproven" in findings["analytics"].text
    # Orthanc's own answer, and that of a server at a wrong address.
    assert "404): whether upload.url is right and the key is taken, only" in findings["upload"].text


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b"", Result.OK),
        (b'{"error": "no such sample"}', Result.OK),
        (b'{"error": "' + b"no such sample; " * 100 + b'"}', Result.OK),
        (b'"unknown"', Result.OK),
        (b"404 page not found", Result.WARNING),
        (b"<html><h1>Not Found</h1></html>", Result.WARNING),
    ],
)
def test_a_404_that_is_not_json_may_come_from_a_wrong_address(root: Path, content: bytes, result: Result) -> None:
    with FaultServer(answering(404, content)) as server:
        finding = asked(root, metadata={"url": server.url})["metadata"]
    assert finding.result is result
    assert ("may not be the metadata API" in finding.text) is (result is Result.WARNING)


def test_a_server_in_trouble_is_a_warning_not_a_wrong_key(root: Path) -> None:
    with StandInApis() as apis:
        apis.fail_for(lambda received: received.api is Api.UPLOAD, status=503)
        assert asked(root, apis)["upload"].result is Result.WARNING


def test_analytics_that_is_switched_off_is_not_asked(root: Path, servers: StandInApis) -> None:
    finding = asked(root, servers, analytics={"enabled": False})["analytics"]
    assert finding.result is Result.OK
    assert "Switched off" in finding.text
