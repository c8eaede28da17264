"""What a charter says of its sums: the layout of tables, the terms of secure aggregation, weights.

Coordinator and sites compute this from the charter by themselves. The kinds of sums are the objects
of `fedethics.aggregates`; their names, as stored, are here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from fedethics.charter.ethics_terms import STEPS
from fedethics.charter.model import Charter
from fedethics.fairness.explained import Explained
from fedethics.fairness.layout import INTERSECTION, Layout, SensitiveFeature
from fedethics.identical import Same
from fedethics.learning_tasks import find_task
from fedethics.secagg import SecaggTerms

UPDATE: Final = "update"
PROGRESS: Final = "progress"
FAIRNESS: Final = "fairness"
STEERING: Final = "steering"
AUDIT: Final = "audit"


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
        finest_at=evaluation.finest_at,
        threshold=evaluation.threshold,
        histogram_by=evaluation.histogram_by,
        counted_by=_counted_by(charter) if evaluation.tables == "nested" else None,
        nested=evaluation.tables == "nested",
        explained=Explained(
            columns=explanation.occluded(charter.data),
            by=features.get(explanation.by),
            swaps=tuple(features[name] for name in explanation.swap),
            largest_change=explanation.largest_change,
            steps=STEPS,
        ),
        measured=find_task(charter.model.task).measured(charter.data.labels),
    )


def _counted_by(charter: Charter) -> tuple[tuple[str, ...], ...]:
    """Return the features of each count block: those that an objective joins, and each other alone.

    Each block costs noise, so that one which another holds as a sum of its cells is left out.
    Without sensitive features there is one block, over everyone.
    """
    names = [feature.name for feature in charter.data.sensitive]
    asked = [each.feature.split(INTERSECTION) for each in charter.ethics.objectives if each.feature]
    sets = {frozenset(one) for one in (*asked, *([name] for name in names))}
    largest = (one for one in sets if not any(one < other for other in sets))
    ordered = (tuple(name for name in names if name in one) for one in largest)
    found = sorted(ordered, key=lambda block: [names.index(name) for name in block])
    return tuple(found) or ((),)


def steering_groups(charter: Charter) -> int:
    """Return the number of groups of the feature or intersection that training is steered by."""
    layout = layout_of(charter)
    names = charter.mitigation.feature.split(INTERSECTION)
    return math.prod(len(layout.feature(name).groups) for name in names)


def secagg_terms(charter: Charter, *, charter_hash: str) -> SecaggTerms:
    """Return what the secure aggregation needs of `charter`; worked out once for each object."""
    return _secagg_terms(Same(charter), charter_hash)


@lru_cache(maxsize=32)
def _secagg_terms(same: Same[Charter], charter_hash: str) -> SecaggTerms:
    charter = same.value
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
        draws_cohorts=charter.training.sites_per_round is not None,
        charter_name=charter.charter.name,
        charter_version=charter.charter.version,
    )


def site_weight(charter: Charter, site: str) -> float:
    """Return the site's share of all declared records: a public number, not a count of records."""
    total = sum(member.declared_records for member in charter.roster)
    member = charter.member(site)
    return member.declared_records / total if member else 0.0
