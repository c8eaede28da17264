"""The permit: every reason at once, and no way for a charter to raise a cap."""

import dataclasses
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedethics.aggregates.noise import Account
from fedethics.charter.document import hash_of, load
from fedethics.charter.model import Member
from fedethics.errors import AccountingError, PolicyRefusal
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.policy.permit import DataFacts, permit
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.ledger import DataSet, Ledger
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART, UNAUDITED, with_terms

DATA = DataFacts(
    train=DataSet(fingerprint="aa", label="train"),
    held_out=DataSet(fingerprint="bb", label="held-out"),
    train_records=200,
    held_out_records=100,
)


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.identity = Identity.generate()
        self.ledger = Ledger.open(folder / "ledger.db", identity=self.identity, create=True)
        roster = tuple(
            Member(site=name, public_key=key, declared_records=200)
            for name, key in (("a", self.identity.public_key), ("b", "b" * 64), ("c", "c" * 64))
        )
        draft = with_terms(load(HEART), audit=UNAUDITED)
        self.charter = dataclasses.replace(draft, roster=roster, coordinator_key="d" * 64)
        self.policy = self.policy_of()

    def policy_of(self, **limits):
        path = self.folder / "policy.toml"
        path.write_text(policy_text(**limits))
        return load_policy(path)

    def ask(self, charter=None, *, site="a", policy=None, data=DATA, **more):
        charter = charter or self.charter
        return permit(
            charter,
            site=site,
            policy=policy or self.policy,
            plan=more.pop("plan", make_plan(charter)),
            ledger=self.ledger,
            data=data,
            **more,
        )

    def reasons(self, *args, **more):
        with pytest.raises(PolicyRefusal) as caught:
            self.ask(*args, **more)
        return caught.value.reasons

    def charge(self, times=1, *, run="earlier", data_set=DATA.train, event=None):
        for number in range(times):
            self.ledger.reserve(
                data_set=data_set,
                run=run,
                round_number=number + 1,
                kind="update",
                events=[event or make_plan(self.charter).update.event],
                charter_hash=hash_of(self.charter),
                cap=self.policy.cap(with_dp=True),
            )


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_charter_within_the_policy_gets_a_permit_with_the_policys_caps(site):
    granted = site.ask()
    assert granted.charter_hash == hash_of(site.charter)
    assert granted.train_cap == granted.held_out_cap == site.policy.cap(with_dp=True)
    assert granted.train_cap.epsilon == 8.0 and granted.train_cap.per_run == 3.0
    assert granted.account(Account.TRAINING)[0] == DATA.train
    assert granted.account(Account.EVALUATION)[0] == DATA.held_out


def test_a_refusal_lists_every_reason_at_once(site):
    strict = site.policy_of(
        charters=["e" * 64],
        epsilon_per_data_set=2.0,
        epsilon_per_run=1.0,
        epsilon_per_year=2.0,
        delta=1e-6,
        noise_multiplier=4.0,
        cohort=5,
        records=500,
    )
    strict = dataclasses.replace(
        strict,
        allow=dataclasses.replace(
            strict.allow, releases=("update",), evaluation_trust_modes=("local",)
        ),
    )
    reasons = "\n".join(site.reasons(site="z", policy=strict, fixed_noise=True))
    for expected in (
        "allow.charters does not list",
        "'z' is not on the charter's roster",
        "privacy.evaluation.trust-mode 'distributed'",
        "'fairness' releases",
        "'progress' releases",
        "fixed noise",
        "training step would have noise multiplier 2.9",
        "the counts would have noise multiplier",
        "minimum-cohort 3 is below this site's minimum.cohort 5",
        "privacy.delta 0.0001 is above this site's caps.delta 1e-06",
        "training has 200 records, below minimum.records 500",
        "held-out has 100 records",
        "training on 'train': epsilon over the life of the data set",
        "training on 'train': epsilon within the run",
        "training on 'train': epsilon within 365 days",
        "evaluation on 'held-out': epsilon over the life of the data set",
    ):
        assert expected in reasons, expected


def test_what_was_spent_before_counts_composed(site):
    site.charge(5)
    site.ask()  # 3 and 3 compose to less than 8
    policy = site.policy_of(epsilon_per_data_set=4.0)
    (reason,) = site.reasons(policy=policy)
    both = epsilon([make_plan(site.charter).update.event] * 10, delta=1e-4)
    assert f"from 3 to {both:.4g}, past the cap of 4" in reason
    assert both < 6  # composed, never added up


def test_a_spent_training_account_does_not_burden_the_held_out_one(site):
    site.charge(5)
    (reason,) = site.reasons(policy=site.policy_of(epsilon_per_data_set=3.0))
    assert reason.startswith("training on 'train'")


def test_asking_again_in_the_middle_of_a_run_does_not_count_its_rounds_twice(site):
    policy = site.policy_of(epsilon_per_data_set=3.0)
    site.charge(3, run="run-7")
    site.ask(policy=policy, run="run-7")
    assert site.reasons(policy=policy, run="run-8")
    site.charge(1, run="run-6", event=SampledGaussian(50.0, 0.5, 1))
    assert site.reasons(policy=policy, run="run-7")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"train_records": 10_000}, "privacy.delta 0.0001 is not below 1/records of training"),
        ({"held_out_records": 0}, "held-out (0 records)"),
    ],
)
def test_a_delta_that_would_cover_a_record_is_refused(site, facts, expected):
    reasons = site.reasons(data=dataclasses.replace(DATA, **facts))
    assert any(expected in reason for reason in reasons)


def test_a_roster_that_names_the_site_by_another_key_is_refused(site):
    swapped = dataclasses.replace(
        site.charter,
        roster=(
            dataclasses.replace(site.charter.roster[0], public_key="9" * 64),
            *site.charter.roster[1:],
        ),
    )
    (reason,) = site.reasons(swapped)
    assert "by key 999999999999" in reason


def test_a_draft_and_a_plan_of_another_charter_are_refused(site):
    draft = dataclasses.replace(site.charter, roster=(), coordinator_key="")
    assert any("draft" in reason for reason in site.reasons(draft))
    other = make_plan(with_terms(site.charter, training={"epsilon": 0.5}))
    assert any("the plan is of charter" in reason for reason in site.reasons(plan=other))


def test_a_charter_without_dp_needs_a_policy_that_says_so(site):
    bare = with_terms(site.charter, training={"mechanism": "none"})
    reasons = site.reasons(bare)
    assert reasons == (
        "a training step has no differential privacy, and allow.without-dp is false",
    )
    granted = site.ask(bare, policy=site.policy_of(without_dp=True))
    assert math.isinf(granted.train_cap.epsilon)
    assert granted.held_out_cap.epsilon == 8.0


def test_fixed_noise_needs_a_policy_that_says_so(site):
    assert any("fixed noise" in reason for reason in site.reasons(fixed_noise=True))
    site.ask(policy=site.policy_of(fixed_noise=True), fixed_noise=True)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    target=st.sampled_from([0.1, 2.9, 3.1, 30.0]),
    rate=st.sampled_from([0.5, 1.0]),
    ratio=st.floats(0.01, 10.0),
    evaluation=st.sampled_from([0.1, 2.9, 3.1, 30.0]),
)
def test_nothing_in_a_charter_can_raise_a_cap(site, target, rate, ratio, evaluation):
    charter = with_terms(
        site.charter,
        training={"epsilon": target, "sampling_rate": rate},
        evaluation={"epsilon": evaluation, "counts_ratio": ratio},
    )
    try:
        granted = site.ask(charter)
    except (PolicyRefusal, AccountingError):
        return
    assert granted.train_cap == granted.held_out_cap == site.policy.cap(with_dp=True)
    plan = make_plan(charter)
    for events in (plan.training.events, plan.evaluation.events):
        assert epsilon(events, delta=granted.train_cap.delta) <= 3.0


def test_another_split_of_the_same_records_is_no_second_budget(site):
    first = dataclasses.replace(
        DATA,
        train=dataclasses.replace(DATA.train, source="ff"),
        held_out=dataclasses.replace(DATA.held_out, source="ff"),
    )
    site.charge(data_set=first.train)
    site.ask(data=first)
    again = dataclasses.replace(
        first,
        train=DataSet(fingerprint="cc", label="train", source="ff"),
        held_out=DataSet(fingerprint="dd", label="held-out", source="ff"),
    )
    (reason,) = site.reasons(data=again)
    assert "second budget" in reason


GROWN = DataFacts(
    train=DataSet(fingerprint="cc", label="train", source="grown"),
    held_out=DataSet(fingerprint="dd", label="held-out", source="grown"),
    train_records=201,
    held_out_records=100,
)


def changed(site, how):
    allowed = dataclasses.replace(site.policy.allow, changed_data=how)
    caps = dataclasses.replace(site.policy.caps, epsilon_per_data_set=4.0)
    return dataclasses.replace(site.policy, allow=allowed, caps=caps)


def test_a_grown_file_is_linked_so_that_what_its_people_spent_still_counts(site):
    site.charge(5)  # the charter's whole training budget, epsilon 3
    event = make_plan(site.charter).update.event
    both = epsilon([event] * 10, delta=1e-4)
    (reason,) = (r for r in site.reasons(policy=changed(site, "link"), data=GROWN) if "train" in r)
    assert f"would go from 3 to {both:.4g}, past the cap of 4" in reason


def test_the_held_out_side_of_a_grown_file_counts_what_training_spent_before(site):
    site.charge(5)
    plan = make_plan(site.charter)
    both = epsilon([*[plan.update.event] * 5, *plan.evaluation.events], delta=1e-4)
    reasons = site.reasons(policy=changed(site, "link"), data=GROWN)
    assert any(
        f"held-out': epsilon over the life of the data set would go from 3 to {both:.4g}" in r
        for r in reasons
    )


def test_an_officer_may_refuse_a_changed_file_or_state_that_its_people_are_others(site):
    site.charge(5)
    assert any(
        'allow.changed-data is "refuse"' in reason
        for reason in site.reasons(policy=changed(site, "refuse"), data=GROWN)
    )
    granted = site.ask(policy=changed(site, "other-people"), data=GROWN)
    assert granted.data.train.follows == ()


def test_kinship_is_symmetric_transitive_and_outlives_a_later_denial(site):
    event = SampledGaussian(3.0, 0.5, 4)
    first, second, third = (
        DataSet(fingerprint=name * 2, label="train", source=name, follows=tuple(before))
        for name, before in (("a", ""), ("b", "a"), ("c", "b"))
    )
    stranger = DataSet(fingerprint="zz", label="train", source="z")
    for account in (first, second, third, stranger):
        site.charge(data_set=account, event=event)
    denied = dataclasses.replace(third, follows=())
    site.charge(data_set=denied, event=event)
    for account in (first, second, third, denied):
        assert site.ledger.spent(account, delta=1e-4) == epsilon([event] * 4, delta=1e-4)
    assert site.ledger.spent(stranger, delta=1e-4) == epsilon([event], delta=1e-4)


def test_sites_that_may_collude_do_not_count_towards_the_floor_of_honest_ones(site):
    site.ask(policy=site.policy_of(honest_sites=2))  # 3 sites, of which 1 may collude
    (reason,) = site.reasons(policy=site.policy_of(honest_sites=3))
    assert "3 less secagg.colluders 1 leaves 2 honest sites" in reason
    assert "minimum.honest-sites 3" in reason


def test_the_floor_of_honest_sites_is_held_to_the_worst_sum_of_the_charters_mode(site):
    secagg = dataclasses.replace(site.charter.secagg, minimum_cohort=8, colluders=1)
    more = tuple(
        Member(site=f"m{k}", public_key=f"{k:02d}" * 32, declared_records=200) for k in range(9)
    )
    for mode, honest in (("strict", 7), ("fast", 6)):
        charter = dataclasses.replace(
            site.charter,
            roster=(*site.charter.roster, *more),
            secagg=dataclasses.replace(secagg, mode=mode),
        )
        site.ask(charter, policy=site.policy_of(cohort=8, honest_sites=honest))
        with pytest.raises(PolicyRefusal, match=f"leaves {honest} honest sites"):
            site.ask(charter, policy=site.policy_of(cohort=8, honest_sites=honest + 1))
