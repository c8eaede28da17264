"""The sums that a charter opens: their names, lengths, word sizes and bounds.

Coordinator and sites compute this from the charter by themselves; each OPEN message binds its task
by hash, so a coordinator that would widen a bound or open another vector is refused.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from fedethics.charter.model import Charter
from fedethics.fairness.layout import Layout, SensitiveFeature
from fedethics.secagg import SecaggTerms, TaskSpec

Kind = Literal["update", "progress", "fairness"]
UPDATE: Final = "update"
PROGRESS: Final = "progress"
FAIRNESS: Final = "fairness"

# A site's count plus its noise stays far below this; 64-bit words carry 2**23 sites of it.
_COUNT_BOUND = 2**40


def task_specs(charter: Charter, *, vector_length: int) -> dict[str, TaskSpec]:
    """Return the three tasks of `charter`, by name.

    Args:
        charter: the agreed terms.
        vector_length: number of trainable parameters that the adapter has.
    """
    layout = layout_of(charter)
    terms = charter.secagg
    return {
        UPDATE: TaskSpec(
            name=UPDATE,
            length=vector_length,
            word_bits=terms.word_bits,
            bound=math.ceil(terms.clip * terms.scale) + 1,
            whole_cohort=False,
        ),
        PROGRESS: _count_task(PROGRESS, layout.progress_length),
        FAIRNESS: _count_task(FAIRNESS, layout.length),
    }


def layout_of(charter: Charter) -> Layout:
    """Return the layout of the charter's fairness tables."""
    evaluation = charter.privacy.evaluation
    return Layout(
        features=tuple(
            SensitiveFeature(name=feature.name, groups=feature.groups)
            for feature in charter.data.sensitive
        ),
        bins=evaluation.bins,
        threshold=evaluation.threshold,
        histogram_by=evaluation.histogram_by,
    )


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
    )


def site_weight(charter: Charter, site: str) -> float:
    """Return the site's share of all declared records: a public number, not a count of records."""
    total = sum(member.declared_records for member in charter.roster)
    member = charter.member(site)
    return member.declared_records / total if member else 0.0


def _count_task(name: str, length: int) -> TaskSpec:
    # Static data: two sums that differ by one site would show that site's table, so count tasks
    # open with the whole cohort or not at all.
    return TaskSpec(name=name, length=length, word_bits=64, bound=_COUNT_BOUND, whole_cohort=True)
