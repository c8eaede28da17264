"""A site whose policy asks for it runs no charter that somebody it names has not signed."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter.document import enrol, load
from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.model import Member
from fedethics.charter.signing import sign
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.policy.signatures import signature_reasons
from fedethics.policy.template import policy_text
from tests.policy.test_permit import Site
from tests.privacy.charters import HEART


@pytest.fixture(scope="module")
def agreed():
    keys = {name: Identity.generate() for name in ("a", "b", "c", "coordinator", "legal")}
    named = Stakeholder(role="legal", name="L. Berg", public_key=keys["legal"].public_key)
    draft = load(HEART)
    draft = dataclasses.replace(
        draft, ethics=dataclasses.replace(draft.ethics, stakeholders=(named,))
    )
    roster = [
        Member(site=name, public_key=keys[name].public_key, declared_records=100) for name in "abc"
    ]
    return enrol(draft, coordinator_key=keys["coordinator"].public_key, roster=roster), keys


def _signatures(agreed, **more):
    charter, keys = agreed
    roles = {"coordinator": "coordinator", "legal": "legal"}
    return [sign(charter, key, role=roles.get(name, "site"), **more) for name, key in keys.items()]


def test_all_signatures_give_no_reason(agreed):
    assert list(signature_reasons(agreed[0], _signatures(agreed))) == []


def test_each_missing_signature_is_a_reason(agreed):
    reasons = list(signature_reasons(agreed[0], _signatures(agreed)[:3]))
    assert len(reasons) == 2 and "legal L. Berg has not signed" in " ".join(reasons)
    assert all("require-signed-charter" in reason for reason in reasons)


def test_a_void_signature_is_a_reason(agreed):
    first, *rest = _signatures(agreed)
    changed = dataclasses.replace(first, signed="2020-01-01T00:00:00+00:00")
    reasons = " ".join(signature_reasons(agreed[0], [changed, *rest]))
    assert "not over this charter" in reasons and "site a has not signed" in reasons


def test_simulated_signatures_are_nobodys_consent(agreed):
    (reason,) = signature_reasons(agreed[0], _signatures(agreed, simulated=True))
    assert "simulation" in reason


def test_the_permit_is_refused_without_the_signatures_and_given_with_them(tmp_path):
    site = Site(tmp_path)
    keys = [Identity.generate(), Identity.generate(), Identity.generate()]
    b, c, coordinator = keys
    roster = [
        Member(site=name, public_key=key.public_key, declared_records=200)
        for name, key in (("a", site.identity), ("b", b), ("c", c))
    ]
    charter = enrol(load(HEART), coordinator_key=coordinator.public_key, roster=roster)
    text = policy_text().replace("require-signed-charter = false", "require-signed-charter = true")
    (tmp_path / "policy.toml").write_text(text)
    policy = load_policy(tmp_path / "policy.toml")
    reasons = site.reasons(charter, policy=policy)
    assert len(reasons) == 4 and "the coordinator has not signed" in reasons[-1]
    signers = ((site.identity, "site"), (b, "site"), (c, "site"), (coordinator, "coordinator"))
    signatures = [sign(charter, key, role=role) for key, role in signers]
    assert site.ask(charter, policy=policy, signatures=signatures).site == "a"
    # Without that term nothing changes.
    assert site.ask(charter).site == "a"
