"""The sums that a charter opens: their names, lengths, word sizes and bounds.

Coordinator and sites compute this from the charter by themselves; each OPEN message binds its task
by hash, so a coordinator that would widen a bound or open another vector is refused.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from fedethics.charter.ethics_terms import STEPS
from fedethics.charter.model import Charter
from fedethics.fairness.explained import Explained
from fedethics.fairness.layout import INTERSECTION, Layout, SensitiveFeature
from fedethics.learning_tasks import find_task
from fedethics.privacy import wide_gaussian
from fedethics.privacy.gaussian_shares import NORM_STEPS, share_std
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.secagg import SecaggTerms, TaskSpec

Kind = Literal["update", "progress", "fairness", "steering", "audit"]
UPDATE: Final = "update"
PROGRESS: Final = "progress"
FAIRNESS: Final = "fairness"
STEERING: Final = "steering"
AUDIT: Final = "audit"

# A site's count plus its noise stays far below this; 64-bit words carry 2**23 sites of it.
_COUNT_BOUND = 2**40


def task_specs(charter: Charter, *, vector_length: int) -> dict[str, TaskSpec]:
    """Return the tasks of `charter`, by name.

    Args:
        charter: the agreed terms.
        vector_length: number of trainable parameters that the adapter has.
    """
    layout = layout_of(charter)
    terms = charter.secagg
    steered, audit = charter.mitigation.method != "none", charter.privacy.audit
    return {
        UPDATE: TaskSpec(
            name=UPDATE,
            length=vector_length,
            word_bits=terms.word_bits,
            bound=_update_bound(charter),
            whole_cohort=False,
        ),
        PROGRESS: _count_task(PROGRESS, layout.progress_length),
        FAIRNESS: _count_task(FAIRNESS, layout.length),
        **({STEERING: _count_task(STEERING, 4 * steering_groups(charter))} if steered else {}),
        **({AUDIT: _count_task(AUDIT, 2 * audit.bins)} if audit.asked else {}),
    }


def layout_of(charter: Charter) -> Layout:
    """Return the layout of the charter's fairness tables."""
    evaluation, explanation = charter.privacy.evaluation, charter.ethics.explanation
    features = {
        feature.name: SensitiveFeature(name=feature.name, groups=feature.groups)
        for feature in charter.data.sensitive
    }
    return Layout(
        features=tuple(features.values()),
        bins=evaluation.bins,
        threshold=evaluation.threshold,
        histogram_by=evaluation.histogram_by,
        explained=Explained(
            columns=explanation.occluded(charter.data),
            by=features.get(explanation.by),
            swaps=tuple(features[name] for name in explanation.swap),
            largest_change=explanation.largest_change,
            steps=STEPS,
        ),
        measured=find_task(charter.model.task).measured(charter.data.label),
    )


def steering_groups(charter: Charter) -> int:
    """Return the number of groups of the feature or intersection that training is steered by."""
    layout = layout_of(charter)
    names = charter.mitigation.feature.split(INTERSECTION)
    return math.prod(len(layout.feature(name).groups) for name in names)


def secagg_terms(charter: Charter, *, charter_hash: str) -> SecaggTerms:
    """Return what the secure aggregation needs of `charter`."""
    return SecaggTerms(
        charter_hash=charter_hash,
        roster={member.site: member.public_key for member in charter.roster},
        coordinator_key=charter.coordinator_key,
        minimum_cohort=charter.secagg.minimum_cohort,
        colluders=charter.secagg.colluders,
        mode=charter.secagg.mode,
        suite=charter.secagg.suite,
        recovery=charter.secagg.recovery,
        epoch_lifetime_s=charter.secagg.epoch_lifetime_s,
        charter_name=charter.charter.name,
        charter_version=charter.charter.version,
    )


def site_weight(charter: Charter, site: str) -> float:
    """Return the site's share of all declared records: a public number, not a count of records."""
    total = sum(member.declared_records for member in charter.roster)
    member = charter.member(site)
    return member.declared_records / total if member else 0.0


def sum_limit(charter: Charter) -> int:
    """Return, in grid steps, what a coordinate of a site's gradient sum is cut to (distributed)."""
    return math.ceil(charter.secagg.clip * NORM_STEPS / charter.privacy.training.clipping_norm)


def gradient_share_std(plan: PrivacyPlan) -> float:
    """Return the parameter of one site's noise on its gradient sum, in grid steps (distributed)."""
    return share_std((plan.noise_multiplier or 0.0) * NORM_STEPS, shares=plan.training_shares)


def _update_bound(charter: Charter) -> int:
    if charter.privacy.training.trust_mode == "local":
        return math.ceil(charter.secagg.clip * charter.secagg.scale) + 1
    return sum_limit(charter) + wide_gaussian.reach(gradient_share_std(make_plan(charter)))


def _count_task(name: str, length: int) -> TaskSpec:
    # Static data: two sums that differ by one site would show that site's table, so count tasks
    # open with the whole cohort or not at all.
    return TaskSpec(name=name, length=length, word_bits=64, bound=_COUNT_BOUND, whole_cohort=True)
