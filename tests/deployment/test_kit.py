"""The operators' kits: units, proxy rules and container files, as far as they can be tried here."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import shutil
import ssl
import subprocess
import threading
import tomllib
from pathlib import Path

import click
import pytest
import tomli_w
import typer
import yaml

from fedethics.cli.main import app
from tests.ports import quiet_port

ROOT = Path(__file__).resolve().parents[2]
UNITS = [
    ROOT / "clients" / "kit" / "fedethics-site.service",
    ROOT / "server" / "kit" / "fedethics-coordinator.service",
]
NGINX = (ROOT / "server" / "kit" / "nginx.conf").read_text()
CADDY = (ROOT / "server" / "kit" / "Caddyfile").read_text()
ANALYZE = shutil.which("systemd-analyze")

FLEET = (
    "/v1/fleet/activate-node",
    "/v1/fleet/deactivate-node",
    "/v1/fleet/send-node-heartbeat",
    "/v1/fleet/pull-messages",
    "/v1/fleet/push-object",
)
CLOSED = (
    "/",
    "/health",
    "/openapi.json",
    "/v1/control/start-run",
    "/v1/control/list-nodes",
    "/v1/runtime/acquire-task",
    "/v1/fleet/",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/..%2fcontrol%2fstart-run",
    "/v1/fleet//pull-messages",
    "/v1/fleet/pull-messages/x",
    "/v1/fleet/pull-messages\n",
    "/v1/control/start-run?x=/v1/fleet/pull-messages",
)


def _rule() -> re.Pattern[str]:
    (found,) = re.findall(r"location ~ (\^/v1/fleet\S+)", NGINX)
    return re.compile(_in_python(found))


def _in_python(rule: str) -> str:
    """Spell the end of the text as Python does; $ would let a newline through."""
    assert rule.endswith(r"\z") and "$" not in rule
    return rule.removesuffix(r"\z") + r"\Z"


def test_both_proxies_hold_the_same_one_rule():
    (caddy,) = re.findall(r"path_regexp (\S+)", CADDY)
    assert _in_python(caddy) == _rule().pattern


def test_the_rule_takes_flowers_own_fleet_paths_and_no_other():
    from flwr.superlink.routers.fleet.router import router

    paths = {route.path for route in router.routes}
    real = {path if path.startswith("/v1") else f"/v1/fleet{path}" for path in paths}
    assert set(FLEET) <= real
    assert [path for path in sorted(real) if not _rule().match(path)] == []
    assert [path for path in CLOSED if _rule().match(path)] == []


def test_everything_else_is_closed_and_the_normalised_path_is_what_is_passed_on():
    assert re.search(r"location / \{\s+return 404;", NGINX)
    assert "proxy_pass https://superlink$uri;" in NGINX
    assert NGINX.count("location ") == 2 and CADDY.count("\thandle ") == 2
    assert "limit_except POST" in NGINX and "method POST" in CADDY
    assert "proxy_ssl_verify on" in NGINX and "tls_insecure" not in CADDY


def _settings(unit: Path) -> dict[str, str]:
    rows = (row.split("=", 1) for row in unit.read_text().splitlines() if re.match(r"\w+=", row))
    return {key: value for key, value in rows}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_restarts_after_flowers_sixty_seconds_and_never_as_root(unit):
    settings = _settings(unit)
    assert int(settings["RestartSec"]) > 60
    assert settings["User"] not in ("", "root")
    assert settings["NoNewPrivileges"] == "yes" and settings["ProtectSystem"] == "strict"
    assert settings["StateDirectoryMode"] == "0700" and settings["UMask"] == "0077"


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_itself_finds_nothing_wrong_with_a_unit(unit, tmp_path):
    copy = tmp_path / unit.name
    text = unit.read_text().replace("/opt/fedethics/bin/fedethics", "/bin/true")
    copy.write_text(text)
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    told = [row for row in done.stderr.splitlines() if unit.name in row]
    assert told == []
    broken = tmp_path / "broken.service"
    broken.write_text(text.replace("RestartSec=75", "RestartSec=soon"))
    refused = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(broken)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "broken.service" in refused.stderr


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_rates_a_units_exposure_as_low(unit):
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=yes", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip("this systemd-analyze cannot rate a unit offline")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@pytest.mark.parametrize("side", ["server", "clients"])
def test_a_container_runs_read_only_without_privileges_and_not_as_root(side):
    services = yaml.safe_load((ROOT / side / "kit" / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    text = (ROOT / side / "kit" / "Containerfile").read_text()
    assert "\nUSER fedethics\n" in text
    assert "--no-index" in text


def test_the_sites_container_listens_to_nobody_and_only_the_proxy_reaches_the_superlink():
    site = yaml.safe_load((ROOT / "clients" / "kit" / "compose.yaml").read_text())
    assert "ports" not in site["services"]["site"]
    server = yaml.safe_load((ROOT / "server" / "kit" / "compose.yaml").read_text())
    assert "ports" not in server["services"]["coordinator"]
    assert server["networks"][server["services"]["coordinator"]["networks"][0]]["internal"] is True


def _commands() -> list[tuple[str, list[str]]]:
    """Return every `fedethics` command line of the kits, with the file that holds it."""
    found: list[tuple[str, list[str]]] = []
    for unit in UNITS:
        for line in re.findall(r"^Exec\w+=\S*/fedethics (.*)$", unit.read_text(), re.MULTILINE):
            found.append((unit.name, line.split()))
    for side in ("server", "clients"):
        text = (ROOT / side / "kit" / "Containerfile").read_text()
        (entry,), (words,) = (re.findall(rf"^{key} (.*)$", text, re.M) for key in _RUN_BY)
        assert json.loads(entry) == ["fedethics"]
        found.append((f"{side}/Containerfile", json.loads(words)))
    return found


_RUN_BY = ("ENTRYPOINT", "CMD")


def test_every_command_of_the_kits_is_one_that_fedethics_takes():
    commands = _commands()
    assert len(commands) == 5
    for where, words in commands:
        command = typer.main.get_command(app)
        context = click.Context(command)
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
            context = click.Context(command, parent=context)
        told, rest, _ = command.make_parser(context).parse_args(list(words))
        assert rest == [], where
        assert told["home"] == "/var/lib/fedethics", where


@pytest.mark.parametrize("side", ["server", "clients"])
def test_what_a_containerfile_copies_is_there(side):
    text = (ROOT / side / "kit" / "Containerfile").read_text()
    copied = re.findall(r"^COPY (--from=bundle )?(.+) \S+$", text, re.MULTILINE)
    mounted = re.findall(r"from=bundle,source=(\S+?),", text)
    bundle = (ROOT / "tools" / "offline_bundle.py").read_text()
    for name in (*mounted, *(names for from_bundle, names in copied if from_bundle)):
        assert f'bundle / "{name}"' in bundle
    for from_bundle, names in copied:
        for name in () if from_bundle else names.split():
            assert (ROOT / name).exists(), name


class _Proxy(http.server.BaseHTTPRequestHandler):
    """What the rule says and no more: POST, one exact path, else 404."""

    protocol_version = "HTTP/1.1"
    upstream: tuple[int, ssl.SSLContext]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not _rule().fullmatch(self.path):
            self._answer(404, {}, b"")
            return
        port, context = self.upstream
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        try:
            connection.request("POST", self.path, body, headers)
            reply = connection.getresponse()
            self._answer(reply.status, dict(reply.getheaders()), reply.read())
        except OSError:
            self._answer(502, {}, b"")
        finally:
            connection.close()

    def do_GET(self) -> None:
        self._answer(404, {}, b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _status(port: int, method: str, path: str, ca: Path) -> int:
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        headers = {"Content-Type": "application/x-protobuf"}
        connection.request(method, path, b"", headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_behind_the_rule_a_site_connects_and_flowers_control_path_cannot_be_reached(deployed):
    federation = deployed()
    tls = federation.coordinator / "tls"
    listen = quiet_port()
    inner = ssl.create_default_context(cafile=str(tls / "ca.crt"))
    handler = type("Handler", (_Proxy,), {"upstream": (federation.port, inner)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", listen), handler)
    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.load_cert_chain(tls / "server.crt", tls / "server.key")
    server.socket = outer.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name, home = next(iter(federation.stage.homes.items()))
    site_file = tomllib.loads((home / "site.toml").read_text())
    site_file["node"]["superlink"] = f"localhost:{listen}"
    (home / "site.toml").write_text(tomli_w.dumps(site_file))
    try:
        federation.coordinate()
        federation.site(name)
        federation.until(
            lambda: f"online: sites {name}," in federation.said(federation.coordinator),
            timeout_s=120,
            what="the site connects through the proxy",
        )
        ca = tls / "ca.crt"
        # The SuperLink's own gate closes that path too; the rule is a second fence before it.
        assert _status(federation.port, "POST", "/v1/control/list-nodes", ca) == 404
        # Python's own client sends no control characters; real proxies are sent them elsewhere.
        for path in filter(str.isprintable, CLOSED):
            assert _status(listen, "POST", path, ca) == 404, path
        assert _status(listen, "GET", "/v1/fleet/pull-messages", ca) == 404
    finally:
        server.shutdown()
        server.server_close()
