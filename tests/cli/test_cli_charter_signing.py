"""An officer writes a charter, makes a key, signs, and is told who is missing."""

from __future__ import annotations

import stat

import pytest

from fedethics.charter import document
from fedethics.charter.model import Member
from fedethics.identity import Identity, verify


@pytest.fixture
def room(tmp_path, root):
    """A charter with three sites, their homes, and the coordinator's key."""
    keys = {name: Identity.generate() for name in ("a", "b", "c", "coordinator")}
    for name, key in keys.items():
        key.save(tmp_path / name / "identity.key")
    roster = [
        Member(site=name, public_key=keys[name].public_key, declared_records=100) for name in "abc"
    ]
    draft = document.load(root / "configs" / "heart.charter.toml")
    charter = document.enrol(draft, coordinator_key=keys["coordinator"].public_key, roster=roster)
    (tmp_path / "charter.json").write_bytes(document.encode(charter))
    return tmp_path


def _sign_all(fedethics, room):
    for site in "abc":
        assert (
            fedethics(
                "charter", "sign", room / "charter.json", "--site-home", room / site
            ).exit_code
            == 0
        )
    return fedethics(
        "charter", "sign", room / "charter.json",
        "--key", room / "coordinator" / "identity.key", "--role", "coordinator",
    )  # fmt: skip


def test_init_writes_a_charter_that_checks_once_it_is_filled_in(fedethics, tmp_path):
    path = tmp_path / "charter.toml"
    assert fedethics("charter", "init", "--industry", "hiring", "-o", path).exit_code == 0
    untouched = fedethics("charter", "check", path)
    assert untouched.exit_code == 2
    assert "'NAME of the data protection officer'" in untouched.err and "DESCRIBE" in untouched.err
    text = path.read_text().replace('"NAME ', '"A. Ruiz ').replace('"DESCRIBE: ', '"2024, ')
    path.write_text(text)
    assert fedethics("charter", "check", path, "--json").json["draft"] is True


def test_init_never_overwrites_a_charter(fedethics, tmp_path):
    path = tmp_path / "charter.toml"
    fedethics("charter", "init", "--industry", "hiring", "-o", path)
    before = path.read_bytes()
    again = fedethics("charter", "init", "--industry", "finance", "-o", path)
    assert again.exit_code == 2 and "was not changed" in again.err
    assert path.read_bytes() == before


def test_nobody_signs_the_words_of_a_template(fedethics, room):
    path = room / "charter.json"
    path.write_bytes(path.read_bytes().replace(b'"purpose":"', b'"purpose":"DESCRIBE: ', 1))
    done = fedethics("charter", "sign", path, "--site-home", room / "a")
    assert done.exit_code == 2 and "Nothing was signed" in done.err
    assert not (room / "charter.signatures.json").exists()


def test_init_names_the_industries_that_there_are(fedethics, tmp_path):
    done = fedethics("charter", "init", "--industry", "farming", "-o", tmp_path / "c.toml")
    assert done.exit_code == 2 and "healthcare" in done.err
    assert not (tmp_path / "c.toml").exists()


def test_verify_exits_8_until_all_have_signed_then_0(fedethics, room):
    waiting = fedethics("charter", "verify", room / "charter.json")
    assert waiting.exit_code == 8 and "site a has not signed" in waiting.out
    last = _sign_all(fedethics, room)
    assert "everyone whom the charter names has signed" in last.out
    done = fedethics("charter", "verify", room / "charter.json", "--json")
    assert done.exit_code == 0 and done.json["complete"] and len(done.json["signed"]) == 4


def test_a_changed_byte_voids_the_signatures_and_verify_exits_6(fedethics, room):
    _sign_all(fedethics, room)
    path = room / "charter.json"
    path.write_bytes(path.read_bytes().replace(b'"rounds":5', b'"rounds":6'))
    done = fedethics("charter", "verify", path)
    assert done.exit_code == 6 and "not over this charter" in done.out


def test_signatures_made_elsewhere_are_collected_and_void_ones_refused(fedethics, room):
    elsewhere = room / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "charter.json").write_bytes((room / "charter.json").read_bytes())
    fedethics("charter", "sign", elsewhere / "charter.json", "--site-home", room / "a")
    sent = elsewhere / "charter.signatures.json"
    assert fedethics("charter", "collect", room / "charter.json", sent).exit_code == 0
    assert "site a," in fedethics("charter", "verify", room / "charter.json").out
    sent.write_text(sent.read_text().replace('"name": "a"', '"name": "b"'))
    refused = fedethics("charter", "collect", room / "charter.json", sent)
    assert refused.exit_code == 2 and "Nothing was written" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "either --key KEY --role ROLE"),
        (("--key", "k", "--role", "king"), "is not one of"),
        (("--key", "k", "--site-home", "h"), "either --key KEY --role ROLE"),
    ],
)
def test_a_signature_needs_to_know_who_signs(fedethics, room, options, said):
    done = fedethics("charter", "sign", room / "charter.json", *options)
    assert done.exit_code == 2 and said in done.err
    assert not (room / "charter.signatures.json").exists()


def test_diff_says_key_old_new_and_meaning(fedethics, room):
    other = room / "other.json"
    data = (room / "charter.json").read_bytes()
    other.write_bytes(data.replace(b'"delta":0.0001', b'"delta":1e-05'))
    done = fedethics("charter", "diff", room / "charter.json", other)
    assert done.exit_code == 0
    for said in ("privacy.delta", "was  0.0001", "is   1e-05", "lower probability"):
        assert said in done.out
    (change,) = fedethics("charter", "diff", room / "charter.json", other, "--json").json["changes"]
    assert change["old"] == "0.0001" and change["new"] == "1e-05"


def test_a_new_key_is_private_and_signs_policies_too(fedethics, tmp_path):
    path = tmp_path / "officer.key"
    made = fedethics("key", "new", "-o", path, "--name", "A. Ruiz", "--json").json
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fedethics("key", "show", path, "--json").json["fingerprint"] == made["fingerprint"]
    signature = Identity.load(path).sign(b"x", purpose="p")
    assert verify(made["public-key"], b"x", signature, purpose="p")
    policy = tmp_path / "policy.toml"
    fedethics("policy", "init", policy)
    names = f'public-keys = ["{made["public-key"]}"]'
    policy.write_text(policy.read_text().replace("public-keys = []", names))
    assert fedethics("policy", "sign", policy, "--key", path).exit_code == 0
    assert fedethics("key", "new", "-o", path).exit_code == 2
