"""A hostile site with an admitted key floods the coordinator's own SuperLink: what comes of it.

The SuperLink is the real one, with its database; the honest node's calls are Flower's own, signed.
"""

from __future__ import annotations

import socket
import ssl
import statistics
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from fedethics.address import Address
from fedethics.deployment.certificates import make_certificates
from fedethics.deployment.ports import bound, bound_path
from fedethics.deployment.processes import Child, python
from fedethics.flower.control_api import FAILURES, Control
from tests.ports import quiet_port

pytestmark = pytest.mark.slow


class Member:
    """A node: its key, and calls as Flower's SuperNode signs them."""

    def __init__(self, folder, name):
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.public = public_key_to_bytes(self.key.public_key())
        folder.mkdir(exist_ok=True)
        line = self.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        (folder / f"{name}.pub").write_bytes(line)
        self.node = 0

    def heads(self):
        stamp = now().isoformat()
        signed = sign_message(self.key, stamp.encode("ascii"))
        return {
            "content-type": PROTOBUF_MEDIA_TYPE,
            "accept": PROTOBUF_MEDIA_TYPE,
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(self.public).decode(),
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(signed).decode(),
            TIMESTAMP_HEADER: stamp,
        }

    def call(self, client, path, request):
        content = request if isinstance(request, bytes) else request.SerializeToString()
        return client.post(f"/v1/fleet/{path}", content=content, headers=self.heads())

    def join(self, client):
        assert self.call(client, "register-node", RegisterNodeFleetRequest(public_key=self.public))
        asked = ActivateNodeRequest(public_key=self.public, heartbeat_interval=30.0)
        answer = self.call(client, "activate-node", asked)
        assert answer.status_code == 200, answer.text
        self.node = ActivateNodeResponse.FromString(answer.content).node_id

    def pull(self, client):
        asked = PullMessagesRequest(node=Node(node_id=self.node))
        return self.call(client, "pull-messages", asked)


@pytest.fixture
def link(tmp_path, monkeypatch):
    """A real SuperLink; yield a function that opens clients of it, its members and its folder."""
    nodes = tmp_path / "nodes"
    members = [Member(nodes, name) for name in ("alpha", "mallory")]
    make_certificates(tmp_path / "tls", names=["localhost"])
    tls, (fleet,) = tmp_path / "tls", bound(Address("127.0.0.1", quiet_port()))
    monkeypatch.chdir(tmp_path)
    with bound_path(tmp_path / "control.sock") as near:
        command = python(
            "fedethics.flower.superlink",
            *("--fleet-sockets", str(fleet.fileno()), "--control-socket", str(near.fileno())),
            *("--keys", str(nodes), "--host", "127.0.0.1", "--port", "1"),
            *("--ssl-certfile", str(tls / "server.crt"), "--ssl-keyfile", str(tls / "server.key")),
            *("--ssl-ca-certfile", str(tls / "ca.crt"), "--enable-supernode-auth"),
            *("--isolation", "process", "--database", str(tmp_path / "state.db")),
        )
        keeps = (fleet.fileno(), near.fileno())
        child = Child("superlink", command, tmp_path / "link.log", tmp_path, keeps=keeps)
        child.start()
        control, deadline = Control("unix:control.sock"), time.monotonic() + 120
        while True:
            try:
                for name in ("alpha", "mallory"):
                    control.register(name, nodes / f"{name}.pub")
                break
            except FAILURES:
                assert time.monotonic() < deadline, child.output()
                time.sleep(0.2)
        context = ssl.create_default_context(cafile=tls / "ca.crt")
        port = fleet.getsockname()[1]

        def client():
            base = f"https://localhost:{port}"
            return httpx.Client(base_url=base, verify=context, timeout=120, trust_env=False)

        yield client, members, child
        child.stop(grace_s=5)
    fleet.close()


def _took(call) -> float:
    began = time.monotonic()
    assert call().status_code == 200
    return time.monotonic() - began


def test_while_one_admitted_site_floods_every_call_of_another_is_answered(link, capsys):
    client, (alpha, mallory), child = link
    with client() as own:
        alpha.join(own)
        mallory.join(own)
        quiet = [_took(lambda: alpha.pull(own)) for _ in range(10)]
        ended, answers = threading.Event(), []

        def flood(kind):
            with client() as many:
                while not ended.is_set():
                    try:
                        answers.append(kind(many).status_code)
                    except httpx.HTTPError:
                        answers.append(0)

        def large(many):
            return mallory.call(many, "push-object", b"\x1a" * (8 << 20))

        def junk(many):
            asked = PushMessagesRequest(node=Node(node_id=mallory.node))
            return mallory.call(many, "push-messages", asked)

        def part(many):
            asked = PushObjectRequest(
                node=Node(node_id=mallory.node), object_id="a" * 64, object_content=b"x" * 4096
            )
            return mallory.call(many, "push-object", asked)

        kinds = [mallory.pull, junk, large, part] * 10
        with ThreadPoolExecutor(len(kinds)) as pool:
            for kind in kinds:
                pool.submit(flood, kind)
            while len(answers) < 200:
                time.sleep(0.05)
            crowded = [_took(lambda: alpha.pull(own)) for _ in range(10)]
            ended.set()
        assert _took(lambda: alpha.pull(own)) >= 0
    assert child.alive
    with capsys.disabled():
        sys.stdout.write(
            f"\nflood of {len(kinds)} threads, {len(answers)} answers {sorted(set(answers))}: a "
            f"call of another takes {statistics.median(crowded):.3f} s (median), "
            f"{max(crowded):.3f} s at most; without the flood {statistics.median(quiet):.3f} s\n"
        )


def test_a_stranger_without_an_admitted_key_has_no_body_read(link, tmp_path):
    client, _, child = link
    stranger = Member(tmp_path / "elsewhere", "eve")
    context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    with client() as own:
        assert stranger.call(own, "register-node", b"x").status_code == 401
        port = own.base_url.port
    heads = "".join(f"{name}: {value}\r\n" for name, value in stranger.heads().items())
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=60), server_hostname="localhost"
    ) as dialled:
        # A body of 8 MiB is announced, and refused before a byte of it was sent.
        dialled.sendall(
            f"POST /v1/fleet/push-object HTTP/1.1\r\nhost: localhost\r\n{heads}"
            f"content-length: {8 << 20}\r\n\r\n".encode()
        )
        assert dialled.recv(64).startswith(b"HTTP/1.1 401")
    assert child.alive
