"""A search for settings: every run follows from what was signed, and all of them fit its budget."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fedethics.aggregates.noise import Account
from fedethics.charter import document
from fedethics.charter.model import Member
from fedethics.charter.phases import agreed_of
from fedethics.charter.signing import sign, standing
from fedethics.errors import CharterError, PolicyRefusal
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.policy.permit import permit, refusals_before_joining
from fedethics.policy.template import policy_text
from fedethics.privacy import search
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.plan import make_plan
from fedethics.site.request_context import RequestContext
from tests.policy.test_permit import DATA
from tests.privacy.charters import HEART

TRIED = (
    ("training.learning-rate=0.25",),
    ("training.local-steps=2", 'training.server.optimizer="fedavgm"'),
)
TUNING = {
    "settings-from": "tuning",
    "rounds": 2,
    "share": 0.3,
    "select": "roc_auc_score",
    "candidates": [{"set": list(pairs)} for pairs in TRIED],
}
NAMES = ("trial-1", "trial-2", "final-1", "final-2")


def searching(**changes):
    return document.load_set(HEART, {"tuning": TUNING | changes})


@pytest.fixture(scope="module")
def agreed():
    """The heart preset with a search over two candidates; its audit waits for the final run."""
    return searching()


@pytest.fixture(scope="module")
def keys():
    return {name: Identity.generate() for name in ("a", "b", "c", "coordinator")}


@pytest.fixture(scope="module")
def enrolled(agreed, keys):
    return enrol(agreed, keys)


def enrol(draft, keys):
    roster = [
        Member(site=name, public_key=keys[name].public_key, declared_records=200) for name in "abc"
    ]
    return document.enrol(draft, coordinator_key=keys["coordinator"].public_key, roster=roster)


def test_trials_cost_their_share_and_the_whole_search_the_whole_budget(agreed):
    trials, delta = search.trials(agreed), agreed.privacy.delta
    for account, whole in zip(Account, (3.0, 3.0), strict=True):
        spent = [event for one in trials for event in make_plan(one).account(account).events]
        share = epsilon(spent, delta=delta)
        assert 0.97 * 0.3 * whole < share <= 0.3 * whole
        for number in (1, 2):
            final = make_plan(search.phase(agreed, f"final-{number}")).account(account)
            composed = epsilon([*spent, *final.events], delta=delta)
            assert 0.99 * whole < composed <= whole
            assert final.epsilon < whole  # every trial is paid for, whichever wins


def test_each_run_has_its_settings_and_the_signed_charter_follows_from_it(agreed):
    assert [one.tuning.phase for one in search.runs_of(agreed)] == list(NAMES)
    for one in search.runs_of(agreed):
        assert document.hash_of(agreed_of(one)) == document.hash_of(agreed)
        assert search.follows(one)
        assert search.of_hash(agreed, document.hash_of(one)) == one
    first, second, final, _ = search.runs_of(agreed)
    assert (first.training.learning_rate, first.training.rounds) == (0.25, 2)
    assert second.training.server.optimizer == "fedavgm" and second.training.local_steps == 2
    assert final.training.rounds == agreed.training.rounds
    assert not first.privacy.audit.asked and final.privacy.audit.asked
    assert search.of_hash(agreed, document.hash_of(agreed)) is None  # a search is no run itself


def test_what_was_signed_for_the_search_holds_for_its_runs_and_for_nothing_else(enrolled, keys):
    roles = {"coordinator": "coordinator"}
    signed = [sign(enrolled, key, role=roles.get(name, "site")) for name, key in keys.items()]
    trial = search.phase(enrolled, "trial-2")
    assert not [one for one in standing(trial, signed).missing if one.role == "site"]
    assert not standing(trial, signed).void
    other = dataclasses.replace(
        trial, training=dataclasses.replace(trial.training, momentum=0.0, local_steps=3)
    )
    assert standing(other, signed).void or not search.follows(other)


def test_a_site_permits_the_runs_of_the_search_by_name_and_nothing_that_does_not_follow(
    enrolled, keys, tmp_path
):
    (tmp_path / "policy.toml").write_text(policy_text(charters=(document.hash_of(enrolled),)))
    policy = load_policy(tmp_path / "policy.toml")
    ledger = Ledger.open(tmp_path / "ledger.db", identity=keys["a"], create=True)

    def ask(charter, run):
        return permit(
            charter, site="a", policy=policy, plan=make_plan(charter), ledger=ledger, data=DATA,
            run=run,
        )  # fmt: skip

    trial = search.phase(enrolled, "trial-1")
    assert ask(trial, "s-trial-1").charter_hash == document.hash_of(trial)
    with pytest.raises(PolicyRefusal, match="a name that ends with -trial-1"):
        ask(trial, "s")
    with pytest.raises(PolicyRefusal, match="only its trials and its final run"):
        ask(enrolled, "s")
    privacy = dataclasses.replace(trial.privacy.training, epsilon=2.0)
    greedy = dataclasses.replace(
        trial, privacy=dataclasses.replace(trial.privacy, training=privacy)
    )
    with pytest.raises(PolicyRefusal, match="does not follow from the one that was agreed"):
        ask(greedy, "s-trial-1")


def test_a_run_to_come_that_the_site_would_refuse_is_refused_before_any_trial_is_paid(
    keys, tmp_path
):
    rates = ("training.learning-rate=0.25", "privacy.training.sampling-rate=0.05")
    draft = searching(share=0.6, candidates=[{"set": [one]} for one in rates])
    wanted = enrol(draft, keys)
    text = re.sub(r"noise-multiplier = .*", "noise-multiplier = 1.0",
                  policy_text(charters=(document.hash_of(wanted),)))  # fmt: skip
    (tmp_path / "policy.toml").write_text(text)
    policy = load_policy(tmp_path / "policy.toml")
    ledger = Ledger.open(tmp_path / "ledger.db", identity=keys["a"], create=True)
    trial = search.phase(wanted, "trial-1")
    assert make_plan(trial).update.noise_multiplier > 1
    with pytest.raises(PolicyRefusal, match=r"final-2 of the search: .*noise"):
        permit(
            trial, site="a", policy=policy, plan=make_plan(trial), ledger=ledger, data=DATA,
            run="s-trial-1",
        )  # fmt: skip
    told = refusals_before_joining(
        wanted, site="a", policy=policy, plan=make_plan(wanted), ledger=ledger, data=DATA
    )
    assert any(reason.startswith("final-2 of the search:") for reason in told)


def test_a_trial_pays_for_no_count_of_gradient_norms():
    asked = document.load_set(HEART, {"tuning": TUNING, "norms": {"epsilon": 0.2, "round": 5}})
    for one in search.runs_of(asked):
        assert ("norms" in make_plan(one).sums) == one.tuning.is_final


def test_a_site_keeps_one_answer_about_its_records_for_all_runs_of_a_search(enrolled):
    contexts = [
        RequestContext(None, one, document.hash_of(one), None, None)
        for one in search.runs_of(enrolled)
    ]
    assert {one.agreed_hash for one in contexts} == {document.hash_of(enrolled)}


def test_a_site_runs_no_trial_twice_no_second_final_run_and_no_second_search(
    enrolled, keys, tmp_path
):
    (tmp_path / "policy.toml").write_text(policy_text(charters=(document.hash_of(enrolled),)))
    policy = load_policy(tmp_path / "policy.toml")
    ledger = Ledger.open(tmp_path / "ledger.db", identity=keys["a"], create=True)

    def ask(phase, run):
        charter = search.phase(enrolled, phase)
        plan = make_plan(charter)
        granted = permit(
            charter, site="a", policy=policy, plan=plan, ledger=ledger, data=DATA, run=run
        )
        data_set, cap = granted.account(Account.TRAINING)
        ledger.reserve(
            data_set=data_set, run=run, round_number=1, kind="update",
            events=plan.training.events[:1], charter_hash=document.hash_of(charter), cap=cap,
        )  # fmt: skip

    ask("trial-1", "s-trial-1")
    ask("trial-1", "s-trial-1")  # the same run, asked again
    with pytest.raises(PolicyRefusal, match="trial-1 of this search was run as 's-trial-1'"):
        ask("trial-1", "t-trial-1")
    with pytest.raises(PolicyRefusal, match="search was begun with run 's-trial-1'"):
        ask("trial-2", "t-trial-2")
    ask("final-1", "s-final-1")
    with pytest.raises(PolicyRefusal, match="final-1 of this search was run as 's-final-1'"):
        ask("final-2", "s-final-2")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"share": None}, "share: missing"),
        ({"select": "demographic_parity_difference"}, "no objective without groups"),
        ({"candidates": [{"set": ["privacy.delta=0.1"]}]}, "no trial may set 'privacy.delta'"),
        ({"candidates": [{"set": ["training.rounds=9"]}]}, "no trial may set 'training.rounds'"),
        ({"candidates": [{"set": list(TRIED[0])}]}, "a search has 2 to 16"),
        ({"candidates": [{"set": list(TRIED[0])}] * 2}, "one is listed twice"),
        ({"settings-from": "fixed"}, 'only with settings-from = "tuning"'),
        ({"phase": "trial-1"}, "written by fedethics for one run"),
    ],
)
def test_what_is_no_search_is_refused_by_name(changes, why):
    changes = {key: value for key, value in changes.items() if value is not None}
    table = {k: v for k, v in (TUNING | changes).items() if k != "share" or "share" not in why}
    with pytest.raises(CharterError, match=why):
        document.load_set(HEART, {"tuning": table})


def test_a_candidate_that_makes_no_charter_is_named_before_anything_starts():
    agreed = searching(
        candidates=[{"set": ["training.learning-rate=0.25"]}, {"set": ["training.local-steps=0"]}]
    )
    with pytest.raises(CharterError, match=r"tuning: trial-2: [^-]*- training\.local-steps"):
        search.trials(agreed)
