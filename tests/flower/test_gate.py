"""The coordinator's gate: over the network, the fleet path for its roster, of bounded size."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from contextlib import contextmanager, suppress

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.superlink.main import create_app
from hypothesis import given
from hypothesis import strategies as st

from fedethics.address import Address
from fedethics.deployment.certificates import make_certificates
from fedethics.deployment.ports import bound, bound_path
from fedethics.flower import gate
from fedethics.flower.gate import Gate, Roster, Server
from fedethics.flower.node_keys import node_key
from tests.ports import quiet_port

FLEET = (
    "activate-node",
    "confirm-message-received",
    "deactivate-node",
    "get-fab",
    "get-run",
    "pull-messages",
    "pull-object",
    "push-messages",
    "push-object",
    "register-node",
    "send-node-heartbeat",
    "unregister-node",
)


class Heard:
    """Stands for Flower's app: answers 200 and counts what reaches it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[int] = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.paths.append(scope["path"])
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.bodies.append(size)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def _served(tmp_path, app, roster=None, *, most=8):
    """Serve `app` behind the gate as the SuperLink does; yield its port and its socket."""
    import uvicorn

    make_certificates(tmp_path / "tls", names=["localhost"])
    fleet = bound(Address("127.0.0.1", quiet_port()))
    with bound_path(tmp_path / "near.sock") as near:
        config = uvicorn.Config(
            Gate(app, roster=roster),
            ssl_keyfile=tmp_path / "tls" / "server.key",
            ssl_certfile=tmp_path / "tls" / "server.crt",
            log_config=None,
            access_log=False,
            limit_concurrency=most,
            ws="none",
        )
        server = Server(config, control=near)
        thread = threading.Thread(target=server.run, args=(list(fleet),), daemon=True)
        port = fleet[0].getsockname()[1]
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield port, tmp_path / "near.sock"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(timeout=30)


@contextmanager
def _asking(tmp_path, port, near=None):
    context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    if near is None:
        client = httpx.Client(base_url=f"https://localhost:{port}", verify=context, trust_env=False)
    else:
        client = httpx.Client(
            base_url="http://near", transport=httpx.HTTPTransport(uds=str(near)), trust_env=False
        )
    with client:
        yield client


def _key(folder, name):
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pub").write_bytes(
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    )
    return {FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(node_key(folder / f"{name}.pub")).decode()}


def test_flowers_own_routes_are_open_where_they_are_needed_and_nowhere_else(tmp_path):
    """Every route that this Flower has is tried, by the network and by the home's own socket."""
    served = {
        (method, route)
        for route, methods in create_app().openapi()["paths"].items()
        for method in map(str.upper, methods)
    }
    assert {route.split("/")[3] for _, route in served if "/fleet/" in route} == set(FLEET)
    app = Heard()
    with _served(tmp_path, app) as (port, near), _asking(tmp_path, port) as far:
        for method, route in sorted(served):
            status = far.request(method, route, content=b"").status_code
            is_open = route.startswith("/v1/fleet/") or route == "/health"
            assert status == (200 if is_open else 404), (method, route)
        reached = len(app.paths)
        assert {path.split("/")[1] for path in app.paths} <= {"v1", "health"}
        with _asking(tmp_path, port, near) as own:
            for method, route in sorted(served):
                assert own.request(method, route, content=b"").status_code == 200, route
        assert len(app.paths) == reached + len(served)


DISGUISED = [
    "/v1/control/list-nodes",
    "/v1/fleet/../control/list-nodes",
    "/v1/fleet/%2e%2e/control/list-nodes",
    "/v1/fleet/..%2fcontrol%2flist-nodes",
    "//v1/control/list-nodes",
    "/v1//control/list-nodes",
    "/V1/CONTROL/list-nodes",
    "/v1/control%2flist-nodes",
    "/v1/%63ontrol/list-nodes",
    "/v1/fleet/pull-messages/../../control/stop-run",
    "/v1/fleet/pull-messages%0a",
    "/v1/fleet/pull-messages;/v1/control/stop-run",
    "/v1/fleet/",
    "/v1/fleet",
    "/v1/fleet/pull-messages/",
    "/v1/runtime/acquire-task",
    "/docs",
    "/openapi.json",
    "/health/",
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "CONNECT", "X"])
@pytest.mark.parametrize("path", DISGUISED)
def test_no_disguise_of_a_path_reaches_flower(path, method):
    assert _refusal(method, path) == 404


@given(st.text(max_size=30), st.sampled_from(["GET", "POST", "DELETE"]))
def test_any_path_that_is_let_through_is_one_word_of_the_fleets(path, method):
    if _refusal(method, path) == 0:
        assert path == "/health" or path.removeprefix("/v1/fleet/").replace("-", "a").isalpha()


def _refusal(method, path, *, roster=None, heads=(), server=("127.0.0.1", 1)):
    heads = [(b"content-length", b"0"), *heads]
    scope = {"type": "http", "method": method, "path": path, "headers": heads, "server": server}
    return Gate(None, roster=roster)._refusal(scope)


def test_a_body_is_read_only_for_a_key_of_the_roster_and_only_of_the_size_of_its_call(tmp_path):
    heads = _key(tmp_path / "nodes", "alpha")
    stranger = _key(tmp_path / "others", "mallory")
    app = Heard()
    big, most = b"x" * (gate.OTHER_LIMIT_BYTES + 1), gate.LIMIT_BYTES["/v1/fleet/push-object"]
    with (
        _served(tmp_path, app, Roster(tmp_path / "nodes")) as (port, _),
        _asking(tmp_path, port) as far,
    ):

        def status(path, content, heads):
            with suppress(httpx.TransportError):  # the gate need not wait for a body it refuses
                return far.post(f"/v1/fleet/{path}", content=content, headers=heads).status_code
            return 0

        for path in FLEET:
            assert status(path, b"x", {}) == status(path, b"x", stranger) == 401
        assert app.paths == []
        for path in FLEET:
            assert status(path, b"x", heads) == 200
        for path in set(FLEET) - {"push-object"}:
            assert status(path, big, heads) in (413, 0)
        assert status("push-object", b"x" * (5 << 20), heads) == 200  # Flower's largest part
        assert status("push-object", b"x" * (most + 1), heads) in (413, 0)
        assert status("push-object", iter([b"x" * 100]), heads) in (411, 0)  # of no stated size
        assert max(app.bodies) == 5 << 20


def test_a_site_that_is_approved_while_the_superlink_runs_is_let_in(tmp_path):
    first = _key(tmp_path / "nodes", "alpha")
    roster = Roster(tmp_path / "nodes")
    assert _header(first) in roster
    second = _key(tmp_path / "nodes", "beta")
    assert _header(second) in roster
    (tmp_path / "nodes" / "torn.pub").write_text("ecdsa-sha2-nistp384 AAAA")
    assert _header(_key(tmp_path / "nodes", "gamma")) in roster


def _header(heads):
    (value,) = heads.values()
    return value.encode()


def _open(tmp_path, port):
    context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=20), server_hostname="localhost"
    )


def _is_ended(connection):
    with suppress(ConnectionError, ssl.SSLError):
        return connection.recv(1 << 16) == b"" or connection.recv(1) == b""
    return True


def test_a_connection_that_says_nothing_or_never_ends_its_head_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "HEAD_S", 0.4)
    app = Heard()
    with _served(tmp_path, app) as (port, _):
        silent, slow, endless = (_open(tmp_path, port) for _ in range(3))
        slow.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nhost: localhost\r\n")
        assert _is_ended(silent)
        assert _is_ended(slow)
        with suppress(OSError):
            endless.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\n")
            for number in itertools.count():
                endless.sendall(b"x-%d: %s\r\n" % (number, b"y" * 4000))
                if number * 4000 > 64 << 20:  # more than the system's buffers hold
                    pytest.fail("a head of any size was taken")
        assert app.paths == []
        with _asking(tmp_path, port) as far:
            assert far.get("/health").status_code == 200


def test_a_body_that_never_ends_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "BODY_S", 0.4)
    app = Heard()
    with _served(tmp_path, app) as (port, _):
        slow = _open(tmp_path, port)
        slow.sendall(
            b"POST /v1/fleet/get-run HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx"
        )
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 ")
        assert app.bodies == [1]


def test_in_a_crowd_of_connections_the_coordinators_own_calls_are_answered(tmp_path):
    with _served(tmp_path, Heard()) as (port, near):
        crowd = [_open(tmp_path, port) for _ in range(12)]
        with _asking(tmp_path, port) as far, _asking(tmp_path, port, near) as own:
            assert far.get("/health").status_code == 503
            assert own.post("/v1/control/list-nodes", content=b"").status_code == 200
        for connection in crowd:
            connection.close()


def test_the_homes_own_socket_is_for_its_account_alone_and_outlives_the_server(tmp_path):
    with _served(tmp_path, Heard()) as (_, near):
        assert near.stat().st_mode & 0o777 == 0o600
    # A SuperLink that ends does not take the path away: the next one answers there.
    assert near.exists()


def test_a_socket_is_made_also_where_the_home_has_a_long_name(tmp_path):
    home = tmp_path / ("a" * 100) / ("b" * 100)
    home.mkdir(parents=True)
    before = os.getcwd()
    with bound_path(home / "near.sock"), bound_path(home / "other.sock"):
        assert (home / "near.sock").is_socket()
    assert os.getcwd() == before


class Slow(Heard):
    """Answers nothing until it is let; counts how many it is asked at once."""

    def __init__(self, let):
        super().__init__()
        self.let, self.now, self.most = let, 0, 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] != "/v1/fleet/get-run":
            self.now += 1
            self.most = max(self.most, self.now)
            while not self.let.is_set():
                await asyncio.sleep(0.01)
            self.now -= 1
        await super().__call__(scope, receive, send)


def test_a_site_that_floods_waits_for_itself_and_the_others_are_answered(tmp_path):
    hostile, honest = (_key(tmp_path / "nodes", name) for name in ("mallory", "alpha"))
    let, codes = threading.Event(), []
    app = Slow(let)

    def flood():
        with _asking(tmp_path, port) as client:
            answer = client.post("/v1/fleet/pull-messages", content=b"x", headers=hostile)
            codes.append(answer.status_code)

    with _served(tmp_path, app, Roster(tmp_path / "nodes"), most=200) as (port, _):
        threads = [threading.Thread(target=flood) for _ in range(60)]
        for thread in threads:
            thread.start()
        while len(codes) < 60 - gate._MOST_WAITING:  # the rest hold their places
            time.sleep(0.01)
        assert set(codes) == {503}
        with _asking(tmp_path, port) as client:
            for _ in range(20):
                answer = client.post("/v1/fleet/get-run", content=b"x", headers=honest)
                assert answer.status_code == 200
        let.set()
        for thread in threads:
            thread.join(timeout=60)
    assert app.most == gate._MOST_AT_ONCE
    assert sorted(set(codes)) == [200, 503]
    assert codes.count(200) == gate._MOST_WAITING
