"""Two more real servers: nginx, which keeps what is PUT or speaks TLS for another, and one that takes forms.

Owns their processes or threads, and what they hold, by file name. Orthanc is in `orthanc`.
"""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.conftest import EVERYWHERE
from tests.integration.certificate import Certificate

START_SECONDS = 20.0
KEY = "Bearer a-test-only"


@contextmanager
def dav(folder: Path, certificate: Certificate | None) -> Iterator[tuple[str, Path]]:
    """An address to PUT to, and the folder in which that lies."""
    kept = folder / "kept"
    kept.mkdir()
    location = f'root {kept}; if ($http_authorization != "{KEY}") {{ return 401; }} dav_methods PUT;'
    with _nginx(folder, certificate, location) as origin:
        yield f"{origin}/image.dcm", kept


@contextmanager
def tls_before(folder: Path, certificate: Certificate, url: str) -> Iterator[str]:
    """The address of a proxy that speaks TLS for the server at `url`, and lets bodies through as they come."""
    location = f"proxy_pass {url}; proxy_set_header Host $http_host; proxy_request_buffering off;"
    with _nginx(folder, certificate, location) as origin:
        yield origin


@contextmanager
def _nginx(folder: Path, certificate: Certificate | None, location: str) -> Iterator[str]:
    """Its address, without a path."""
    port = _free_port()
    tls = "" if certificate is None else f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
    temporary = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Workers could not write into the tests' folders as another user than the one that runs the tests.
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; master_process off; pid {folder / "nginx.pid"}; error_log {folder / "error.log"};
        events {{}}
        http {{
            access_log off; {temporary}
            server {{
                listen 127.0.0.1:{port}{" ssl" if tls else ""}; {tls}
                client_max_body_size 0;
                location / {{ {location} }}
            }}
        }}"""
    )
    program = shutil.which("nginx", path=EVERYWHERE)
    assert program is not None
    process = subprocess.Popen([program, "-c", str(config), "-p", str(folder), "-e", str(folder / "start.log")])
    try:
        _wait_for(port, process)
        yield _origin(port, certificate)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


@dataclass
class Forms:
    """What the application was sent: files by name, and the other fields that came with each."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)


@contextmanager
def form_application(certificate: Certificate | None) -> Iterator[Forms]:
    """A Starlette application under uvicorn, which reads forms with python-multipart."""
    forms = Forms()

    async def take(request: Request) -> JSONResponse:
        if request.headers.get("authorization") != KEY:
            return JSONResponse({"detail": "who are you?"}, 401)
        async with request.form(max_part_size=1 << 30) as form:
            file = form["image"]
            assert isinstance(file, UploadFile)
            assert file.filename is not None
            assert file.content_type == "application/dicom"
            forms.files[file.filename] = await file.read()
            forms.fields[file.filename] = {name: text for name, text in form.items() if isinstance(text, str)}
        return JSONResponse({"stored": file.filename}, 200)

    files = {} if certificate is None else {"ssl_certfile": certificate.chain, "ssl_keyfile": str(certificate.key)}
    application = Starlette(routes=[Route("/upload", take, methods=["POST"])])
    port = _free_port()
    config = uvicorn.Config(application, host="127.0.0.1", port=port, log_config=None, lifespan="off", **files)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="forms")
    thread.start()
    try:
        _wait_for(port)
        forms.url = f"{_origin(port, certificate)}/upload"
        yield forms
    finally:
        server.should_exit = True
        thread.join()


def _origin(port: int, certificate: Certificate | None) -> str:
    return f"http://127.0.0.1:{port}" if certificate is None else f"https://localhost:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process is None or process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        else:
            return
