"""The server of a benchmark: nginx, which takes every byte of every body, counts it, and answers. Plain and TLS.

Owns its process and its configuration. A body that comes short is answered 400, and what was counted can be asked
for: `return 200` alone would answer before the body is there. The same nginx is all three APIs. It needs nginx with
the Lua module (Debian: libnginx-mod-http-lua).
"""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

MODULES = Path("/usr/lib/nginx/modules")
PATIENCE = 10.0

CONFIGURATION = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    lua_socket_buffer_size 256k;
    lua_shared_dict counted 1m;
    default_type application/json;
    init_by_lua_block {{
        function take_all(seconds)
            local wanted = tonumber(ngx.var.http_content_length) or 0
            local came = 0
            if wanted > 0 then
                local body = ngx.req.socket()
                while came < wanted do
                    local piece = body:receiveany(1048576)
                    if not piece then break end
                    came = came + #piece
                end
            end
            ngx.shared.counted:incr("bytes", came, 0)
            if came ~= wanted then return ngx.exit(400) end
            if seconds > 0 then ngx.sleep(seconds) end
            ngx.print('{{"stored": true}}')
        end
    }}
    server {{
        listen 127.0.0.1:{plain} backlog=512;
        listen 127.0.0.1:{tls} ssl backlog=512;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        location /upload {{ content_by_lua_block {{ take_all(0) }} }}
        location /slow/upload {{ content_by_lua_block {{ take_all(0.020) }} }}
        location /metadata {{
            return 200 '{{"patient-name":"Rex","request_species":"Dog","test_type":"smear","clinic-name":"Clinic"}}';
        }}
        location /analytics {{ return 200 '{{}}'; }}
        location /late/analytics {{ content_by_lua_block {{ take_all(1.0) }} }}
        location /counted {{ content_by_lua_block {{ ngx.print(ngx.shared.counted:get("bytes") or 0) }} }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class ImageServer:
    """Where it listens, and whom to trust for TLS."""

    plain: str
    tls: str
    ca_file: Path

    def counted(self) -> int:
        """The bytes of all bodies so far."""
        with urllib.request.urlopen(f"{self.plain}/counted") as answer:  # noqa: S310 - ours, on loopback
            return int(answer.read())


@contextmanager
def image_server(folder: Path) -> Iterator[ImageServer]:
    """A running server with its files in `folder`."""
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "server.pem", append=True)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    plain, tls = free_ports(2)
    text = CONFIGURATION.format(folder=folder, modules=MODULES, plain=plain, tls=tls)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    )
    try:
        server = ImageServer(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", folder / "ca.pem")
        _wait_for(process, plain, folder / "error.log")
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    said = log.read_text() if log.exists() else ""
    raise SystemExit(f"nginx does not listen. It needs the Lua module (Debian: libnginx-mod-http-lua).\n{said}")
