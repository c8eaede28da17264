"""An institution's own certificates: what no site would believe is refused before any writing."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import tomllib

import pytest

from tests.enrolment.a_day import ROOT, everything
from tests.enrolment.pki import DAY, HOSTS, NOW, RIGHT, WRONG, Institution, One, write

DRAFT = ROOT / "configs" / "heart.charter.toml"


@pytest.fixture(scope="module")
def institution() -> Institution:
    return Institution()


def _init(home, *more):
    return ("federation", "init", "--home", home, "--charter", DRAFT, *more)


@pytest.mark.parametrize("kind", WRONG)
def test_what_no_site_would_believe_makes_no_home_and_the_corrected_command_does(
    kind, institution, tmp_path, fedethics
):
    make, words = WRONG[kind]
    home = tmp_path / "co"
    refused = fedethics(*_init(home, *write(tmp_path / "pki", make(institution))))
    assert refused.exit_code == 2
    assert "[FE111]" in refused.err
    assert words in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pki"]
    right = RIGHT["leaf and intermediate"](institution)
    assert fedethics(*_init(home, *write(tmp_path / "pki", right))).exit_code == 0


@pytest.mark.parametrize("kind", RIGHT)
def test_what_a_site_believes_is_taken_and_a_real_tls_server_runs_on_it(
    kind, institution, tmp_path, fedethics
):
    home = tmp_path / "co"
    made = fedethics(*_init(home, *write(tmp_path / "pki", RIGHT[kind](institution))))
    assert made.exit_code == 0, made.err
    for host in HOSTS:
        _served(home / "tls", host)


def _served(tls, host):
    """Serve TLS on a port as the SuperLink will, and dial it as a site will."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls / "server.crt", tls / "server.key")
    client = ssl.create_default_context(cafile=tls / "ca.crt")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            taken, _ = listening.accept()
            with server.wrap_socket(taken, server_side=True) as secured:
                secured.sendall(b"x")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with (
            socket.create_connection(listening.getsockname()) as dialled,
            client.wrap_socket(dialled, server_hostname=host) as secured,
        ):
            assert secured.recv(1) == b"x"
        thread.join(timeout=10)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_itself_refuses_the_chain_that_lacks_its_intermediate(institution, tmp_path):
    write(tmp_path, WRONG["no intermediate"][0](institution))
    asked = ["openssl", "verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "s.pem"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("lacking", ["certificate", "key", "ca"])
def test_a_file_that_is_not_there_makes_no_home(lacking, institution, tmp_path, fedethics):
    options = write(tmp_path / "pki", RIGHT["leaf and intermediate"](institution))
    options[options.index(f"--{lacking}") + 1].unlink()
    refused = fedethics(*_init(tmp_path / "co", *options))
    assert refused.exit_code == 2
    assert "cannot be read" in refused.err
    assert not (tmp_path / "co").exists()


def test_a_certificate_without_the_host_that_sites_dial_needs_the_word_that_a_proxy_has_its_own(
    institution, tmp_path, fedethics
):
    options = write(tmp_path / "pki", RIGHT["leaf and intermediate"](institution))
    start = _init(tmp_path / "co", *options, "--address", "fed.example.org:443")
    refused = fedethics(*start)
    assert refused.exit_code == 2
    assert "not for fed.example.org, which sites connect to" in refused.err
    assert "--proxy-ca" in refused.err
    assert fedethics(*start, "--proxy-ca", tmp_path / "pki" / "ca.pem").exit_code == 0
    settings = tomllib.loads((tmp_path / "co" / "federation.toml").read_text())
    assert settings["superlink"]["proxy-ca"] == "tls/proxy-ca.crt"
    assert (tmp_path / "co" / "tls" / "proxy-ca.crt").read_bytes() == institution.root.pem


def test_a_wildcard_holds_one_label_and_no_more(tmp_path, fedethics):
    i = Institution()
    leaf = i.server(hosts=("*.example.org", *HOSTS))
    options = write(tmp_path / "pki", (leaf.pem + i.middle.pem, leaf.key_pem, i.root.pem))
    one = _init(tmp_path / "a", *options, "--address", "fed.example.org:443")
    two = _init(tmp_path / "b", *options, "--address", "a.fed.example.org:443")
    assert (fedethics(*one).exit_code, fedethics(*two).exit_code) == (0, 2)


def test_a_chain_that_ends_within_30_days_is_taken_with_a_warning(institution, tmp_path, fedethics):
    for days, warned in ((29, True), (32, False)):
        leaf = institution.server(end=NOW + days * DAY)
        files = (leaf.pem + institution.middle.pem, leaf.key_pem, institution.root.pem)
        options = write(tmp_path / "pki", files)
        made = fedethics(*_init(tmp_path / f"{days}", *options, "--json"))
        assert any("certificate ends on" in one for one in made.json["warnings"]) is warned


def test_an_authority_that_only_older_pythons_take_is_told(tmp_path, fedethics):
    for name, bare in (("plain", False), ("bare", True)):
        root = One("root", ca=True, bare=bare)
        leaf = One("server", by=root, hosts=HOSTS)
        options = write(tmp_path / "pki", (leaf.pem, leaf.key_pem, root.pem))
        made = fedethics(*_init(tmp_path / name, *options, "--json"))
        told = [one for one in made.json["warnings"] if "Python 3.13" in one]
        assert bool(told) is bare


def test_every_file_of_a_home_made_of_own_certificates_is_private_but_what_is_shown(
    institution, tmp_path, fedethics
):
    options = write(tmp_path / "pki", RIGHT["words between the blocks"](institution))
    assert fedethics(*_init(tmp_path / "co", *options)).exit_code == 0
    tls = tmp_path / "co" / "tls"
    assert (tls / "server.key").stat().st_mode & 0o077 == 0
    # What goes out holds certificates and nothing else that stood in the file.
    assert everything(tls)["ca.crt"] == institution.root.pem
    assert everything(tls)["server.crt"] == institution.leaf.pem + institution.middle.pem
