"""The next certificate: nobody joins again, both sides know in time, a wrong one is refused."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from fedethics.deployment import coordinator as coordinator_module
from fedethics.deployment.certificates import make_certificates
from fedethics.deployment.chain import ending
from fedethics.deployment.coordinator import Coordinator
from fedethics.deployment.settings import FederationHome
from fedethics.deployment.site_status import CertificateWatch, seen_end
from fedethics.enrolment.joining import with_node_table
from fedethics.site.home import SiteHome
from fedethics.site.preflight.network import certificates_end, coordinator
from tests.enrolment.a_day import ROOT, everything
from tests.enrolment.pki import DAY, HOSTS, NOW, Institution, One, write

DRAFT = ROOT / "configs" / "heart.charter.toml"


@contextmanager
def _serving(tls):
    """Answer TLS connections with what the coordinator shows now; yield the port."""
    import socket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            while True:
                try:
                    taken, _ = listening.accept()
                    with context.wrap_socket(taken, server_side=True) as secured:
                        secured.recv(1)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1]


def _dials(home: SiteHome, port: int) -> SiteHome:
    settings = home.path / "site.toml"
    edited = with_node_table(settings.read_text(), superlink=f"127.0.0.1:{port}", ca="ca.crt")
    settings.write_text(edited)
    return SiteHome.open(home.path)


def test_a_site_that_joined_before_believes_the_next_certificate_and_joins_nothing_again(
    day, fedethics
):
    day.join("alpha")
    tls = day.coordinator / "tls"
    before = everything(tls)
    renewed = fedethics(
        "federation", "renew-certificate", "--home", day.coordinator, "--days", "40", "--json"
    )
    assert renewed.exit_code == 0, renewed.err
    assert not renewed.json["rejoin"]
    after = everything(tls)
    assert {name for name in before if before[name] != after[name]} == {"server.crt"}
    # What the site holds is what it would be told now: there is nothing to join.
    assert day.propose("alpha").again
    with _serving(tls) as port:
        site = _dials(day.home("alpha"), port)
        end = certificates_end(site)
    assert end is not None
    assert abs(end - NOW - timedelta(days=40)) < DAY


def test_a_certificate_that_has_ended_is_renewed_and_the_site_connects_again(tmp_path, fedethics):
    home = tmp_path / "co"
    assert fedethics("federation", "init", "--home", home, "--charter", DRAFT).exit_code == 0
    tls = home / "tls"
    authority = (tls / "ca.crt").read_bytes()
    gone = tmp_path / "gone"
    make_certificates(gone, names=["localhost"], now=NOW - 200 * DAY, authority_days=4000)
    for name in ("ca.crt", "ca.key", "server.crt", "server.key"):
        (tls / name).write_bytes((gone / name).read_bytes())
    assert authority != (tls / "ca.crt").read_bytes()
    found = FederationHome.open(home).first_end()
    assert found is not None
    assert ending(found).startswith("the certificate ended")
    assert fedethics("federation", "renew-certificate", "--home", home).exit_code == 0
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    assert context.cert_store_stats()["x509_ca"] == 1
    renewed = FederationHome.open(home).first_end()
    assert renewed is not None
    assert ending(renewed) == ""


def test_a_home_whose_authority_kept_no_key_is_told_the_two_ways_and_stays_as_it_was(
    day, fedethics
):
    (day.coordinator / "tls" / "ca.key").unlink()
    before = everything(day.coordinator)
    refused = fedethics("federation", "renew-certificate", "--home", day.coordinator)
    assert refused.exit_code == 7
    assert "--new-authority" in refused.err
    assert everything(day.coordinator) == before
    made = fedethics(
        "federation", "renew-certificate", "--home", day.coordinator, "--new-authority", "--json"
    )
    assert made.json["rejoin"]
    day.join("alpha")  # the invitation that follows holds the new authority
    assert (day.home("alpha").path / "ca.crt").read_bytes() == (
        day.coordinator / "tls" / "ca.crt"
    ).read_bytes()


@pytest.fixture
def institutional(tmp_path, fedethics):
    """A coordinator with its institution's certificates; return how to renew them."""
    i = Institution()
    options = write(tmp_path / "pki", (i.leaf.pem + i.middle.pem, i.leaf.key_pem, i.root.pem))
    start = ("federation", "init", "--home", tmp_path / "co", "--charter", DRAFT)
    assert fedethics(*start, *options).exit_code == 0

    def renew(made, *more):
        options = write(tmp_path / "next", made)
        return fedethics(
            "federation", "renew-certificate", "--home", tmp_path / "co", *options[: 4 + 2], *more
        )

    return i, renew, tmp_path / "co" / "tls"


def test_an_institutions_next_certificate_takes_the_place_of_its_last(institutional):
    i, renew, tls = institutional
    leaf = i.server(end=NOW + 100 * DAY)
    assert renew((leaf.pem + i.middle.pem, leaf.key_pem, i.root.pem)).exit_code == 0
    assert (tls / "server.crt").read_bytes() == leaf.pem + i.middle.pem
    assert (tls / "server.key").read_bytes() == leaf.key_pem
    assert (tls / "server.key").stat().st_mode & 0o777 == 0o600
    with _serving(tls) as port:
        context = ssl.create_default_context(cafile=tls / "ca.crt")
        import socket

        with (
            socket.create_connection(("127.0.0.1", port)) as dialled,
            context.wrap_socket(dialled, server_hostname="localhost") as secured,
        ):
            assert secured.getpeercert(binary_form=True) == leaf.der


@pytest.mark.parametrize("fault", ["expired", "no intermediate", "another host", "another root"])
def test_a_next_certificate_that_no_site_would_believe_changes_nothing(fault, institutional):
    i, renew, tls = institutional
    other = Institution()
    leaf = {
        "expired": i.server(begin=NOW - 9 * DAY, end=NOW - DAY),
        "no intermediate": i.server(),
        "another host": i.server(hosts=("other.example.org",)),
        "another root": other.leaf,
    }[fault]
    chain = b"" if fault == "no intermediate" else i.middle.pem
    made = (leaf.pem + chain, leaf.key_pem, i.root.pem)
    if fault == "another root":
        made = (leaf.pem + other.middle.pem, leaf.key_pem, other.root.pem)
    before = everything(tls)
    refused = renew(made)
    assert refused.exit_code == 2
    assert "[FE111]" in refused.err
    assert everything(tls) == before
    assert not [path for path in tls.parent.iterdir() if path.name.startswith(".tls.")]
    if fault == "another root":
        assert "--new-authority" in refused.err
        assert renew(made, "--new-authority").exit_code == 0


def _coordinator(tmp_path, fedethics, days):
    home = tmp_path / "co"
    i = Institution()
    leaf = i.server(end=NOW + timedelta(days=days))
    options = write(tmp_path / "pki", (leaf.pem + i.middle.pem, leaf.key_pem, i.root.pem))
    start = ("federation", "init", "--home", home, "--charter", DRAFT)
    assert fedethics(*start, *options).exit_code == 0
    return Coordinator(FederationHome.open(home))


@pytest.mark.parametrize(("days", "near"), [(1, True), (29, True), (31, False), (300, False)])
def test_the_coordinator_is_told_in_the_last_30_days_at_the_start_and_in_the_status(
    days, near, tmp_path, fedethics
):
    made = _coordinator(tmp_path, fedethics, days)
    told = made._ending()
    assert bool(told) is near
    assert made._ending() == []  # once a day
    said = fedethics("federation", "status", "--home", tmp_path / "co", "--json").json["notes"]
    assert any("renew-certificate" in note for note in said) is near


@pytest.mark.parametrize(("days", "near"), [(1, True), (29, True), (31, False), (300, False)])
def test_a_site_is_told_in_the_last_30_days_by_check_run_and_status(
    days, near, tmp_path, fedethics, day
):
    day.join("alpha")
    tls = tmp_path / "tls"
    make_certificates(tls, names=["localhost"], days=days)
    with _serving(tls) as port:
        site = _dials(day.home("alpha"), port)
        (site.path / "ca.crt").write_bytes((tls / "ca.crt").read_bytes())
        found = {f.check: f for f in coordinator(site, clock=lambda: datetime.now(UTC))}
        assert (found["certificate"].state == "warn") is near
        assert ("renew-certificate" in found["certificate"].fix) is near
        (site.path / "node").mkdir(exist_ok=True)
        watch = CertificateWatch(site)
        watch.look_now()
    told = watch._told
    assert bool(told) is near
    assert (seen_end(site) is not None) is True
    said = fedethics("site", "status", "--home", site.path, "--json").json["certificate"]
    assert ("need not join again" in said) is near


def test_an_authority_that_ends_first_is_what_is_told(tmp_path, day):
    day.join("alpha")
    root = One("root", ca=True, end=NOW + 9 * DAY)
    leaf = One("server", by=root, hosts=HOSTS, end=NOW + 300 * DAY)
    write(tmp_path / "pki", (leaf.pem, leaf.key_pem, root.pem))
    (tmp_path / "tls").mkdir()
    for name, made in (("server.crt", leaf.pem), ("server.key", leaf.key_pem)):
        (tmp_path / "tls" / name).write_bytes(made)
    with _serving(tmp_path / "tls") as port:
        site = _dials(day.home("alpha"), port)
        (site.path / "ca.crt").write_bytes(root.pem)
        end = certificates_end(site)
    assert end is not None
    assert end.date() == (NOW + 9 * DAY).date()


def test_no_word_from_the_coordinator_is_no_warning(tmp_path, day):
    day.join("alpha")
    site = _dials(day.home("alpha"), 1)
    watch = CertificateWatch(site)
    watch.look_now()
    assert watch._told == []
    assert seen_end(site) is None


class Started:
    """Stands for the SuperLink's process; counts how often it was started anew."""

    def __init__(self):
        self.starts = self.stops = 0

    def stop(self, *, grace_s):
        self.stops += 1

    def start(self):
        self.starts += 1


def test_a_running_superlink_shows_the_renewed_certificate_and_never_a_wrong_one(
    tmp_path, fedethics
):
    made = _coordinator(tmp_path, fedethics, 20)
    made._superlink, made._shown = Started(), made._certificates()
    assert made._renewed() == []
    renew = ("federation", "renew-certificate", "--home", tmp_path / "co", "--new-authority")
    assert fedethics(*renew).exit_code == 0
    (told,) = made._renewed()
    assert told["event"] == "certificate-renewed"
    assert (made._superlink.stops, made._superlink.starts) == (1, 1)
    (tmp_path / "co" / "tls" / "server.crt").write_bytes(One("odd", hosts=HOSTS).pem)
    (told,) = made._renewed()
    assert told["event"] == "certificate-not-taken"
    assert (made._superlink.stops, made._superlink.starts) == (1, 1)
    assert coordinator_module.CONTROL_SOCKET == "control.sock"
