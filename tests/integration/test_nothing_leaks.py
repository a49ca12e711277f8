"""Secrets and values of patients are planted wherever they can stand, and everything that is written is searched.

Two daemons are driven: one through samples that are done and samples that fail for several reasons, one through an
outage (TLS that is none, a proxy that is not there). No secret may be anywhere. Values of patients may stand where the
contract wants them: in receipts, in `failed`, in the state, in what `status` shows on the machine itself. They may not
stand in logs, in metrics, in the support file, nor on a page that hides them.
"""

import json
import re
import socket
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from moichord.sample import FAILED_NAME, RECEIPT_NAME, Api, State
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis
from tests.builders import write_image
from tests.integration import samples
from tests.integration.daemon import Daemon, daemons
from tests.integration.test_logs import BesideAJournal

MakeDaemon = Callable[..., Daemon]

KEYS = {Api.METADATA: "planted-md-key/1", Api.UPLOAD: "planted-u-key+2", Api.ANALYTICS: "planted-a-key=3"}
PASSWORD = "planted-page-password"
SECRETS = {
    *KEYS.values(),
    PASSWORD,
    *("planted-url-token", "planted-header-value", "planted-param-value", "planted-proxy-word", "planted-field-value"),
}
RECORD = {
    "patient-name": "Planted^Rex",
    "request_species": "Planted-Species",
    "test_type": "planted-test",
    "clinic-name": "Planted Clinic",
    "owner": "Planted Owner",
    "owner-phone": "555-0199-planted",
}
IN_IMAGES = {
    "PatientName": "Formerly^Planted",
    "PatientID": "PLANTED-ID-77",
    "ResponsiblePerson": "Planted^Person",
    "PatientComments": "planted comment",
}
PATIENTS = {*RECORD.values(), *IN_IMAGES.values(), "Stranger^Planted", "PLANTED-ID-88"}
ENDED = {
    "DONE-1": State.DONE,
    **dict.fromkeys(("UNKNOWN-1", "REFUSED-1", "UNLUCKY-1", "MIXED-1", "BREAKS-1"), State.FAILED),
}
ENOUGH = b"enough"
MENTIONS = f"{RECORD['patient-name']} of {RECORD['owner']}"

BREAKS = """\
import sys
if "run" in sys.orig_argv:
    from moichord.apis.metadata import MetadataApi
    fetch = MetadataApi.fetch
    def broken(self, sample_id, *args, **kwargs):
        record = fetch(self, sample_id, *args, **kwargs)
        if sample_id == "BREAKS-1":
            raise RuntimeError(f"{dict(self._client.endpoint.headers)} {record}")
        return record
    MetadataApi.fetch = broken
"""


@dataclass
class Written:
    """Everything that was written or answered, by what it is."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, content: str | bytes) -> None:
        self.texts[name] = content if isinstance(content, str) else content.decode("utf-8", "backslashreplace")

    def holding(self, words: set[str], *, but_not_in: str = "$^") -> dict[str, list[str]]:
        """Where which of these words stand, in places whose name does not match."""
        found = {
            name: sorted(word for word in words if any(one in text for one in spellings(word)))
            for name, text in self.texts.items()
            if not re.match(but_not_in, name)
        }
        return {name: those for name, those in found.items() if those}


def spellings(word: str) -> set[str]:
    return {word, json.dumps(word)[1:-1], requests.utils.quote(word, safe=""), word.replace("&", "&amp;")}


def planted(port: int, people: Path, **more: Any) -> Mapping[str, Any]:
    headers = {"X-Further": "planted-header-value"}
    return {
        "metadata": {"headers": headers, "params": {"further": "planted-param-value"}},
        "upload": {"headers": headers},
        "analytics": {"headers": headers, "params": {"further": "planted-param-value"}},
        "retry": {"max_tries": 2},
        "web": {"enabled": True, "listen": f"127.0.0.1:{port}", "password_file": str(people)},
        **more,
    }


def echoing(apis: StandInApis) -> None:
    """Servers that quote in their refusals what they were sent, as careless ones do."""
    said = {
        api: json.dumps({"error": f"refused: {key}, token planted-url-token, {MENTIONS}"}).encode()
        for api, key in KEYS.items()
    }

    def when(name: str, api: Api) -> Callable[[Received], bool]:
        return lambda received: received.api is api and received.is_about(name)

    apis.fail_for(when("UNKNOWN-1", Api.METADATA), status=404, body=said[Api.METADATA])
    apis.fail_for(when("REFUSED-1", Api.UPLOAD), status=400, body=said[Api.UPLOAD])
    apis.fail_for(when("UNLUCKY-1", Api.ANALYTICS), status=422, body=said[Api.ANALYTICS])


@pytest.fixture
def apis(tmp_path: Path) -> Any:
    with StandInApis(any_sample=True, keys=KEYS) as stand_in:
        yield stand_in


def environ(apis: StandInApis) -> dict[str, str]:
    known = apis.environment()
    return {
        name: f"{value}?token=planted-url-token" if name.endswith("_URL") else value for name, value in known.items()
    }


def drop(daemon: Daemon, originals: Path, name: str, **more: Any) -> None:
    folder = samples.small_sample(originals / name, images=2, **{"patient_id": "PLANTED-ID-77", **IN_IMAGES, **more})
    samples.drop(folder, daemon.inbox)


@pytest.fixture
def samples_in(tmp_path: Path, apis: StandInApis, monkeypatch: pytest.MonkeyPatch) -> Callable[[Daemon], None]:
    """Brings a daemon samples that end in every way, one of them by an error that nobody foresaw."""
    breaking, originals = tmp_path / "breaking", tmp_path / "originals"
    for folder in (breaking, originals):
        folder.mkdir()
    (breaking / "sitecustomize.py").write_text(BREAKS)
    monkeypatch.setenv("PYTHONPATH", str(breaking))
    apis.records.update(dict.fromkeys(ENDED, RECORD))
    echoing(apis)

    def bring(daemon: Daemon) -> None:
        for name in ENDED:
            folder = samples.small_sample(originals / name, images=1, **{"patient_id": "PLANTED-ID-77", **IN_IMAGES})
            if name == "MIXED-1":
                write_image(folder / "stranger.dcm", patient_id="PLANTED-ID-88", PatientName="Stranger^Planted")
            samples.drop(folder, daemon.inbox)
        for name, state in ENDED.items():
            daemon.wait_until(name, state)

    return bring


def judged_log(log: str) -> None:
    """A log that tells what happened, without secrets and without values of patients."""
    written = Written({"log": log})
    assert "unforeseen" in log
    assert "RuntimeError" in log, "where it broke is told"
    assert "REFUSED-1" in log
    assert written.holding(SECRETS | PATIENTS) == {}


def test_no_secret_is_written_anywhere_and_patients_only_where_the_contract_wants_them(
    tmp_path: Path, apis: StandInApis, people: Path, samples_in: Callable[[Daemon], None]
) -> None:
    with daemons(tmp_path, environ(apis)) as make:
        daemon: Daemon = make(planted(0, people, logging={"level": "debug"})).start()
        samples_in(daemon)
        written = everything(daemon, list(ENDED))
        daemon.stop()
        judged_log(daemon.log)
    assert written.holding(SECRETS) == {}
    assert written.holding(PATIENTS, but_not_in=r"receipt |FAILED |state$|status |history ") == {}
    assert MENTIONS in written.texts["FAILED REFUSED-1"], "in failed, a technician reads what the server wrote"
    assert RECORD["patient-name"] in written.texts["receipt DONE-1"]


def test_a_page_that_may_show_patients_shows_them_and_still_no_secret_and_a_log_in_json_is_no_exception(
    tmp_path: Path, apis: StandInApis, people: Path, samples_in: Callable[[Daemon], None]
) -> None:
    with daemons(tmp_path, environ(apis)) as make:
        settings = planted(0, people, logging={"level": "debug", "format": "json"})
        daemon: Daemon = make({**settings, "web": {**settings["web"], "show_patient_data": True}}).start()
        samples_in(daemon)
        written = Written()
        of_the_page(daemon, list(ENDED), written)
        daemon.stop()
        judged_log(daemon.log)
    assert written.holding(SECRETS) == {}
    assert any(
        RECORD["patient-name"] in text for name, text in written.texts.items() if name.startswith("page /samples/")
    )


@pytest.mark.needs("root", "unshare")
def test_nor_are_the_fields_of_the_journal(
    tmp_path: Path, apis: StandInApis, people: Path, samples_in: Callable[[Daemon], None]
) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    daemon = BesideAJournal(tmp_path / "beside", environ(apis), planted(0, people, logging={"level": "debug"}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal, ThreadPoolExecutor(1) as listener:
        journal.bind(str(folder / "socket"))
        heard: list[bytes] = []
        listening = listener.submit(_hear, journal, heard)
        try:
            daemon.beside(folder).start(says="")
            daemon.wait_for(lambda: any(b" is ready" in one for one in heard), "the journal to hear that it is ready")
            samples_in(daemon)
            assert daemon.stop() == 0
        finally:
            daemon.close()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.sendto(ENOUGH, str(folder / "socket"))
        listening.result()
        judged_log(b"\n".join(heard).decode("utf-8", "backslashreplace"))
    assert daemon.log == ""


def _hear(journal: socket.socket, heard: list[bytes]) -> None:
    while (data := journal.recv(1 << 20)) != ENOUGH:
        heard.append(data)


def test_neither_does_an_outage_tell_them(tmp_path: Path, apis: StandInApis, people: Path) -> None:
    originals = tmp_path / "originals"
    originals.mkdir()
    apis.records["WAITS-1"] = RECORD
    known = environ(apis)
    settings = planted(0, people, logging={"level": "debug"})
    settings["analytics"]["proxy"] = "http://user:planted-proxy-word@127.0.0.1:9"
    with daemons(tmp_path, {**known, "U_URL": known["U_URL"].replace("http://", "https://")}) as make:
        daemon: Daemon = make(settings).start()
        drop(daemon, originals, "WAITS-1")
        daemon.wait_until("WAITS-1", State.WAITING)
        daemon.wait_for(lambda: "secure connection" in daemon.log, "the TLS error")
        daemon.configure({"upload": {"url": known["U_URL"]}})
        daemon.hang_up()
        daemon.wait_for(lambda: "proxy" in daemon.log, "the proxy's outage")
        written = everything(daemon, ["WAITS-1"])
        written.add("check", "".join(vars(daemon.command("check"))[name] for name in ("stdout", "stderr")))
        daemon.stop()
        written.add("log", daemon.log)
    assert written.holding(SECRETS) == {}
    assert written.holding(PATIENTS, but_not_in=r"state$|status |history ") == {}


def everything(daemon: Daemon, names: list[str]) -> Written:
    """What commands print, what the page answers, and what lies in folders and in the state."""
    written = Written()
    for name, command in {
        "status all": ("status",),
        "status json": ("status", "--json"),
        "history all": ("history",),
        "history json": ("history", "--json"),
        "support said": ("support", str(daemon.root / "support.zip")),
        "retry DONE": ("retry", names[0]),
        **{f"status {name}": ("status", name) for name in names[2:5:2] or names},
        **{f"status json {name}": ("status", name, "--json") for name in names[2:3] or names},
    }.items():
        done = daemon.command(*command)
        written.add(name, done.stdout + done.stderr)
    with zipfile.ZipFile(daemon.root / "support.zip") as archive:
        for part in archive.namelist():
            written.add(f"support {part}", archive.read(part))
    of_the_page(daemon, names, written)
    for file in sorted(daemon.root.rglob("*")):
        if file.name == RECEIPT_NAME:
            written.add(f"receipt {file.parent.name}", file.read_bytes())
        if file.name == FAILED_NAME:
            written.add(f"FAILED {file.parent.name}", file.read_bytes())
    written.add("state", b"".join(file.read_bytes() for file in daemon.root.glob("state.db*") if file.is_file()))
    return written


def of_the_page(daemon: Daemon, names: list[str], written: Written) -> None:
    said = daemon.wait_for(lambda: re.search(r"the page is at (http://[\d.:]+)/", daemon.log), "the page")
    browser = requests.Session()
    token = re.search(r'name="token" value="(\w+)"', browser.get(f"{said[1]}/login", timeout=20).text)
    assert token is not None
    form = {"name": "anna", "password": PASSWORD, "token": token[1]}
    for wrong in ("x" * 8, f"{PASSWORD}x"):
        browser.post(f"{said[1]}/login", {**form, "password": wrong}, timeout=20)
    assert browser.post(f"{said[1]}/login", form, allow_redirects=False, timeout=20).status_code == 303
    submissions = [daemon.newest(name) for name in names]
    paths = ["/", "/days", "/?q=1", "/nowhere", "/metrics", "/readyz", "/healthz", "/api/samples"]
    for one in submissions:
        assert one is not None
        paths += [f"/samples/{one.uuid}", f"/samples/{one.uuid}/receipt", f"/api/samples/{one.uuid}"]
    for path in paths:
        answer = browser.get(f"{said[1]}{path}", timeout=20)
        written.add(f"page {path}", f"{answer.headers}\n{answer.text}")
