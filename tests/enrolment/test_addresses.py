"""Addresses: what can be dialled is taken in one spelling, all else is one clear FE111."""

from __future__ import annotations

import ipaddress
import re
import socket
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedethics.address import Address, problem
from fedethics.deployment.settings import FederationHome
from fedethics.errors import EnrolmentError
from tests.enrolment.a_day import ROOT

DRAFT = ROOT / "configs" / "heart.charter.toml"
TAKEN = {
    "127.0.0.1:9443": "127.0.0.1:9443",
    "[::1]:9443": "[::1]:9443",
    "[2001:DB8:0:0::7]:443": "[2001:db8::7]:443",
    "Fed.Example.ORG:443": "fed.example.org:443",
    "fed.example.org.:443": "fed.example.org:443",
    "fed.exämple.org:443": "fed.xn--exmple-cua.org:443",
    "FED.EXÄMPLE.ORG:443": "fed.xn--exmple-cua.org:443",
    "straße.example:443": "xn--strae-oqa.example:443",
    "例え.テスト:443": "xn--r8jz45g.xn--zckzah:443",
    "fed.xn--exmple-cua.org:443": "fed.xn--exmple-cua.org:443",
    "localhost:1": "localhost:1",
    "coordinator:65535": "coordinator:65535",
    "a_b.example:09443": "a_b.example:9443",
    "fed。example。org:443": "fed.example.org:443",
}
MALFORMED = (
    "",
    ":",
    ":443",
    "host",
    "host:",
    "host:0",
    "host:65536",
    "host:99999",
    "host:100000",
    "host:-1",
    "host:+443",
    "host:4 43",
    "host:٤٤٣",
    "host:４４３",
    "host:443/",
    "host:443 ",
    " host:443",
    "ho st:443",
    "host\n:443",
    "host\x00:443",
    "host\x1b[31m:443",
    "https://host:443",
    "https://host",
    "user@host:443",
    "host:443/path",
    "host:443?x",
    "host:443#x",
    "::1:9443",
    "2001:db8::7:443",
    "[::1]",
    "[::1]9443",
    "[::1:9443",
    "::1]:9443",
    "[]:443",
    "[host]:443",
    "[127.0.0.1]:443",
    "[fe80::1%eth0]:443",
    "[::1]]:443",
    "[[::1]]:443",
    "127.1:443",
    "127.0.0.256:443",
    "127.0.0.01:443",
    "1.2.3:443",
    "2130706433:443",
    "0x7f.0x1:443",
    "0x7f000001:443",
    "１２７.1:443",
    "-host:443",
    "host-:443",
    "a..b:443",
    ".a:443",
    "..:443",
    "xn--:443",
    "xn--a\u0308:443",
    "xn--zzzzzzzzz99:443",
    "ab--cd:443",
    f"{'a' * 64}.example:443",
    f"{'a.' * 127}example:443",
    "*.example.org:443",
    "host,other:443",
    'ho"st:443',
    "ho'st:443",
    "a\u202eb:443",
    "a\u200bb\u2028:443",
    "\ud800:443",
)


@pytest.mark.parametrize("given_text", TAKEN)
def test_an_address_has_one_spelling(given_text):
    address = Address.parse(given_text)
    assert str(address) == TAKEN[given_text]
    assert Address.parse(str(address)) == address
    assert problem(str(address)) == ""


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_address_is_told_in_one_line(text):
    with pytest.raises(EnrolmentError) as refused:
        Address.parse(text)
    message = str(refused.value)
    assert message.isprintable()
    assert len(message) < 600
    assert problem(text) != ""


@given(st.text(max_size=40) | st.text("[]:.0123456789abcxn-é%@/", max_size=30))
@example("xn--9:1")
@example("a\u0300:443")
def test_any_text_is_an_address_that_can_be_dialled_or_one_refusal(text):
    try:
        address = Address.parse(text)
    except EnrolmentError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert refusal.isprintable()
        return
    assert 1 <= address.port <= 65535
    assert Address.parse(str(address)) == address
    assert re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", address.host)
    assert address.host.encode("idna")  # Python's own check of labels, as sockets use it
    if address.ip is None:
        assert not address.host.rpartition(".")[2].isdigit()
    else:
        family = socket.AF_INET6 if address.ip.version == 6 else socket.AF_INET
        assert socket.inet_pton(family, address.host)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_ip_address_is_taken_in_its_own_spelling(ip, port):
    address = Address.parse(f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}")
    assert address.ip == ip
    assert (address.host, address.port) == (str(ip), port)


def test_loopback_is_told_by_the_address_and_not_by_its_spelling():
    for text in ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "LOCALHOST:1"):
        assert Address.parse(text).is_loopback
    for text in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1"):
        assert not Address.parse(text).is_loopback


@pytest.mark.parametrize("option", ["--listen", "--address"])
@pytest.mark.parametrize("text", [each for each in MALFORMED if each and "\x00" not in each])
def test_no_malformed_address_makes_a_home(option, text, tmp_path, fedethics):
    start = ("federation", "init", "--home", tmp_path / "c", "--charter", DRAFT)
    refused = fedethics(*start, f"{option}={text}")
    assert refused.exit_code == 2
    assert refused.err.startswith("fedethics: [FE111] ")
    assert refused.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "written"), [("[::1]:9443", "[::1]:9443"), ("fed.exämple.org:443", None)]
)
def test_a_home_holds_the_address_as_it_is_dialled(text, written, tmp_path, fedethics):
    start = ("federation", "init", "--home", tmp_path / "c", "--charter", DRAFT)
    assert fedethics(*start, "--address", text).exit_code == 0
    settings = FederationHome.open(tmp_path / "c").settings
    assert settings.superlink.address == (written or "fed.xn--exmple-cua.org:443")
    host = Address.parse(settings.superlink.address).host
    names = _names(tmp_path / "c" / "tls" / "server.crt")
    assert host in names


@pytest.mark.parametrize("address", ["0.0.0.0:443", "[::]:443"])
def test_no_site_is_told_to_dial_every_interface(address, tmp_path, fedethics):
    start = ("federation", "init", "--home", tmp_path / "c", "--charter", DRAFT)
    refused = fedethics(*start, "--address", address)
    assert (refused.exit_code, "no site can connect to" in refused.err) == (2, True)
    assert not (tmp_path / "c").exists()


def test_a_home_that_could_not_start_is_not_made_and_the_word_that_it_is_shielded_makes_it(
    tmp_path, fedethics
):
    start = ("federation", "init", "--home", tmp_path / "c", "--charter", DRAFT)
    start += ("--listen", "0.0.0.0:9443", "--address", "fed.example.org:443")
    assert fedethics(*start).exit_code == 2
    assert not (tmp_path / "c").exists()
    assert fedethics(*start, "--shielded").exit_code == 0
    table = tomllib.loads((tmp_path / "c" / "federation.toml").read_text())["superlink"]
    assert (table["listen"], table["shielded"]) == ("0.0.0.0:9443", True)


def _names(path):
    from cryptography import x509

    found = x509.load_pem_x509_certificate(path.read_bytes()).extensions
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each.value) for each in names if not isinstance(each.value, ipaddress.IPv4Network)]
