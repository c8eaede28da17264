"""The noise on the two histograms of a membership audit, and what they cost.

Trained units are protected as the training protects them, held-out ones as the evaluation does, so
the two halves may need the noise of other numbers of sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.charter.model import Charter
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event, NonPrivate, count_mechanism


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfPlan:
    """One half of the table.

    Attributes:
        std: standard deviation on which the guarantee rests; 0.0 without DP.
        shares: sites whose noise together carries it.
        sites: sites in the sum.
        event: what it costs one unit.
    """

    std: float
    shares: int
    sites: int
    event: Event

    @property
    def site_variance(self) -> float:
        """The variance that each site adds to every entry."""
        return self.std**2 / self.shares

    @property
    def sum_variance(self) -> float:
        """The variance of the noise in every entry of the opened sum."""
        return self.sites * self.site_variance


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPlan:
    """Both halves: each of `bins` entries, in which a unit counts once."""

    bins: int
    members: HalfPlan
    non_members: HalfPlan


def audit_plan(charter: Charter) -> AuditPlan | None:
    """Return the plan that follows from the charter; None where no audit is asked for.

    Raises:
        AccountingError: no noise makes the histogram fit its epsilon.
    """
    privacy = charter.privacy
    if not privacy.audit.asked:
        return None
    with_dp = privacy.training.mechanism != "none"
    return AuditPlan(
        bins=privacy.audit.bins,
        members=_half(charter, privacy.training.trust_mode, with_dp=with_dp),
        non_members=_half(charter, privacy.evaluation.trust_mode, with_dp=True),
    )


def trained_events(plan: AuditPlan | None) -> tuple[Event, ...]:
    """Return what the audit costs a trained unit."""
    return () if plan is None else (plan.members.event,)


def held_out_events(plan: AuditPlan | None) -> tuple[Event, ...]:
    """Return what the audit costs a held-out unit."""
    return () if plan is None else (plan.non_members.event,)


def _half(
    charter: Charter, trust_mode: Literal["local", "distributed"], *, with_dp: bool
) -> HalfPlan:
    mechanism = charter.privacy.evaluation.mechanism
    # Count sums are over the whole roster or nothing; a draft's is its minimum cohort.
    sites = len(charter.roster) or charter.secagg.minimum_cohort
    honest = charter.secagg.fewest_honest(sites, whole_roster=True)
    shares = honest if trust_mode == "distributed" else 1
    if mechanism == "none" or not with_dp:
        what = "evaluation" if with_dp else "training"
        event: Event = NonPrivate(f'privacy.{what}.mechanism = "none"')
        return HalfPlan(std=0.0, shares=shares, sites=sites, event=event)
    chosen = count_mechanism(mechanism)

    def table(std: float) -> Event:
        return chosen.of(std=std, shares=shares)

    std = smallest_scale(
        lambda scale: (table(scale),),
        epsilon=charter.privacy.audit.epsilon,
        delta=charter.privacy.delta,
    )
    return HalfPlan(std=std, shares=shares, sites=sites, event=table(std))
