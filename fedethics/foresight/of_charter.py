"""What a charter's gate will be able to conclude of its objectives, from what is declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.errors import FairnessError
from fedethics.fairness.classes import Classes
from fedethics.fairness.layout import Layout
from fedethics.fairness.measured import TwoClasses
from fedethics.foresight.asked import Asked
from fedethics.foresight.chances import WHOLE, Effort
from fedethics.foresight.draws import TableNoise
from fedethics.foresight.forecast import Forecast, forecast, plain
from fedethics.foresight.of_labels import asked_of_labels, supposed_of_labels
from fedethics.foresight.of_measures import asked_of_measures, supposed_of_measures
from fedethics.foresight.of_pairs import asked_of_pairs, supposed_of_pairs
from fedethics.foresight.people import People
from fedethics.foresight.population import Population, population, population_of_classes
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
        classes: records of each class, where there are several; empty for as many of each.
    """

    records: int
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    base_rate: float | None = None
    base_rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    accuracy: float | None = None
    classes: tuple[int, ...] = ()


# What else has bars: each kind of sum, and what was supposed of its records.
_OTHERS: tuple[Callable[[Charter, People], Iterable[Asked]], ...] = (
    asked_of_labels,
    asked_of_measures,
    asked_of_pairs,
)
_SUPPOSED: tuple[Callable[[Charter], Iterable[str]], ...] = (
    supposed_of_labels,
    supposed_of_measures,
    supposed_of_pairs,
)


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
    layout, plan = plain(layout_of(charter)), make_plan(charter)
    held_out = People(charter=charter, records=declared.records, groups=declared.groups)
    others = [each for asked in _OTHERS for each in asked(charter, held_out)]
    found = forecast(
        [(title(stated), as_objective(stated)) for stated in charter.ethics.objectives],
        _population(layout, declared),
        noise=_noise(plan),
        noise_at=lambda epsilon: _noise(make_plan(_with_epsilon(charter, epsilon))),
        epsilon=charter.privacy.evaluation.epsilon,
        sites=plan.sites,
        accuracy=declared.accuracy,
        effort=effort,
        others=others,
    )
    more = [said for supposed in _SUPPOSED for said in supposed(charter)]
    return dataclasses.replace(found, supposed=(*found.supposed, *more))


def _population(layout: Layout, declared: Declared) -> Population:
    measured = layout.measured
    if isinstance(measured, Classes):
        if declared.base_rate is not None or declared.base_rates:
            raise FairnessError(
                "--base-rate is the share of positive labels, and this charter has several "
                "classes: give the records of each class with --classes N,N"
            )
        return population_of_classes(
            layout,
            records=declared.records,
            groups=declared.groups,
            names=measured.names,
            classes=declared.classes,
        )
    if declared.classes:
        raise FairnessError("--classes: this charter's labels are not of several classes")
    return population(
        layout,
        records=declared.records,
        groups=declared.groups,
        base_rate=declared.base_rate,
        base_rates=declared.base_rates,
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
    layout = layout_of(charter)
    sizes = {
        feature.name: tuple(map(int, np.bincount(groups[:, column], minlength=len(feature.groups))))
        for column, feature in enumerate(layout.features)
    }
    if isinstance(layout.measured, Classes):
        classes = np.bincount(labels, minlength=len(layout.measured.names))
        return Declared(records=len(labels), groups=sizes, classes=tuple(map(int, classes)))
    if not isinstance(layout.measured, TwoClasses):
        return Declared(records=len(labels), groups=sizes)
    rates = {}
    for column, feature in enumerate(layout.features):
        by_group = np.array(sizes[feature.name])
        positive = np.bincount(groups[:, column], weights=labels > 0, minlength=len(by_group))
        # One in two more of each keeps a group of few off 0 and 1, which no population has.
        rates[feature.name] = tuple(map(float, (positive + 0.5) / (by_group + 1.0)))
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
