"""How our processes speak to Flower: a hostile other side gets no time, no memory, no request more.

The other sides are raw sockets, so that nothing of an HTTP library makes them behave.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from flwr.proto.runtime_pb2 import SendTaskHeartbeatRequest

from fedethics.deployment.certificates import make_certificates
from fedethics.errors import RunError
from fedethics.flower import transport
from fedethics.flower.control_api import Control
from fedethics.flower.patches import clients
from fedethics.flower.patches.clients import RuntimeHttpClient
from fedethics.flower.runtime_api import FAILURES, SuperNodeQueue, SuperNodeTask
from fedethics.flower.transport import BoundedTransport

NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ftp_proxy", "no_proxy")
SPELLINGS = (*NAMES, *(name.upper() for name in NAMES))
FAMILIES = ("tcp", "unix")


@contextlib.contextmanager
def other_side(
    answer: Callable[[socket.socket], None], path: Path | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each connection with `answer`; yields the address and the head of each request."""
    family = socket.AF_INET if path is None else socket.AF_UNIX
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0) if path is None else str(path))
    listening.listen(16)
    heads: list[bytes] = []
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(65536)
                if not part:
                    break
                head += part
            heads.append(head)
            answer(connection)

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    port = listening.getsockname()[1] if path is None else 0
    try:
        yield (f"127.0.0.1:{port}" if path is None else f"unix:{path}"), heads
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def says(text: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.encode() + body)


def endless(first: bytes, more: bytes, sent: list[int]) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(more)
            sent.append(len(more))

    return answer


def trickle(first: bytes, over: threading.Event) -> Callable[[socket.socket], None]:
    """Send a byte now and then, always before a silence would be noticed."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(b"x")

    return answer


@pytest.fixture(params=FAMILIES)
def where(request, tmp_path):
    return None if request.param == "tcp" else tmp_path / "s.sock"


def beat(client: RuntimeHttpClient) -> None:
    client.SendTaskHeartbeat(SendTaskHeartbeatRequest())


def plain(address: str) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        address, insecure=True, root_certificates=None, interceptors=[]
    )


def quick(address: str, **bounds: float) -> httpx.Client:
    path = address.partition("unix:")[2]
    return httpx.Client(transport=BoundedTransport(socket_path=path, **bounds))  # type: ignore[arg-type]


def url(address: str) -> str:
    return "http://localhost/x" if address.startswith("unix:") else f"http://{address}/x"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(where, status):
    with other_side(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (elsewhere, came):
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0"
        with other_side(says(f"{moved}\r\n\r\n"), where) as (address, _):
            with pytest.raises(httpx.HTTPStatusError):
                beat(plain(address))
            with pytest.raises(FAILURES):
                SuperNodeQueue(address, secret=b"s" * 32).acquire()
    assert came == []


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", bytes(1 << 16)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + bytes(1 << 16) + b"\r\n",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(1 << 16)),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * (1 << 16)),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1073741824\r\n\r\n", bytes(1 << 16)),
    ],
    ids=["by-length", "in-chunks", "to-the-end", "in-a-header", "an-error"],
)
def test_a_reply_of_any_size_is_read_up_to_the_limit_only(where, first, more):
    sent: list[int] = []
    with other_side(endless(first, more, sent), where) as (address, _):
        client = quick(address, limit_bytes=1 << 20)
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(url(address))
    # What lay in the system's buffers on the way was sent too, and never read.
    assert sum(sent) < 16 << 20


def test_what_flower_sends_in_one_reply_fits_the_limit_and_no_gibibyte_does():
    assert 10_000_000 < transport.LIMIT_BYTES < 1 << 28


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"],
    ids=["before-the-status", "in-a-header", "in-the-body"],
)
def test_a_reply_that_trickles_is_given_up_at_the_deadline(where, first):
    over = threading.Event()
    if first == b"":
        first = b"HTTP/1.1 "
    with other_side(trickle(first, over), where) as (address, _):
        with pytest.raises(httpx.TimeoutException):
            quick(address, deadline_s=0.5).get(url(address), timeout=5.0)
        over.set()


def test_a_compressed_reply_is_refused_before_it_is_unpacked(where):
    packed = zlib.compress(bytes(1 << 24))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(packed)}\r\n\r\n"
    with (
        other_side(says(head, packed), where) as (address, heads),
        pytest.raises(httpx.RemoteProtocolError, match="compressed"),
    ):
        beat(plain(address))
    assert b"accept-encoding: identity" in heads[0].lower()


def test_every_way_in_which_the_other_side_fails_is_one_that_the_executor_waits_out(where):
    for answer in (says("nonsense\r\n\r\n"), says(""), says("HTTP/1.1 200 OK\r\n\r\nhalf")):
        with other_side(answer, where) as (address, _):
            queue = SuperNodeQueue(address, secret=b"s" * 32)
            task = SuperNodeTask(address, token="t")
            with pytest.raises(FAILURES):
                queue.acquire()
            task.end(why="lost")
        if where is not None:
            where.unlink()


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5", "socks5h", "nonsense"])
@pytest.mark.parametrize("exceptions", [None, "localhost", "127.0.0.0/8", "10.0.0.1"])
def test_no_call_to_this_machine_goes_to_a_proxy_or_fails_for_one(
    monkeypatch, where, scheme, exceptions
):
    ok = says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with other_side(ok) as (proxy, seen), other_side(ok, where) as (address, heads):
        for name in SPELLINGS:
            monkeypatch.setenv(name, f"{scheme}://{proxy}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name)
            if exceptions is not None:
                monkeypatch.setenv(name, exceptions)
        assert SuperNodeQueue(address, secret=b"s" * 32).acquire() is None
        beat(plain(address))
    assert (len(heads), seen) == (2, [])


def test_the_coordinators_own_calls_take_no_proxy_either(monkeypatch, tmp_path):
    tls = tmp_path / "tls"
    make_certificates(tls, names=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"

    def serve() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(listening, server_side=True) as one:
            connection, _ = one.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    with other_side(says("")) as (proxy, seen):
        for name in SPELLINGS:
            monkeypatch.setenv(name, f"http://{proxy}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name)
        assert Control(address, ca=tls / "ca.crt").online() == ()
    assert seen == []


def test_a_far_coordinator_is_dialled_through_the_proxy_with_its_password(monkeypatch):
    for name in SPELLINGS:
        monkeypatch.delenv(name, raising=False)
    with other_side(says("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) as (proxy, seen):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:geheim@{proxy}")
        client = transport.client("https://federation.invalid:443", proxied=True)
        with pytest.raises(httpx.ProxyError):
            client.get("https://federation.invalid:443/")
    head = seen[0].decode().lower()
    assert head.startswith("connect federation.invalid:443 ")
    assert "proxy-authorization: basic dxnlcjpnzwhlaw0=" in head


def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_without_its_password(monkeypatch):
    for name in SPELLINGS:
        monkeypatch.delenv(name, raising=False)
    for name, scheme in itertools.product(
        ("all_proxy", "HTTPS_PROXY"), ("socks5", "socks4", "ftp")
    ):
        with monkeypatch.context() as here:
            here.setenv(name, f"{scheme}://user:geheim@proxy.invalid:1080")
            with pytest.raises(RunError, match=f"{name} names a {scheme} proxy") as told:
                transport.client("https://federation.invalid:443", proxied=True)
            assert "geheim" not in str(told.value)


def test_flowers_own_connections_are_bounded_once_this_is_installed(monkeypatch):
    from flwr.supercore.protobuf.client import ProtobufClient
    from flwr.supernode.fleet_http_client import FleetHttpClient

    monkeypatch.setattr(ProtobufClient, "__init__", ProtobufClient.__init__)
    for name in SPELLINGS:
        monkeypatch.delenv(name, raising=False)
    clients.install(proxied=True)
    client = FleetHttpClient.from_server_address(
        "federation.invalid:443", insecure=False, root_certificates=None, interceptors=[]
    )
    assert isinstance(client._client._transport, BoundedTransport)
    assert client._client.follow_redirects is False
    assert client._client.trust_env is False


def test_a_call_whose_time_is_over_sends_nothing():
    with other_side(says("")) as (address, heads), pytest.raises(httpx.TimeoutException):
        quick(address, deadline_s=0.0).get(url(address))
    assert heads == []
