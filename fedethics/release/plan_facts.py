"""The public privacy facts of a run, recomputed from the charter alone.

The coordinator writes them with `plan_facts`; the gate calls it again and compares, so that a
coordinator who states less noise, and so narrower intervals, is found out.
"""

from __future__ import annotations

import math

from fedethics.charter.cohorts import most_rounds
from fedethics.charter.model import Charter
from fedethics.privacy.plan import make_plan
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
        noise_multiplier=plan.update.noise_multiplier,
        sampling_rate=privacy.training.sampling_rate,
        steps=most_rounds(charter) * charter.training.local_steps,
        training_epsilon=_finite(plan.training.epsilon),
        evaluation_epsilon=_finite(plan.evaluation.epsilon),
        counts_std=plan.fairness.counts.sum_std,
        histogram_std=plan.fairness.histogram.sum_std,
        progress_std=plan.progress.noise.sum_std,
        effects_std=plan.fairness.effects.sum_std,
        flips_std=plan.fairness.flips.sum_std,
        training_trust_mode=privacy.training.trust_mode,
        evaluation_trust_mode=privacy.evaluation.trust_mode,
    )


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None
