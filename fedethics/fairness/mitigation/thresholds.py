r"""A threshold for each group from summed score histograms (Hardt et al. 2016, arXiv 1610.02413).

For every group the histogram gives the true and false positive rate at each bin edge. A linear
program picks, for each group, a mixture of thresholds that maximises accuracy over everyone while
no two groups' rates differ by more than the slack, as Hardt et al. section 3.2 do on convex hulls.
A mixture means that chance decides between two thresholds; the plan names both and the share.

This is post-processing of sums opened already: it costs no budget. It uses the group when a
decision is taken, which the charter must allow (`ethics.allowed-mitigation`) and some laws forbid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.layout import Tables
from fedethics.fairness.partition import MINIMUM_CELL, FloatArray, by_feature, suppressed_groups

_LEAST_SHARE = 1e-6
_Z = 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupThreshold:
    """How one group is decided: at each threshold with its share of chance; shares add up to 1."""

    group: str
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdPlan:
    """Thresholds for every group, and what the same sums say they do.

    Attributes:
        gap_before, gap_after: largest difference in the rates that the criterion names.
        accuracy_before, accuracy_after: over everyone.
        gap_noise: half width that noise alone gives the gap before, at 95 %.
    """

    feature: str
    groups: tuple[GroupThreshold, ...]
    gap_before: float
    gap_after: float
    accuracy_before: float
    accuracy_after: float
    gap_noise: float


def group_thresholds(
    tables: Tables,
    *,
    feature: str,
    criterion: Literal["equalized-odds", "equal-opportunity"] = "equalized-odds",
    slack: float = 0.01,
    minimum_cell: int = MINIMUM_CELL,
) -> ThresholdPlan:
    """Return thresholds that bring the groups' rates within `slack` of each other.

    Raises:
        FairnessError: the histogram is not crossed with `feature`; a group is withheld or has no
            positives or no negatives; or the noise of the sums is as large as the gap, so that
            thresholds would follow the noise. Nothing was changed.
    """
    partition = by_feature(tables, feature)
    hidden = suppressed_groups(partition, minimum_cell=minimum_cell)
    if hidden.any():
        names = ", ".join(partition.kept(hidden).groups)
        raise FairnessError(f"no thresholds by {feature}: too few records of {names}")
    labels = (0, 1) if criterion == "equalized-odds" else (1,)
    rates = _rates(partition.scores)
    people = np.maximum(partition.scores.sum(axis=2), 1.0)
    edges = partition.bin_edges
    current = int(np.abs(edges - tables.layout.threshold).argmin())
    before = rates[:, :, current]
    gap, noise = _gap(before, labels), _gap_noise(partition.histogram_variance, rates, people)
    if noise >= gap > 0 or (gap == 0 and noise > 0):
        raise FairnessError(
            f"no thresholds by {feature}: the gap is {gap:.3f} and noise alone moves it by "
            f"{noise:.3f}, so they would follow the noise. More records or a larger "
            "privacy.evaluation.epsilon would help; the model was left as it is"
        )
    mixture = _program(rates, people, labels, slack)
    after = np.einsum("gyt,gt->gy", rates, mixture)
    return ThresholdPlan(
        feature=feature,
        groups=tuple(
            _plan(name, edges, row) for name, row in zip(partition.groups, mixture, strict=True)
        ),
        gap_before=gap,
        gap_after=_gap(after, labels),
        accuracy_before=_accuracy(before, people),
        accuracy_after=_accuracy(after, people),
        gap_noise=noise,
    )


def _rates(histogram: FloatArray) -> FloatArray:
    """Return P(score >= edge | g, y), shape (G, 2, bins + 1), falling from 1 to 0."""
    from scipy.optimize import isotonic_regression  # here: it takes half a second to import

    groups, _, bins = histogram.shape
    result = np.empty((groups, 2, bins + 1))
    for group, label in np.ndindex(groups, 2):
        total = histogram[group, label].sum()
        if total <= 0:
            raise FairnessError("a group has no records of one label; its rates have no value")
        rising = np.concatenate([[0.0], np.cumsum(histogram[group, label]) / total])
        # Noise may make the sums fall; the nearest rising curve costs no budget.
        fitted = np.clip(isotonic_regression(rising).x, 0.0, 1.0)
        fitted[0], fitted[-1] = 0.0, 1.0
        result[group, label] = 1.0 - fitted
    return result


def _program(
    rates: FloatArray, people: FloatArray, labels: tuple[int, ...], slack: float
) -> FloatArray:
    """Return for each group a mixture over edges, shape (G, bins + 1)."""
    from scipy.optimize import linprog  # here: it takes half a second to import

    groups, _, edges = rates.shape
    # Right decisions: positives above the threshold, negatives below it.
    gain = people[:, 1, None] * rates[:, 1] - people[:, 0, None] * rates[:, 0]
    rows, limits = [], []
    for label in labels:
        for first, second in np.ndindex(groups, groups):
            if first != second:
                row = np.zeros((groups, edges))
                row[first], row[second] = rates[first, label], -rates[second, label]
                rows.append(row.ravel())
                limits.append(slack)
    whole = np.kron(np.eye(groups), np.ones(edges))
    found = linprog(
        -gain.ravel() / people.sum(),
        A_ub=np.array(rows),
        b_ub=np.array(limits),
        A_eq=whole,
        b_eq=np.ones(groups),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if not found.success:
        raise FairnessError(f"no thresholds satisfy the criterion: {found.message}")
    mixture: FloatArray = found.x.reshape(groups, edges)
    return mixture


def _plan(group: str, edges: FloatArray, mixture: FloatArray) -> GroupThreshold:
    used = np.flatnonzero(mixture > _LEAST_SHARE)
    shares = mixture[used] / mixture[used].sum()
    return GroupThreshold(
        group=group,
        thresholds=tuple(float(each) for each in edges[used]),
        shares=tuple(float(each) for each in shares),
    )


def _gap(rates: FloatArray, labels: tuple[int, ...]) -> float:
    return float(max(rates[:, label].max() - rates[:, label].min() for label in labels))


def _accuracy(rates: FloatArray, people: FloatArray) -> float:
    right = people[:, 1] * rates[:, 1] + people[:, 0] * (1.0 - rates[:, 0])
    return float(right.sum() / people.sum())


def _gap_noise(variance: float, rates: FloatArray, people: FloatArray) -> float:
    """Return the greatest half width that noise gives a difference of two groups' rates."""
    bins = rates.shape[2] - 1
    # A rate sums at most all bins of a class above, and as many below, over the class total.
    spread = np.sqrt(variance * bins / 4.0) / people
    worst = np.sort(spread, axis=0)[-2:]
    return float(_Z * np.sqrt((worst**2).sum(axis=0)).max())
