"""The public privacy facts of a run, recomputed from the charter alone.

The coordinator writes them with `plan_facts`; the gate calls it again and compares, so that a
coordinator who states less noise, and so narrower intervals, is found out.
"""

from __future__ import annotations

import math

from fedethics.charter.model import Charter
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.release.evidence import Plan


def plan_facts(charter: Charter) -> Plan:
    """Return the plan that every site computes for itself, as evidence holds it.

    Raises:
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    plan = make_plan(charter)
    privacy = charter.privacy
    return Plan(
        unit=privacy.unit,
        neighbouring=privacy.neighbouring,
        delta=privacy.delta,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=privacy.training.sampling_rate,
        steps=charter.training.rounds * charter.training.local_steps,
        training_epsilon=_finite(plan.training_epsilon),
        evaluation_epsilon=_finite(plan.evaluation_epsilon),
        counts_std=_sum_std(plan, plan.counts_std),
        histogram_std=_sum_std(plan, plan.histogram_std),
        progress_std=_sum_std(plan, plan.progress_std),
        effects_std=_sum_std(plan, plan.effects_std),
        flips_std=_sum_std(plan, plan.flips_std),
        training_trust_mode=privacy.training.trust_mode,
        evaluation_trust_mode=privacy.evaluation.trust_mode,
    )


def _sum_std(plan: PrivacyPlan, std: float) -> float:
    return math.sqrt(plan.sum_variance(std))


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None
