"""A real Orthanc on loopback: a process of its own with a storage of its own, and what it holds.

Owns the process and the REST calls of its users. Recipe and traps: https://orthanc.uclouvain.be/book/.
"""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.conftest import EVERYWHERE

USER, PASSWORD = "scanner", "a-test-only"
START_SECONDS = 20.0
DICOM_WEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


class Orthanc:
    """One running server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = self.key

    @property
    def instances_url(self) -> str:
        return f"{self.url}/instances"

    def is_up(self) -> bool:
        try:
            return self._session.get(f"{self.url}/system", timeout=5).ok
        except requests.ConnectionError:
            return False

    def files_of(self, patient_id: str) -> dict[str, bytes]:
        """The files of all instances of a patient, byte for byte as stored, by Orthanc's identifier."""
        found = self.instances_of(patient_id)
        return {name: self._get(f"/instances/{name}/file").content for name in found}

    def instances_of(self, patient_id: str) -> list[str]:
        query = {"Level": "Instance", "Query": {"PatientID": patient_id}}
        answer = self._session.post(f"{self.url}/tools/find", json=query, timeout=30)
        answer.raise_for_status()
        found: list[str] = answer.json()
        return found

    def _get(self, path: str) -> Any:
        answer = self._session.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """A server whose storage lies below `folder`."""
    port = _free_port()
    config = folder / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "Name": "TESTS",
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "HttpPort": port,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": True,
                "RegisteredUsers": {USER: PASSWORD},
                "DicomServerEnabled": False,
                "OverwriteInstances": False,
                "Plugins": [path for path in [DICOM_WEB] if Path(path).exists()],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            }
        )
    )
    program = shutil.which("Orthanc", path=EVERYWHERE)
    assert program is not None
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, str(config)], cwd=folder, stdout=output, stderr=output)
    try:
        server = Orthanc(port)
        deadline = time.monotonic() + START_SECONDS
        while not server.is_up():
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, f"Orthanc did not start\n{log.read_text(errors='replace')}"
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
