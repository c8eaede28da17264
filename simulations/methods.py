"""Ways to close a gap between groups, each trained and judged alike, with what it costs.

Judged on all held-out records of every site, exactly and without noise, which only a simulation can
do. Thresholds are fitted on one half of the held-out records and judged on the other, both ways
round, so that they are not judged on what they were fitted to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.ethics_terms import MitigationTerms, Objective
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.errors import FairnessError, RunError
from fedethics.fairness import Tables, tabulate
from fedethics.fairness.explained import NOTHING_EXPLAINED
from fedethics.fairness.mitigation import ThresholdPlan, group_thresholds
from fedethics.privacy.noise import NoiseSource
from fedethics.steering import steered_groups
from simulations.arms import judge
from simulations.baselines import Bench, Fit
from simulations.gaps import chosen_gap, pooled_gap
from simulations.site_rules import AgnosticAveraging, QFedAvg, SiteRule

Decisions = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How one method does with one seed.

    Attributes:
        accuracy, gap: of its decisions; the gap is the objective's.
        roc_auc: of its scores, before any threshold.
        note: why it fell back to the plain threshold, if it did.
    """

    roc_auc: float
    accuracy: float
    gap: float
    note: str = ""


def training_methods(feature: str, terms: MitigationTerms) -> dict[str, MitigationTerms]:
    """Return the methods that change the training, by name."""
    steered = {
        name: dataclasses.replace(terms, method=name, feature=feature)
        for name in ("reweighing", "dual-ascent", "group-dro")
    }
    return {"none": MitigationTerms(), **steered}


SITE_RULES: dict[str, Callable[[], SiteRule]] = {"q-fedavg": QFedAvg, "afl": AgnosticAveraging}
THRESHOLDS = "thresholds"
METHODS = ("none", "reweighing", "dual-ascent", "group-dro", THRESHOLDS, *SITE_RULES)
WHAT = {
    "none": "the charter's training as it is",
    "reweighing": "group and label made independent by weights, once (Kamiran and Calders)",
    "dual-ascent": "weights of groups with more errors grow from round to round (equalized odds)",
    "group-dro": "weights of the group with most errors grow exponentially",
    THRESHOLDS: "plain training, then a threshold for each group (Hardt et al.); uses the group "
    "at decision time",
    "q-fedavg": "sites with a higher loss count more; reads each site's loss (baseline)",
    "afl": "as q-FedAvg, growing from round to round (baseline)",
}


def gap_objective(charter: Charter) -> Objective:
    """Return the objective whose gap the methods are compared by.

    Raises:
        RunError: the charter has no objective about a difference between groups.
    """
    objective = chosen_gap(charter)
    if objective is None:
        raise RunError(
            "the charter has no objective about a difference between groups, so there is no gap "
            "to compare methods by; nothing was started"
        )
    return objective


def run_method(
    bench: Bench, name: str, *, seed: int, private: bool, terms: MitigationTerms
) -> Judgement:
    """Train by one method and judge it.

    Args:
        bench: records and charter.
        name: one of `METHODS`.
        seed: of the adapter's start, sampling and noise.
        private: at the charter's epsilon, or without DP.
        terms: step, bounds and budget of the weights.
    """
    charter, objective = bench.charter, gap_objective(bench.charter)
    methods = training_methods(objective.feature, terms)
    steered = dataclasses.replace(charter, mitigation=methods.get(name, MitigationTerms()))
    changed = dataclasses.replace(bench, charter=steered)
    rule = SITE_RULES[name]() if name in SITE_RULES else None
    fit = changed.federate(
        changed.learner(seed),
        sites=tuple(bench.records),
        epsilon=charter.privacy.training.epsilon if private else None,
        seed=seed,
        rule=rule,
    )
    plain = judge(fit, bench)
    if name != THRESHOLDS:
        return Judgement(
            roc_auc=plain.roc_auc, accuracy=plain.accuracy, gap=_gap(bench, fit.scores)
        )
    decisions, note = _by_thresholds(bench, fit, objective, seed=seed, private=private)
    return Judgement(
        roc_auc=plain.roc_auc,
        accuracy=_accuracy(bench, decisions),
        gap=_gap(bench, decisions),
        note=note,
    )


def _by_thresholds(
    bench: Bench, fit: Fit, objective: Objective, *, seed: int, private: bool
) -> tuple[Decisions, str]:
    """Return 0 or 1 for every held-out record, each decided by the other half's thresholds."""
    halves = {
        site: np.array([digest[0] % 2 for digest in split.held_out.row_hashes])
        for site, split in bench.records.items()
    }
    threshold = bench.charter.privacy.evaluation.threshold
    decisions = {site: (scores >= threshold).astype(float) for site, scores in fit.scores.items()}
    rng, note = np.random.default_rng(seed), ""
    by_feature = MitigationTerms(method="dual-ascent", feature=objective.feature)
    steered = dataclasses.replace(bench.charter, mitigation=by_feature)
    for fitted in (0, 1):
        chosen = {site: half == fitted for site, half in halves.items()}
        try:
            plan = group_thresholds(
                _tables(bench, fit, chosen, seed=seed, private=private), feature=objective.feature
            )
        except FairnessError as error:
            note = str(error)
            continue
        for site, split in bench.records.items():
            judged = ~chosen[site]
            cut = _cuts(plan, steered_groups(steered, split.held_out.groups), rng)
            decisions[site][judged] = (fit.scores[site] >= cut)[judged]
    return decisions, note


def _cuts(
    plan: ThresholdPlan, groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    cuts = np.empty(len(groups))
    for index, group in enumerate(plan.groups):
        own = groups == index
        cuts[own] = rng.choice(group.thresholds, size=int(own.sum()), p=group.shares)
    return cuts


def _tables(
    bench: Bench,
    fit: Fit,
    chosen: Mapping[str, NDArray[np.bool_]],
    *,
    seed: int,
    private: bool,
) -> Tables:
    """Return the fairness tables of the chosen records, with the noise of the charter's plan."""
    charter = bench.charter
    plan = bench.plan(charter.privacy.training.epsilon)
    # Thresholds are compared by their decisions; nothing is explained here.
    layout = dataclasses.replace(layout_of(charter), explained=NOTHING_EXPLAINED)
    total = np.zeros(layout.length, dtype=np.int64)
    for site, split in bench.records.items():
        part, mask = split.held_out, chosen[site]
        total += tabulate(
            layout,
            groups=part.groups[mask],
            labels=part.labels[mask],
            scores=fit.scores[site][mask],
        )
    variances = [plan.fairness.counts.sum_variance, plan.fairness.histogram.sum_variance]
    if not private or plan.count_mechanism is None:
        variances = [0.0, 0.0]
    else:
        source = NoiseSource.fixed(f"{seed}/thresholds".encode())
        lengths = (layout.counts_length, layout.histogram_length)
        total += np.concatenate(
            [
                plan.count_mechanism.draw(source, variance=variance, size=length)
                for variance, length in zip(variances, lengths, strict=True)
            ]
        )
    return Tables.from_vector(
        total,
        layout=layout,
        counts_variance=variances[0],
        histogram_variance=variances[1],
        sites=len(bench.records),
    )


def _gap(bench: Bench, scores: Decisions) -> float:
    gap = pooled_gap(bench.charter, bench.records, scores)
    return float("nan") if gap is None else gap


def _accuracy(bench: Bench, decisions: Decisions) -> float:
    right = [decisions[site] == split.held_out.labels for site, split in bench.records.items()]
    return float(np.concatenate(right).mean())
