"""The parts of a deployment, each by itself and without Flower."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import tomli_w

from fedethics.cli.site_status import line
from fedethics.deployment.certificates import make_certificates, require_valid
from fedethics.deployment.locking import end_holder, holder, locked, write_secret
from fedethics.deployment.processes import Child
from fedethics.deployment.settings import FederationHome
from fedethics.deployment.site_node import Refused, why_it_ended
from fedethics.deployment.site_status import SiteStatus, render, served
from fedethics.errors import RunError, SetupError
from fedethics.site.home import SiteHome
from fedethics.storage.lines import Tail

STATUS = SiteStatus(
    site="st-anna",
    state="working",
    run="heart-1",
    round_number=3,
    rounds=5,
    account="train",
    spent=1.25,
    cap=6.0,
    delta=1e-4,
    contact_age_s=2.0,
    answered=7,
    refused=1,
)


def _federation(tmp_path, **superlink):
    settings = {"superlink": superlink, "job": {"id": "heart-1"}}
    (tmp_path / "federation.toml").write_text(tomli_w.dumps(settings))
    return FederationHome.open(tmp_path)


def test_a_superlink_that_others_could_reach_is_refused_unless_the_operator_says_it_is_shielded(
    tmp_path,
):
    with pytest.raises(SetupError, match="not on loopback"):
        _federation(tmp_path, listen="0.0.0.0:9443")
    home = _federation(tmp_path, listen="0.0.0.0:9443", shielded=True)
    assert home.settings.superlink.local == "localhost:9443"


def test_an_unknown_key_in_federation_toml_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"superlink\.insecure: unknown key"):
        _federation(tmp_path, insecure=True)


def test_a_site_file_names_the_coordinator_by_host_and_port_only(tmp_path):
    settings = {"site": "a", "data": "d.csv", "node": {"superlink": "https://x.example/y"}}
    (tmp_path / "site.toml").write_text(tomli_w.dumps(settings))
    with pytest.raises(Exception, match=r"node\.superlink"):
        SiteHome.open(tmp_path)
    settings["node"]["superlink"] = "x.example:443"
    (tmp_path / "site.toml").write_text(tomli_w.dumps(settings))
    node = SiteHome.open(tmp_path).settings.node
    assert node is not None and (node.ca, node.key) == ("ca.crt", "node.key")


def test_a_child_is_stopped_with_everything_that_it_started(tmp_path):
    script = (
        "import subprocess, sys, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = Child("stubborn", (sys.executable, "-c", script), tmp_path / "log", tmp_path)
    child.start()
    deadline = time.monotonic() + 20
    while not child.output().strip() and time.monotonic() < deadline:
        time.sleep(0.05)
    grandchild = int(child.output().strip())
    child.stop(grace_s=0.5)
    assert not child.alive
    deadline = time.monotonic() + 20
    while not _is_gone(grandchild):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _run_to_end(child: Child) -> None:
    child.start()
    deadline = time.monotonic() + 60
    while child.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    child.stop(grace_s=1)


def test_a_childs_log_is_private_and_its_environment_is_offline(tmp_path):
    script = "import os; print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['HF_HUB_OFFLINE'])"
    child = Child("quiet", (sys.executable, "-c", script), tmp_path / "log", tmp_path)
    _run_to_end(child)
    assert child.output().strip() == "0 1"
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_child_imports_nothing_from_its_working_directory(tmp_path):
    (tmp_path / "fedethics.py").write_text("raise SystemExit('hijacked')")
    from fedethics.deployment.processes import python

    child = Child("safe", python("fedethics.cli.main", "--help"), tmp_path / "log", tmp_path)
    _run_to_end(child)
    assert child.exit_code == 0
    assert "hijacked" not in child.output()


def test_a_lock_is_held_by_one_and_dropped_when_its_holder_is_killed(tmp_path):
    path = tmp_path / "node" / "lock"
    path.parent.mkdir()
    script = (
        "import sys, time, pathlib\n"
        "from fedethics.deployment.locking import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert holder(path) == process.pid
        with pytest.raises(RunError, match=str(process.pid)), locked(path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert holder(path) is None
    with locked(path):
        pass


def test_a_holder_is_ended_and_its_absence_is_told(tmp_path):
    assert end_holder(tmp_path / "lock", timeout_s=1) is False


def test_a_secret_is_private_and_new_each_time(tmp_path):
    path = tmp_path / "secret"
    write_secret(path)
    first = path.read_bytes()
    write_secret(path)
    assert len(first) == 32 and path.read_bytes() != first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_tail_gives_whole_lines_once_and_skips_what_is_no_object(tmp_path):
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.new() == []
    path.write_bytes(b'{"a": 1}\nTraceback\n[1]\n{"b"')
    assert tail.new() == [{"a": 1}]
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert tail.new() == [{"b": 2}]
    assert tail.new() == []
    assert Tail(path, from_end=True).new() == []


def _handshake(folder, *, name: str, ca=None) -> None:
    """Let the standard library's TLS check the certificate for `name`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.crt", folder / "server.key")
    client = ssl.create_default_context(cafile=str((ca or folder) / "ca.crt"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname=name)
    right = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (left, right):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_the_pilot_certificate_is_good_for_its_names_and_its_authority_only(tmp_path):
    make_certificates(tmp_path / "a", names=["127.0.0.1", "localhost"])
    make_certificates(tmp_path / "b", names=["127.0.0.1"])
    _handshake(tmp_path / "a", name="localhost")
    _handshake(tmp_path / "a", name="127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _handshake(tmp_path / "a", name="elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path / "a", name="localhost", ca=tmp_path / "b")


def test_the_pilot_authority_keeps_no_key_and_overwrites_nothing(tmp_path):
    make_certificates(tmp_path / "tls", names=["localhost"])
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == [
        "ca.crt",
        "server.crt",
        "server.key",
    ]
    assert (tmp_path / "tls" / "server.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SetupError, match="nothing was overwritten"):
        make_certificates(tmp_path / "tls", names=["localhost"])


def test_a_certificate_out_of_its_time_is_refused_by_name(tmp_path):
    make_certificates(tmp_path / "tls", names=["localhost"], days=1)
    certificate = tmp_path / "tls" / "server.crt"
    require_valid(certificate)
    with pytest.raises(SetupError, match="has expired"):
        require_valid(certificate, now=datetime.now(UTC) + timedelta(days=2))
    with pytest.raises(SetupError, match="valid from"):
        require_valid(certificate, now=datetime.now(UTC) - timedelta(days=2))


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired",
            Refused.FOR_GOOD,
            "has expired",
        ),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
            Refused.FOR_GOOD,
            "not signed by the authority",
        ),
        ("IP address mismatch, certificate is not valid for", Refused.FOR_GOOD, "another address"),
        ("[code: 2004] SuperNode activation failed", Refused.MAYBE, "not on the roster"),
        ("Killed", Refused.NO, "started again"),
    ],
)
def test_flowers_last_words_are_told_in_one_sentence(words, kind, sentence):
    ended = why_it_ended(f"INFO something\nERROR {words}\n")
    assert ended.kind is kind
    assert sentence in ended.sentence


def test_the_live_line_says_what_an_operator_asks():
    assert line(STATUS) == (
        "st-anna: working | run heart-1, round 3 of 5 | epsilon spent 1.25 of 6, left at least "
        "4.75 (delta=0.0001, train) | last contact now"
    )


def test_the_metrics_are_served_on_loopback_and_say_what_the_line_says():
    with served(0, lambda: STATUS) as port:
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = response.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/")
        listening = [
            each.laddr.ip
            for each in psutil.Process().net_connections(kind="tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port
        ]
    assert listening == ["127.0.0.1"]
    samples = {
        row.rsplit(" ", 1)[0]: row.rsplit(" ", 1)[1]
        for row in text.splitlines()
        if not row.startswith("#")
    }
    labels = 'site="st-anna"'
    assert samples[f"fedethics_site_round{{{labels}}}"] == "3"
    assert samples[f'fedethics_site_state{{{labels},state="working"}}'] == "1"
    spent = f'{labels},data_set="train",delta="0.0001"'
    assert float(samples[f"fedethics_site_epsilon_spent{{{spent}}}"]) == 1.25
    assert float(samples[f"fedethics_site_epsilon_left{{{spent}}}"]) == 4.75


def test_no_port_is_opened_unless_asked_for():
    before = _listening()
    with served(None, lambda: STATUS) as port:
        assert port == 0
        assert _listening() == before


def _listening() -> int:
    connections = psutil.Process().net_connections(kind="tcp")
    return sum(each.status == psutil.CONN_LISTEN for each in connections)


def test_each_metric_has_its_help_and_type():
    rows = render(STATUS).splitlines()
    names = {row.split("{")[0] for row in rows if not row.startswith("#")}
    for name in names:
        assert any(row.startswith(f"# HELP {name} ") for row in rows)
        assert any(row.startswith(f"# TYPE {name} ") for row in rows)
