"""The whole day through the command line, as the operators' guides write it."""

import json

import pytest

from tests.enrolment.a_day import ROOT, everything, write_patients


@pytest.fixture
def homes(tmp_path, fedethics):
    """Return homes of a coordinator and three sites that sent their requests."""
    write_patients(tmp_path / "patients.csv")
    for site in ("alpha", "beta", "gamma"):
        home = tmp_path / site
        made = fedethics(
            "site", "init", "--home", home, "--site", site, "--data", tmp_path / "patients.csv"
        )
        assert made.exit_code == 0
        policy = home / "policy.toml"
        text = policy.read_text().replace("records = 50", "records = 5")
        policy.write_text(text.replace("per-run = 3.0", "per-run = 4.0"))
        asked = fedethics(
            *("site", "request", "--home", home, "--declared-records", 100),
            *("-o", tmp_path / f"{site}.request"),
        )
        assert asked.exit_code == 0
    draft = ROOT / "configs" / "heart.charter.toml"
    made = fedethics("federation", "init", "--home", tmp_path / "c", "--charter", draft, "--json")
    assert made.exit_code == 0
    (tmp_path / "fingerprint").write_text(made.json["fingerprint"])
    return tmp_path


def _approve(homes, fedethics, *more):
    requests = sorted(homes.glob("*.request"))
    return fedethics("federation", "approve", "--home", homes / "c", *requests, "--json", *more)


def _join(homes, fedethics, *more, site="alpha"):
    said = (homes / "fingerprint").read_text()
    return fedethics(
        *("site", "join", "--home", homes / site, homes / "c" / "invitation"),
        *("--fingerprint", said, *more),
    )


def test_from_nothing_to_a_site_that_is_ready(homes, fedethics):
    approved = _approve(homes, fedethics, "--yes")
    assert approved.exit_code == 0
    assert approved.json["changed"]
    joined = _join(homes, fedethics, "--yes")
    assert joined.exit_code == 0
    assert "the charter asks" in joined.out
    charter = homes / "alpha" / "charter.json"
    signed = fedethics("charter", "sign", charter, "--site-home", homes / "alpha")
    assert signed.exit_code == 0
    checked = fedethics("site", "check", "--home", homes / "alpha", "--offline", "--json")
    states = {finding["check"]: finding["state"] for finding in checked.json["findings"]}
    assert checked.exit_code == 0, states
    assert states["charter"] == "ok"
    again = _approve(homes, fedethics, "--yes")
    assert not again.json["changed"]


def test_a_policy_that_is_too_tight_refuses_in_words_and_nothing_changes(homes, fedethics):
    _approve(homes, fedethics, "--yes")
    policy = homes / "alpha" / "policy.toml"
    policy.write_text(policy.read_text().replace("cohort = 3", "cohort = 4"))
    before = everything(homes / "alpha")
    refused = _join(homes, fedethics, "--yes")
    assert refused.exit_code == 5
    assert "minimum.cohort 4" in refused.err
    assert everything(homes / "alpha") == before


def test_a_person_who_says_no_joins_nothing(homes, fedethics, monkeypatch):
    _approve(homes, fedethics, "--yes")
    before = everything(homes / "alpha")
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert _join(homes, fedethics).exit_code == 5
    assert everything(homes / "alpha") == before


def test_a_script_without_yes_is_not_taken_for_a_yes(homes, fedethics, monkeypatch):
    import io

    _approve(homes, fedethics, "--yes")
    before = everything(homes / "alpha")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert _join(homes, fedethics).exit_code == 5
    assert everything(homes / "alpha") == before


def test_a_wrong_fingerprint_ends_with_the_code_for_integrity(homes, fedethics):
    _approve(homes, fedethics, "--yes")
    (homes / "fingerprint").write_text("0000 0000 0000 0000 0000 0000 0000 0000")
    before = everything(homes / "alpha")
    assert _join(homes, fedethics, "--yes").exit_code == 6
    assert everything(homes / "alpha") == before


def test_an_operator_who_did_not_compare_fingerprints_approves_nobody(
    homes, fedethics, monkeypatch
):
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert _approve(homes, fedethics).exit_code == 5
    assert list((homes / "c" / "roster").iterdir()) == []


def test_the_addresses_of_the_invitation_are_those_of_federation_toml(homes, fedethics):
    _approve(homes, fedethics, "--yes")
    path = homes / "c" / "federation.toml"
    text = path.read_text()
    path.write_text(text.replace('address = "127.0.0.1:9443"', 'address = "fed.example.org:443"'))
    assert fedethics("federation", "approve", "--home", homes / "c").exit_code == 0
    invitation = json.loads((homes / "c" / "invitation").read_text())
    assert json.loads(invitation["body"])["superlink"] == "fed.example.org:443"


def test_sites_are_given_the_proxys_authority_where_it_is_another(homes, fedethics):
    from fedethics.deployment.certificates import make_certificates

    make_certificates(homes / "proxy", names=["fed.example.org"])
    _approve(homes, fedethics, "--yes")
    path = homes / "c" / "federation.toml"
    text = path.read_text()
    path.write_text(text.replace('# proxy-ca = "tls/proxy-ca.crt"', 'proxy-ca = "../proxy/ca.crt"'))
    assert fedethics("federation", "approve", "--home", homes / "c").exit_code == 0
    body = json.loads(json.loads((homes / "c" / "invitation").read_text())["body"])
    assert body["ca"] == (homes / "proxy" / "ca.crt").read_text()


def test_own_certificates_take_all_three_files_that_belong_together(tmp_path, fedethics):
    from fedethics.deployment.certificates import make_certificates

    draft = ROOT / "configs" / "heart.charter.toml"
    for name in ("one", "two"):
        make_certificates(tmp_path / name, names=["fed.example.org"])
    one, two = tmp_path / "one", tmp_path / "two"
    start = ("federation", "init", "--charter", draft, "--home")
    assert fedethics(*start, tmp_path / "a", "--certificate", one / "server.crt").exit_code == 2
    mixed = ("--certificate", one / "server.crt", "--key", two / "server.key", "--ca")
    assert fedethics(*start, tmp_path / "b", *mixed, one / "ca.crt").exit_code == 2
    right = ("--certificate", one / "server.crt", "--key", one / "server.key", "--ca")
    assert fedethics(*start, tmp_path / "c", *right, one / "ca.crt").exit_code == 0
    copied = tmp_path / "c" / "tls" / "server.key"
    assert copied.read_bytes() == (one / "server.key").read_bytes()
    assert copied.stat().st_mode & 0o077 == 0
