"""Which proxy a connection takes: the rule itself, and what a child process is given of it."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics.deployment.processes import Child
from fedethics.proxies import is_loopback, only_for, proxy_for, variables, without_proxies

FAR = "federation.example.org"
VALUE = st.sampled_from(
    ["", "http://proxy.invalid:3128", "proxy.invalid:3128", "socks5://proxy.invalid:1080"]
)
NAMES = st.sampled_from(
    [
        spelled
        for name in (
            *("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ftp_proxy", "socks_proxy"),
            *("ws_proxy", "rsync_proxy", "no_grpc_proxy", "no_proxy"),
        )
        for spelled in (name, name.upper(), name.title())
    ]
)
ENVIRONMENTS = st.dictionaries(NAMES, VALUE, max_size=8)
LOOPBACK = st.one_of(
    st.sampled_from(
        ["localhost", "LOCALHOST", "localhost.", "a.localhost", "::1", "[::1]", "::ffff:127.0.0.1"]
    ),
    st.integers(0, 2**24 - 1).map(lambda n: str(ip_address((127 << 24) + n))),
)


@given(LOOPBACK, st.integers(1, 65535), ENVIRONMENTS)
def test_no_address_of_this_machine_goes_to_a_proxy_elsewhere(host, port, environment):
    assert is_loopback(host)
    assert proxy_for(host, port, environment) is None


@given(st.sampled_from([FAR, "localhost.example.org", "10.0.0.1", "0127.0.0.1", "::2", ""]))
def test_no_other_name_is_taken_for_this_machine(host):
    assert not is_loopback(host)


@given(ENVIRONMENTS, st.dictionaries(st.sampled_from(["PATH", "LANG", "NO_PROXY_X"]), st.just("x")))
def test_a_child_that_speaks_to_this_machine_only_is_given_no_proxy(proxies, others):
    left = without_proxies(others | proxies)
    assert {name: value for name, value in left.items() if name in others} == others
    assert set(left) - set(others) == {"NO_PROXY", "no_proxy"}
    assert proxy_for(FAR, 443, left) is None
    assert left["NO_PROXY"] == left["no_proxy"] == "*"


@given(ENVIRONMENTS, st.one_of(LOOPBACK, st.just(FAR), st.just("10.1.2.3")))
def test_a_node_is_given_exactly_the_proxy_of_its_coordinator(environment, host):
    found, given_to_it = proxy_for(host, 443, environment), only_for(host, 443, environment)
    again = proxy_for(host, 443, given_to_it)
    assert (found is None) == (again is None)
    assert found is None or again is None or (found.url, again.url) == (again.url, found.url)
    assert not {name.lower() for name in given_to_it} & {"all_proxy", "http_proxy", "grpc_proxy"}


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_an_exception_that_is_a_network_holds_for_its_addresses_and_no_other(host, bits, network):
    block = ip_network((network, bits), strict=False)
    environment = {"https_proxy": "http://proxy.invalid:1", "no_proxy": f"x.invalid,{block}"}
    address = ip_address(host)
    direct = proxy_for(str(address), 443, environment) is None
    assert direct == (address in block or address.is_loopback)


@pytest.mark.parametrize(
    ("listed", "direct"),
    [
        ("*", True),
        (FAR, True),
        (FAR.upper(), True),
        ("example.org", True),
        (".example.org", True),
        ("*.example.org", True),
        (f"a.b, {FAR}", True),
        (f"a.b {FAR}", True),
        (f"{FAR}:443", True),
        (f"{FAR}:444", False),
        ("ample.org", False),
        ("localhost,127.0.0.1", False),
        ("localhost,127.0.0.0/8,10.0.0.0/8", False),
        ("", False),
        (",,", False),
        ("/", False),
    ],
)
def test_exceptions_are_read_as_curl_and_go_read_them(listed, direct):
    for name in ("no_proxy", "NO_PROXY"):
        environment = {"HTTPS_PROXY": "http://proxy.invalid:1", name: listed}
        assert (proxy_for(FAR, 443, environment) is None) == direct


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, "https_proxy"),
        ({"HTTPS_PROXY": "b:1", "all_proxy": "c:1"}, "HTTPS_PROXY"),
        ({"ALL_PROXY": "d:1"}, "ALL_PROXY"),
        ({"https_proxy": "", "HTTPS_PROXY": "b:1", "ALL_PROXY": "d:1"}, "ALL_PROXY"),
        ({"http_proxy": "a:1", "grpc_proxy": "b:1", "FTP_PROXY": "c:1"}, None),
    ],
)
def test_of_several_variables_one_counts(environment, variable):
    found = proxy_for(FAR, 443, environment)
    assert (None if found is None else found.variable) == variable
    assert variables(environment) == tuple(
        sorted(name for name in environment if environment[name])
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("http://p:1", False),
        ("p:1", False),
        ("https://p:1", False),
        ("socks5://p:1", True),
        ("socks5h://p:1", True),
        ("socks4a://p:1", True),
        ("socks://p:1", True),
        ("http://", True),
        ("ftp://p:1", True),
        ("http://user:geheim@p:none", False),
    ],
)
def test_only_a_proxy_that_http_can_pass_is_used_and_no_password_is_shown(value, fault):
    found = proxy_for(FAR, 443, {"HTTPS_PROXY": value})
    assert found is not None
    assert bool(found.fault) == fault
    assert "geheim" not in f"{found!r} {found.fault} {found.shown}"


CLIENTS = """
import json, os, sys, urllib.request
import grpc, httpx, requests
port = int(sys.argv[1])
url = f"http://127.0.0.1:{port}/metrics"
told = {}
told["urllib"] = urllib.request.urlopen(url, timeout=20).status
told["httpx"] = httpx.get(url, timeout=20).status_code
told["requests"] = requests.get(url, timeout=20).status_code
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
try:
    channel.unary_unary("/x/Y")(b"", timeout=20)
except grpc.RpcError as error:
    told["grpc"] = 0
print(json.dumps(told))
"""


class _Recording(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(self.requestline)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    do_CONNECT = do_POST = do_PRI = do_GET

    def send_error(self, code: int, *_: object, **__: object) -> None:
        self.server.seen.append(self.raw_requestline.decode("latin-1"))  # type: ignore[attr-defined]
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _recording() -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recording)
    server.seen = []  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def test_no_http_library_of_a_child_sends_loopback_to_a_proxy(monkeypatch, tmp_path):
    proxy, near = _recording(), _recording()
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.setenv(spelled, f"http://127.0.0.1:{proxy.server_port}")
    command = (sys.executable, "-c", CLIENTS, str(near.server_port))
    child = Child("clients", command, tmp_path / "log", tmp_path)
    child.start()
    assert child._process is not None
    child._process.wait(timeout=120)
    told = json.loads(child.output().splitlines()[-1])
    assert told == {"urllib": 200, "httpx": 200, "requests": 200, "grpc": 0}, child.output()
    assert proxy.seen == []  # type: ignore[attr-defined]
    assert len(near.seen) >= 4  # type: ignore[attr-defined]
    for server in (proxy, near):
        server.shutdown()
        server.server_close()
