"""A signature stands for one charter to the byte, one role and one name, and for nothing else."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.model import Member
from fedethics.charter.signing import (
    add_signatures,
    load_signatures,
    required_signers,
    sign,
    signatures_path,
    standing,
)
from fedethics.errors import CharterError
from fedethics.identity import Identity


@dataclasses.dataclass
class Parties:
    """A charter with three sites and an ethicist, and everyone's key."""

    keys: dict[str, Identity]
    charter: object

    def all_sign(self):
        roles = {"ethicist": "ethicist", "coordinator": "coordinator"}
        return [
            sign(self.charter, key, role=roles.get(name, "site")) for name, key in self.keys.items()
        ]


@pytest.fixture(scope="module")
def parties(root):
    names = ("a", "b", "c", "coordinator", "ethicist")
    keys = {name: Identity.generate() for name in names}
    draft = document.load(root / "configs" / "heart.charter.toml")
    ethicist = Stakeholder(
        role="ethicist", name="E. Okafor", public_key=keys["ethicist"].public_key
    )
    draft = dataclasses.replace(
        draft, ethics=dataclasses.replace(draft.ethics, stakeholders=(ethicist,))
    )
    roster = [
        Member(site=name, public_key=keys[name].public_key, declared_records=100) for name in "abc"
    ]
    charter = document.enrol(draft, coordinator_key=keys["coordinator"].public_key, roster=roster)
    return Parties(keys, charter)


def test_stakeholders_sites_and_coordinator_must_all_sign(parties):
    labels = [signer.label for signer in required_signers(parties.charter)]
    assert labels == ["ethicist E. Okafor", "site a", "site b", "site c", "the coordinator"]
    found = standing(parties.charter, parties.all_sign())
    assert found.complete and len(found.valid) == 5


def test_the_signed_bytes_are_the_charter_and_the_statement_under_their_purpose(parties):
    # Written out here by hand, so that another program could verify a signature.
    made = sign(parties.charter, parties.keys["a"], role="site")
    body = {
        "charter": terms.document(parties.charter),
        "statement": {"name": "a", "role": "site", "signed": made.signed},
    }
    purpose = b"charter-signature"
    framed = b"fedethics/1\x00" + len(purpose).to_bytes(2, "big") + purpose
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(made.public_key))
    key.verify(bytes.fromhex(made.signature), framed + canonical.encode(body))


def test_one_changed_term_voids_every_signature(parties):
    signatures = parties.all_sign()
    first, *rest = parties.charter.ethics.objectives
    eased = dataclasses.replace(
        parties.charter.ethics, objectives=(dataclasses.replace(first, bar=0.74), *rest)
    )
    other = dataclasses.replace(parties.charter, ethics=eased)
    found = standing(other, signatures)
    assert found.valid == () and len(found.void) == 5 and len(found.missing) == 5


@pytest.mark.parametrize(
    "change",
    [{"simulated": True}, {"signed": "2020-01-01T00:00:00+00:00"}, {"signature": "00" * 64}],
)
def test_nothing_of_a_signature_can_be_changed(parties, change):
    made = dataclasses.replace(sign(parties.charter, parties.keys["a"], role="site"), **change)
    assert standing(parties.charter, [made]).void


def test_a_site_cannot_sign_in_another_sites_name(parties):
    made = dataclasses.replace(sign(parties.charter, parties.keys["a"], role="site"), name="b")
    assert standing(parties.charter, [made]).void


def test_a_key_that_the_charter_does_not_name_in_that_role_cannot_sign(parties):
    with pytest.raises(CharterError, match="does not name it at all"):
        sign(parties.charter, Identity.generate(), role="site")
    with pytest.raises(CharterError, match="names it as site a"):
        sign(parties.charter, parties.keys["a"], role="coordinator")


def test_a_draft_cannot_be_signed(parties):
    draft = dataclasses.replace(parties.charter, roster=(), coordinator_key="")
    with pytest.raises(CharterError, match="draft"):
        sign(draft, parties.keys["a"], role="site")


def test_the_file_keeps_one_signature_of_each_and_reads_back(parties, tmp_path):
    path = signatures_path(tmp_path / "charter.json")
    assert path.name == "charter.signatures.json"
    early = sign(
        parties.charter, parties.keys["a"], role="site", signed=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert add_signatures(path, parties.charter, [early]) == 1
    assert add_signatures(path, parties.charter, parties.all_sign()) == 5
    assert standing(parties.charter, load_signatures(path)).complete


def test_signatures_over_another_charter_are_not_mixed_in(parties, tmp_path):
    path = tmp_path / "charter.signatures.json"
    add_signatures(path, parties.charter, parties.all_sign())
    other = dataclasses.replace(
        parties.charter, training=dataclasses.replace(parties.charter.training, rounds=9)
    )
    with pytest.raises(CharterError, match="voids all signatures"):
        add_signatures(path, other, [sign(other, parties.keys["a"], role="site")])


@pytest.mark.parametrize("text", ["", "[]", '{"charter-hash": 1}', '{"signatures": [{}]}'])
def test_a_damaged_file_of_signatures_is_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(CharterError):
        load_signatures(tmp_path / "s.json")


def test_a_stakeholder_without_a_key_is_a_draft_only(parties):
    nameless = dataclasses.replace(parties.charter.ethics.stakeholders[0], public_key="")
    ethics = dataclasses.replace(parties.charter.ethics, stakeholders=(nameless,))
    with pytest.raises(CharterError, match=r"stakeholders\[0\]\.public-key: missing"):
        document.parse(document.encode(dataclasses.replace(parties.charter, ethics=ethics)))


def test_a_stakeholder_may_not_sign_with_a_sites_key(parties):
    table = json.loads(document.encode(parties.charter))
    table["ethics"]["stakeholders"][0]["public-key"] = parties.keys["a"].public_key
    with pytest.raises(CharterError, match="must show who signed"):
        document.parse(canonical.encode(table))
