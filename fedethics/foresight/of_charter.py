"""What a charter's gate will be able to conclude of its objectives, from what is declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.foresight.draws import TableNoise
from fedethics.foresight.forecast import WHOLE, Effort, Forecast, forecast, plain
from fedethics.foresight.population import population
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.release.rules.objectives import as_objective, title

if TYPE_CHECKING:
    from fedethics.data.records import Records


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """What is known of the held-out records before the run.

    Attributes:
        records: of all sites together.
        groups: by feature, the records of each group in declared order; equal where not given.
        base_rate: share of positive labels over everyone.
        base_rates: by feature, in each group.
        accuracy: share that the model is expected to get right; above 0.5.
    """

    records: int
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    base_rate: float | None = None
    base_rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    accuracy: float | None = None


def foresee(charter: Charter, declared: Declared, *, effort: Effort = WHOLE) -> Forecast:
    """Foresee the verdicts on a charter's objectives; no record is read.

    Args:
        charter: the terms.
        declared: the held-out records.
        effort: how much is drawn.

    Raises:
        FairnessError: what is declared does not fit the charter, or its tables cannot be drawn.
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    layout = plain(layout_of(charter))
    plan = make_plan(charter)
    people = population(
        layout,
        records=declared.records,
        groups=declared.groups,
        base_rate=declared.base_rate,
        base_rates=declared.base_rates,
    )
    return forecast(
        [(title(stated), as_objective(stated)) for stated in charter.ethics.objectives],
        people,
        noise=_noise(plan),
        noise_at=lambda epsilon: _noise(make_plan(_with_epsilon(charter, epsilon))),
        epsilon=charter.privacy.evaluation.epsilon,
        sites=plan.sites,
        accuracy=declared.accuracy,
        effort=effort,
    )


def counted(charter: Charter, parts: Iterable[Records]) -> Declared:
    """Return what the sites' held-out records are, exactly, where one machine has them all.

    Args:
        charter: the terms.
        parts: of each site.
    """
    held = list(parts)
    groups = np.concatenate([part.groups for part in held])
    labels = np.concatenate([part.labels for part in held])
    sizes, rates = {}, {}
    for column, feature in enumerate(layout_of(charter).features):
        count = len(feature.groups)
        by_group = np.bincount(groups[:, column], minlength=count)
        positive = np.bincount(groups[:, column], weights=labels > 0, minlength=count)
        # One in two more of each keeps a group of few off 0 and 1, which no population has.
        shares = (positive + 0.5) / (by_group + 1.0)
        sizes[feature.name] = tuple(map(int, by_group))
        rates[feature.name] = tuple(map(float, shares))
    return Declared(records=len(labels), groups=sizes, base_rates=rates)


def expected_held_out(charter: Charter) -> int:
    """Return about how many records the roster's sites hold out, from the sizes they declare."""
    training = sum(member.declared_records for member in charter.roster)
    held_out = charter.data.holdout_fraction
    return round(training * held_out / (1.0 - held_out))


def _noise(plan: PrivacyPlan) -> TableNoise:
    return TableNoise(
        counts=plan.fairness.counts.sum_variance, histogram=plan.fairness.histogram.sum_variance
    )


def _with_epsilon(charter: Charter, epsilon: float) -> Charter:
    evaluation = dataclasses.replace(charter.privacy.evaluation, epsilon=epsilon)
    privacy = dataclasses.replace(charter.privacy, evaluation=evaluation)
    return dataclasses.replace(charter, privacy=privacy)
