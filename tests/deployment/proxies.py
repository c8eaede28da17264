"""nginx and Caddy with the configurations of server/kit, before a real SuperLink.

Only what an operator has to put in is put in: the name, ports and where certificates lie.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedethics.deployment.certificates import make_certificates
from tests.ports import quiet_port

KIT = Path(__file__).resolve().parents[2] / "server" / "kit"
# What a distribution's own nginx.conf has around conf.d/.
_NGINX = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/unused-1;
    uwsgi_temp_path {folder}/unused-2;
    scgi_temp_path {folder}/unused-3;
    include {folder}/conf.d/*.conf;
}}
"""
_CADDY = """\
{{
\tadmin off
\thttp_port {spare}
\thttps_port {port}
}}
"""
NAMES = ("nginx", "caddy")


@dataclass(frozen=True)
class Proxy:
    """One that runs.

    Attributes:
        port: where it listens, on loopback.
        ca: authority of the certificate that it shows, which is not the SuperLink's.
        said: the files that it wrote.
    """

    port: int
    ca: Path
    folder: Path

    @property
    def said(self) -> str:
        return "\n".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


@contextlib.contextmanager
def running(name: str, folder: Path, *, superlink: int, superlink_ca: Path) -> Iterator[Proxy]:
    """Run `name` before the SuperLink that listens on loopback at port `superlink`."""
    folder.mkdir()
    make_certificates(folder / "tls", names=["localhost"])
    for ours, theirs in (("server.crt", "public.crt"), ("server.key", "public.key")):
        shutil.copy(folder / "tls" / ours, folder / theirs)
    shutil.copy(superlink_ca, folder / "superlink-ca.crt")
    port = quiet_port()
    command = (_nginx if name == "nginx" else _caddy)(folder, port=port, superlink=superlink)
    own = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | own)
    proxy = Proxy(port, folder / "tls" / "ca.crt", folder)
    try:
        _await(process, proxy)
        yield proxy
    finally:
        process.terminate()
        process.wait(timeout=30)


def _nginx(folder: Path, *, port: int, superlink: int) -> list[str]:
    shipped = _placed((KIT / "nginx.conf").read_text(), folder, superlink=superlink)
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "fedethics.conf").write_text(
        _replaced(shipped, "listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))
    return [str(shutil.which("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _caddy(folder: Path, *, port: int, superlink: int) -> list[str]:
    shipped = _placed((KIT / "Caddyfile").read_text(), folder, superlink=superlink)
    ports = _CADDY.format(spare=quiet_port(), port=port)
    (folder / "Caddyfile").write_text(ports + shipped)
    found = str(shutil.which("caddy"))
    return [found, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _placed(shipped: str, folder: Path, *, superlink: int) -> str:
    text = _replaced(shipped, "federation.example.org", "localhost")
    text = _replaced(text, "127.0.0.1:9443", f"127.0.0.1:{superlink}")
    return _replaced(text, "/etc/fedethics", str(folder))


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the shipped configuration lacks {old}"
    return text.replace(old, new)


def _await(process: subprocess.Popen[bytes], proxy: Proxy) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", proxy.port), 1):
            return
        assert process.poll() is None and time.monotonic() < deadline, proxy.said
        time.sleep(0.1)
