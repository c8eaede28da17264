"""What a charter's run will spend and the noise that it needs: computed by each site for itself.

The plan is a pure function of the charter. No number of it is ever received from a coordinator,
so no coordinator can understate noise or overstate a budget. It is composed of one small plan for
each kind of sum (`fedethics.aggregates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from fedethics.aggregates.aggregate import SumPlan, TablePlan
from fedethics.aggregates.audit import AUDIT, AuditPlan
from fedethics.aggregates.fairness import FAIRNESS, FairnessPlan
from fedethics.aggregates.monitoring import MONITORING
from fedethics.aggregates.noise import Account, TrustMode, sites_of, trust_mode
from fedethics.aggregates.progress import PROGRESS
from fedethics.aggregates.registry import AGGREGATES
from fedethics.aggregates.steering import STEERING
from fedethics.aggregates.update import UPDATE, UpdatePlan
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import CountMechanism, Event, count_mechanism


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountPlan:
    """What a run costs one unit of one account.

    Attributes:
        events: all that it is charged for.
        epsilon: of them together, at the plan's delta; infinite without DP.
        trust_mode: from the charter.
    """

    events: tuple[Event, ...]
    epsilon: float
    trust_mode: TrustMode


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyPlan:
    """One run's mechanisms and what they cost, for one unit of one site.

    Training and held-out records are disjoint, so a record pays `training` or `evaluation`, never
    both.

    Attributes:
        charter_hash: the charter that the plan follows from.
        delta: the delta of both epsilons.
        sites: sites whose tables are summed (for a draft, the minimum cohort).
        colluders: sites that may share all they know with a coordinator that lies.
        count_mechanism: how the noise of tables is drawn; None without DP.
        training, evaluation: what each account pays over the run.
        sums: the plan of each kind of sum that the charter foresees, by its name.
    """

    charter_hash: str
    delta: float
    sites: int
    colluders: int
    count_mechanism: type[CountMechanism] | None
    training: AccountPlan
    evaluation: AccountPlan
    sums: Mapping[str, SumPlan]

    @property
    def update(self) -> UpdatePlan:
        """The plan of DP-SGD."""
        return UPDATE.of(self.sums)

    @property
    def progress(self) -> TablePlan:
        """The plan of the light evaluations."""
        return PROGRESS.of(self.sums)

    @property
    def steering(self) -> TablePlan:
        """The plan of the counts that steer training."""
        return STEERING.of(self.sums)

    @property
    def fairness(self) -> FairnessPlan:
        """The plan of the group tables."""
        return FAIRNESS.of(self.sums)

    @property
    def audit(self) -> AuditPlan | None:
        """The plan of the membership audit; None where none is asked for."""
        return AUDIT.of(self.sums) if AUDIT.name in self.sums else None

    def private(self, account: Account) -> bool:
        """Say whether what an account pays for has noise at all."""
        if MONITORING.name in self.sums:
            return account is Account.TRAINING or MONITORING.of(self.sums).noise.std > 0
        if account is Account.TRAINING:
            return self.update.noise_multiplier is not None
        return self.fairness.counts.std > 0

    def account(self, account: Account) -> AccountPlan:
        """Return what an account pays over the run."""
        return self.training if account is Account.TRAINING else self.evaluation

    def charge(self, kind: str, account: Account) -> tuple[Event, ...]:
        """Return what one sum of this kind is charged to an account for."""
        return self.sums[kind].charge(account)


@lru_cache(maxsize=32)
def make_plan(charter: Charter) -> PrivacyPlan:
    """Return the plan that follows from the charter.

    Guarantee: the epsilons of `training` and `evaluation` are verified by the accountant of record
    to be at most the charter's, at the charter's delta, over the whole run.

    Raises:
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    fixed = _plans(charter, None, 0.0)
    if charter.monitoring is not None:  # nothing is trained, and no other sum is opened
        return _made(charter, {MONITORING.name: fixed[MONITORING.name]})
    sums = dict(fixed)
    for account in Account:
        scale = _scale(charter, account, _whole_run(fixed, account))
        sums |= _plans(charter, account, scale)
    return _made(charter, sums)


def _made(charter: Charter, sums: Mapping[str, SumPlan]) -> PrivacyPlan:
    mechanism = charter.privacy.evaluation.mechanism
    return PrivacyPlan(
        charter_hash=hash_of(charter),
        delta=charter.privacy.delta,
        sites=sites_of(charter),
        colluders=charter.secagg.colluders,
        count_mechanism=None if mechanism == "none" else count_mechanism(mechanism),
        training=_account(charter, Account.TRAINING, sums),
        evaluation=_account(charter, Account.EVALUATION, sums),
        sums={name: sums[name] for name in AGGREGATES if name in sums},
    )


def _plans(charter: Charter, scaled: Account | None, scale: float) -> dict[str, SumPlan]:
    """Return the plans of the kinds that share an account's scale, or have noise of their own."""
    found = {
        each.name: each.plan(charter, scale)
        for each in AGGREGATES.values()
        if each.scaled is scaled
    }
    return {name: plan for name, plan in found.items() if plan is not None}


def _scale(charter: Charter, account: Account, fixed: tuple[Event, ...]) -> float:
    """Return the smallest common scale of an account beside what is fixed; 0.0 without DP."""
    privacy = charter.privacy
    terms = privacy.training if account is Account.TRAINING else privacy.evaluation
    if terms.mechanism == "none":
        return 0.0
    return smallest_scale(
        lambda scale: (*fixed, *events_at(charter, account, scale)),
        epsilon=terms.epsilon,
        delta=privacy.delta,
        largest=largest_scale(charter, account),
    )


def events_at(charter: Charter, account: Account, scale: float) -> tuple[Event, ...]:
    """Return what a run costs an account whose common scale of noise is this one.

    Sums with an epsilon of their own are not among it (`fixed_events`).
    """
    return _whole_run(_plans(charter, account, scale), account)


def fixed_events(charter: Charter, account: Account) -> tuple[Event, ...]:
    """Return what a run costs an account by sums that have an epsilon of their own."""
    return _whole_run(_plans(charter, None, 0.0), account)


def largest_scale(charter: Charter, account: Account) -> float:
    """Return the scale of an account beyond which no noise is looked for."""
    kinds = [each for each in AGGREGATES.values() if each.scaled is account]
    return min(each.largest_scale(charter) for each in kinds)


def _whole_run(plans: Mapping[str, SumPlan], account: Account) -> tuple[Event, ...]:
    return tuple(event for plan in plans.values() for event in plan.whole_run(account))


def _account(charter: Charter, account: Account, sums: Mapping[str, SumPlan]) -> AccountPlan:
    ordered = {name: sums[name] for name in AGGREGATES if name in sums}
    events = _whole_run(ordered, account)
    return AccountPlan(
        events=events,
        epsilon=epsilon(events, delta=charter.privacy.delta),
        trust_mode=trust_mode(charter, account),
    )
