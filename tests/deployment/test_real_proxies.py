"""nginx and Caddy, as server/kit configures them: sites get through, and nothing else does.

Each is skipped by name where it is not installed.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import shutil
import ssl
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tomli_w

from fedethics.deployment.certificates import make_certificates
from fedethics.flower.control_api import Control
from fedethics.release import evidence
from tests.deployment.federation import Federation, deploy, stage
from tests.deployment.proxies import NAMES, Proxy, running

INSTALLED = [name for name in NAMES if shutil.which(name)]
FLEET = "/v1/fleet/pull-messages"
DISGUISED = (
    "/",
    "/health",
    "/openapi.json",
    "/docs",
    "/flwr.proto.Control/StartRun",
    "/flwr.proto.Fleet/PullMessages",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/pull-messages/x",
    "/v1/fleet/pull-messages%0a",
    "/v1/fleet/pull-messages%0d%0a",
    "/v1/fleet/pull-messages%0aX:%20y",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages%20",
    "/v1/fleet/PULL-MESSAGES",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/..%2fcontrol%2fstart-run",
    "/v1/fleet/..;/control/start-run",
    "/v1/fleet/pull-messages/../../control/start-run",
    "/v1/fleet/%2e%2e%2fcontrol%2flist-nodes",
    "//v1/control/start-run",
    "/V1/control/start-run",
    "/v1/control/start-run?x=/v1/fleet/pull-messages",
    "/v1/control/start-run#/v1/fleet/pull-messages",
)
OTHER_METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")


class _Upstream(http.server.BaseHTTPRequestHandler):
    """Stands for the SuperLink: takes everything and remembers what came whole."""

    protocol_version = "HTTP/1.1"
    came: list[str]

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if len(self.rfile.read(length)) < length:
            return
        self.came.append(self.requestline)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _upstream(folder: Path) -> Iterator[tuple[int, list[str]]]:
    make_certificates(folder, names=["localhost"])
    came: list[str] = []
    handler = type("Handler", (_Upstream,), {"came": came})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, came
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module", params=NAMES)
def before_anything(request, tmp_path_factory):
    """A proxy before something that would answer everything: the proxy, and what got through."""
    if request.param not in INSTALLED:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("proxy")
    with (
        _upstream(folder / "up") as (port, came),
        running(
            request.param, folder / "p", superlink=port, superlink_ca=folder / "up" / "ca.crt"
        ) as proxy,
    ):
        yield proxy, came


def _status(port: int, ca: Path, path: str, *, method: str = "POST") -> int:
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        connection.putrequest(method, path)
        connection.putheader("Content-Type", "application/x-protobuf")
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_path_of_the_sites_gets_through(before_anything):
    proxy, came = before_anything
    came.clear()
    assert _status(proxy.port, proxy.ca, FLEET) == 200
    assert came == [f"POST {FLEET} HTTP/1.1"]


def test_no_spelling_of_another_path_gets_through(before_anything):
    proxy, came = before_anything
    came.clear()
    for path in DISGUISED:
        assert _status(proxy.port, proxy.ca, path) in (400, 404), path
    assert came == []


def test_no_other_method_gets_through(before_anything):
    proxy, came = before_anything
    came.clear()
    for method in OTHER_METHODS:
        assert _status(proxy.port, proxy.ca, FLEET, method=method) in (403, 404, 405), method
    assert came == []


def test_a_body_that_is_much_larger_than_flowers_parts_is_refused(before_anything):
    proxy, came = before_anything
    came.clear()
    context = ssl.create_default_context(cafile=str(proxy.ca))
    connection = http.client.HTTPSConnection("localhost", proxy.port, context=context, timeout=30)
    try:
        connection.putrequest("POST", "/v1/fleet/push-object")
        connection.putheader("Content-Length", str(64 << 20))
        connection.endheaders()
        with contextlib.suppress(OSError):
            for _ in range(24):
                connection.send(bytes(1 << 20))
        with contextlib.suppress(OSError):
            assert connection.getresponse().status in (400, 413, 502)
    finally:
        connection.close()
    assert came == []


def test_an_upstream_with_another_certificate_is_not_spoken_to(tmp_path):
    make_certificates(tmp_path / "other", names=["localhost"])
    for name in INSTALLED:
        folder = tmp_path / name
        folder.mkdir()
        with (
            _upstream(folder / "up") as (port, came),
            running(
                name, folder / "p", superlink=port, superlink_ca=tmp_path / "other" / "ca.crt"
            ) as proxy,
        ):
            assert _status(proxy.port, proxy.ca, FLEET) == 502
            assert came == []
    if not INSTALLED:
        pytest.skip("neither nginx nor caddy is installed")


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """Start one job, half of the sites behind each installed proxy."""
    if not INSTALLED:
        pytest.skip("neither nginx nor caddy is installed")
    folder = tmp_path_factory.mktemp("proxied")
    federation = deploy(stage(folder / "b"))
    ca = federation.coordinator / "tls" / "ca.crt"
    with contextlib.ExitStack() as stack:
        stack.callback(federation.end)
        proxies = {
            name: stack.enter_context(
                running(name, folder / name, superlink=federation.port, superlink_ca=ca)
            )
            for name in INSTALLED
        }
        for home, name in zip(federation.stage.homes.values(), itertools.cycle(INSTALLED)):
            _dial(home, proxies[name])
        federation.sites()
        yield federation, proxies, federation.coordinate()


def _dial(home: Path, proxy: Proxy) -> None:
    settings = tomllib.loads((home / "site.toml").read_text())
    settings["node"]["superlink"] = f"localhost:{proxy.port}"
    (home / "site.toml").write_text(tomli_w.dumps(settings))
    (home / "ca.crt").write_bytes(proxy.ca.read_bytes())


def _served(federation: Federation) -> list[str]:
    """Return every path that the SuperLink itself says it serves, over the home's own socket."""
    near = federation.coordinator / "superlink" / "control.sock"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(near)), trust_env=False) as own:
        return sorted(own.get("http://near/openapi.json").json()["paths"])


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_job_ends_well_behind_the_proxies_and_no_path_but_the_sites_is_open(behind):
    federation, proxies, coordinator = behind
    federation.until(
        lambda: "online" in federation.said(federation.coordinator),
        timeout_s=120,
        what="the SuperLink is up",
    )
    own = federation.coordinator / "tls" / "ca.crt"
    kept = [path for path in _served(federation) if not path.startswith("/v1/fleet/")]
    # Behind the proxy stands the SuperLink's own gate, which opens no more.
    for path in kept:
        assert _status(federation.port, own, path) == 404, path
    assert {path.split("/")[2] for path in kept if path.count("/") > 1} >= {"control", "runtime"}
    for proxy in proxies.values():
        for path in kept:
            assert _status(proxy.port, proxy.ca, path) == 404, path
        control = Control(f"localhost:{proxy.port}", ca=proxy.ca)
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            control.online()
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            control.stop(1)
    assert coordinator.wait(timeout=280) == 0, federation.told()
    for entry in evidence.load(federation.job / "evidence.json").rounds:
        assert entry.survivors == tuple(sorted(federation.stage.homes))
        assert entry.dropped == ()
    for proxy in proxies.values():
        assert "limiting requests" not in proxy.said
