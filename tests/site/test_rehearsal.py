"""A rehearsal does all that a run does here, and leaves nothing behind: no charge, no file."""

import dataclasses
import re

import numpy as np
import pytest

from fedethics.charter import document
from fedethics.enrolment.approval import approve
from fedethics.errors import LedgerError, PolicyRefusal, SecaggAbort
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import Ledger
from fedethics.site import rehearsal_stage
from fedethics.site.home import SiteHome
from fedethics.site.rehearsal import rehearse
from fedethics.site.rehearsal_stage import build_stage
from fedethics.site.rehearsal_steps import STEPS
from tests.enrolment.a_day import Day, approved_day, everything


@pytest.fixture(scope="module")
def short_day(tmp_path_factory, root) -> Day:
    """A joined site with one round of one step, for speed."""
    path = tmp_path_factory.mktemp("short")
    draft = (root / "configs" / "heart.charter.toml").read_text()
    draft = draft.replace("rounds = 5", "rounds = 2").replace("local-steps = 4", "local-steps = 1")
    (path / "draft.toml").write_text(draft)
    day = approved_day(path / "day")
    (day.coordinator / "draft.toml").write_text(draft)
    approve(day.coordinator, [])
    day.join("alpha")
    return day


@pytest.fixture
def site(short_day, tmp_path) -> SiteHome:
    return short_day.copy(tmp_path / "day").home("alpha")


def test_a_rehearsal_leaves_every_byte_of_the_home_as_it_was(site):
    with site.policy_path.open("a") as policy:
        policy.write('[personal]\nfound = "redact"\nkinds = ["mail"]\n')
    before = everything(site.path)
    told = []
    done = rehearse(site, on_step=lambda step, _seconds: told.append(step))
    assert everything(site.path) == before
    assert tuple(told) == STEPS
    assert set(done.seconds) == set(STEPS)
    assert done.run_s > 0
    assert done.members == 3
    assert done.personal == "0 records with personal data of the policy's kinds, redacted"


def test_the_policy_that_is_rehearsed_says_the_same_of_personal_data(site, tmp_path):
    with site.policy_path.open("a") as policy:
        policy.write("[personal]\nfound = \"redact\"\nrecord-number = 'MRN[0-9]{7}'\n")
    stage = build_stage(site, tmp_path)
    played = load_policy(stage.home / "policy.toml").personal
    assert played == load_policy(site.policy_path).personal and played is not None


def test_a_rehearsal_that_the_policy_refuses_computes_nothing(site):
    path = site.policy_path
    path.write_text(path.read_text().replace("cohort = 3", "cohort = 9"))
    before = everything(site.path)
    told = []
    with pytest.raises(PolicyRefusal, match="cohort"):
        rehearse(site, on_step=lambda step, _seconds: told.append(step))
    assert told == []
    assert everything(site.path) == before


def test_a_ledger_that_moves_meanwhile_is_noticed(site, monkeypatch):
    def meddling(*arguments):
        identity = site.identity()
        ledger = Ledger.open(site.ledger_path, identity=identity)
        from fedethics.privacy.ledger import PinnedOfficers

        ledger.pin_officers(PinnedOfficers(public_keys=(), required_signatures=0))
        return 0.0

    monkeypatch.setattr("fedethics.site.rehearsal._play", meddling)
    with pytest.raises(LedgerError, match="changed during the rehearsal"):
        rehearse(site)


def test_a_sum_that_is_not_this_sites_own_vector_ends_the_rehearsal(site, monkeypatch):
    monkeypatch.setattr(
        rehearsal_stage.np, "zeros", lambda shape, dtype: np.ones(shape, dtype=dtype)
    )
    with pytest.raises(SecaggAbort, match="own vector plus zeros"):
        rehearse(site)


def test_no_key_of_the_real_federation_plays_a_part(site, tmp_path):
    stage = build_stage(site, tmp_path)
    real = document.load(site.charter_path)
    assert stage.charter.coordinator_key != real.coordinator_key
    real_keys = {member.public_key for member in real.roster}
    assert real_keys.isdisjoint(member.public_key for member in stage.charter.roster)
    assert SiteHome.open(stage.home).identity().public_key not in real_keys


def test_the_rehearsed_charter_differs_from_the_real_one_in_keys_alone(site, tmp_path):
    stage, real = build_stage(site, tmp_path), document.load(site.charter_path)
    keyed = dataclasses.replace(
        stage.charter, roster=real.roster, coordinator_key=real.coordinator_key
    )
    assert keyed == real


def test_a_large_federation_is_rehearsed_with_the_minimum_cohort(site, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal_stage, "_MOST_MEMBERS", 2)
    stage = build_stage(site, tmp_path)
    assert len(stage.charter.roster) == stage.charter.secagg.minimum_cohort
    assert stage.charter.member("alpha") is not None


def test_the_policy_of_the_play_is_the_sites_own_but_for_whose_charter(site, tmp_path):
    from fedethics.policy.model import load_policy

    stage = build_stage(site, tmp_path)
    played, real = load_policy(stage.home / "policy.toml"), load_policy(site.policy_path)
    assert dataclasses.replace(played, allow=real.allow, officers=real.officers) == real
    assert played.allow.charters == ("any",)


STEERED = """
[mitigation]
method = "reweighing"
feature = "sex"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[secagg]", f"{STEERED}\n[secagg]"),
        ('mode = "strict"', 'mode = "fast"'),
        ("suite = 1", "suite = 3"),
        ('form = "ffa"', 'form = "fedsvd"'),
    ],
    ids=["steered", "fast", "post-quantum", "fedsvd"],
)
def test_other_kinds_of_charter_can_be_rehearsed_too(short_day, tmp_path, old, new):
    day = short_day.copy(tmp_path / "day")
    draft = day.coordinator / "draft.toml"
    text = draft.read_text()
    assert old in text
    draft.write_text(text.replace(old, new))
    policy = day.path / "alpha" / "policy.toml"
    releases = 'releases = ["update", "progress", "audit", "fairness", "explanation", "steering"]'
    policy.write_text(re.sub(r"(?m)^releases = .*$", releases, policy.read_text()))
    approve(day.coordinator, [])
    day.join("alpha")
    assert rehearse(day.home("alpha")).run_s > 0


@pytest.mark.slow
def test_the_command_tells_steps_times_and_that_nothing_was_charged(site, fedethics):
    before = everything(site.path)
    outcome = fedethics("site", "rehearse", "--home", site.path, "--json")
    assert outcome.exit_code == 0
    assert outcome.json["ledger-unchanged"]
    assert outcome.json["whole-run-seconds"] > 0
    assert everything(site.path) == before
