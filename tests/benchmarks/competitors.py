"""How others bring the same files to the same server: the original's way, DCMTK with curl, curl alone, and the floor.

    python -m tests.benchmarks.competitors original|floor URL CA_FILE FILE...     (what `measured` starts)

Owns these ways, each in a process of its own. What is written in Python is measured after its imports; a program's
start counts. Figures are seconds: `wall`, and `cpu` of that process. Each ends the benchmark if the server does not
take a file.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.dicom import TAGS

IN_PARALLEL = 4
BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """Files to bring to `url`. They are the competitor's own copies: it may change them."""

    url: str
    ca_file: Path
    files: Sequence[Path]


Figures = dict[str, float]
Competitor = Callable[[Task], Figures]


def original(task: Task) -> Figures:
    """pydicom's dcmread and save_as, the whole file read, requests.post, one file after another."""
    return _python("original", task)


def floor(task: Task) -> Figures:
    """A bare sendfile loop over one connection (TLS: a bare read and send loop): no tags, no digest, no record."""
    return _python("floor", task)


def curl(task: Task) -> Figures:
    """curl -T: the files as they are, one after another over one connection."""
    return _program(["curl", "--config", str(_curl_config(task))])


def dcmodify_and_curl(task: Task) -> Figures:
    """dcmodify, then curl -T."""
    return _sum(_dcmodify(task), curl(task))


def dcmodify_and_parallel_curl(task: Task) -> Figures:
    """dcmodify, then curl --parallel, as many at once as moichord has by default."""
    parallel = [
        "curl",
        "--no-progress-meter",
        "--parallel",
        "--parallel-max",
        str(IN_PARALLEL),
        "--config",
        str(_curl_config(task)),
    ]
    return _sum(_dcmodify(task), _program(parallel))


def _dcmodify(task: Task) -> Figures:
    options = [option for keyword, text in TAGS.items() for option in ("-i", f"{keyword}={text}")]
    return _program(["dcmodify", "-nb", *options, *map(str, task.files)])


def _curl_config(task: Task) -> Path:
    """Everything curl is to do; `Expect` is off, as in moichord, so that it costs no round trip."""
    config = task.files[0].parent.with_suffix(".curl")
    lines = ["silent", "show-error", "fail", f'cacert = "{task.ca_file}"', 'header = "Expect:"']
    for file in task.files:
        lines += [f'url = "{task.url}"', f'upload-file = "{file}"', 'output = "/dev/null"']
    config.write_text("\n".join(lines) + "\n")
    return config


def _python(name: str, task: Task) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.competitors", name, task.url, str(task.ca_file)]
    found = subprocess.run([*command, *map(str, task.files)], check=True, capture_output=True)
    return json.loads(found.stdout)


def _program(command: Sequence[str]) -> Figures:
    before = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


def _sum(*figures: Figures) -> Figures:
    return {key: sum(one[key] for one in figures) for key in figures[0]}


# What runs in a process of its own


def _send_original(task: Task) -> None:
    import requests
    from pydicom import dcmread

    for path in task.files:
        dataset = dcmread(path)
        for keyword, text in TAGS.items():
            setattr(dataset, keyword, text)
        dataset.save_as(path)
        with path.open("rb") as file:
            content = file.read()
        headers = {"content-type": "application/binary", "Authorization": "key"}
        requests.post(task.url, data=content, headers=headers, verify=str(task.ca_file), timeout=600).raise_for_status()


def _send_bare(task: Task) -> None:
    address = urlsplit(task.url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=task.ca_file)
        connection = context.wrap_socket(connection, server_hostname=address.hostname)
    buffer = bytearray(BLOCK)
    for path in task.files:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {size}\r\n\r\n"
            connection.sendall(head.encode())
            if isinstance(connection, ssl.SSLSocket):
                while count := file.readinto(buffer):
                    connection.sendall(memoryview(buffer)[:count])
            else:
                sent = 0
                while sent < size:
                    sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)
        answer = connection.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the server answered {answer[:100]!r}")
    connection.close()


def main() -> None:
    name, url, ca_file, *files = sys.argv[1:]
    send = {"original": _send_original, "floor": _send_bare}[name]
    task = Task(url, Path(ca_file), [Path(file) for file in files])
    if name == "original":
        import pydicom  # noqa: F401
        import requests  # noqa: F401 - the imports are not measured
    wall, cpu = time.perf_counter(), time.process_time()
    send(task)
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
