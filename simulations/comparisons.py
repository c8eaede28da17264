"""Run what the report shows beside the federation, and say in words what it teaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.model import Charter
from fedethics.data.split import Split
from fedethics.release.comparisons import Comparison, Comparisons
from simulations.baselines import Bench, Fit
from simulations.lessons import lessons
from simulations.scenario import ComparisonSetup

Tick = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """How one fit does on held-out records, without noise: pooled, and where it does worst."""

    roc_auc: float
    accuracy: float
    worst_site_auc: float


def compare(
    charter: Charter, records: dict[str, Split], setup: ComparisonSetup, *, tick: Tick
) -> Comparisons:
    """Run every comparison with every seed.

    Args:
        charter: the terms, with their roster.
        records: site -> its records, on the same split as the federation's.
        setup: seeds and further epsilons.
        tick: called with a name after each fit, for the progress bar.
    """
    bench = Bench(charter, records)
    rows = list(_rows(bench, charter, setup, tick))
    return Comparisons(rows=tuple(rows), notes=tuple(lessons(rows, charter, records)))


def count_fits(charter: Charter, setup: ComparisonSetup) -> int:
    """Return how often `tick` will be called."""
    ways = len(_epsilons(charter, setup)) + 2
    return (
        len(setup.seeds) * ways + len(setup.seeds) * len(charter.roster) + 1 + len(charter.roster)
    )


def _rows(
    bench: Bench, charter: Charter, setup: ComparisonSetup, tick: Tick
) -> Iterator[Comparison]:
    sites = charter.site_names

    def federated(epsilon: float | None) -> Callable[[int], Sequence[Fit]]:
        return lambda seed: [
            bench.federate(bench.learner(seed), sites=sites, epsilon=epsilon, seed=seed)
        ]

    for epsilon in _epsilons(charter, setup):
        yield _seeded(
            bench, setup, tick,
            name=f"federation, epsilon {epsilon:g}",
            what="as released: DP-SGD at each site, sums only"
            if epsilon == charter.privacy.training.epsilon
            else "the same with another privacy budget",
            epsilon=epsilon,
            fit=federated(epsilon),
        )  # fmt: skip
    yield _seeded(
        bench, setup, tick,
        name="federation, no DP",
        what="the same rounds and clipping without noise: what privacy costs",
        epsilon=None,
        fit=federated(None),
    )  # fmt: skip
    yield _seeded(
        bench, setup, tick,
        name="pooled, no DP",
        what="all records in one place: what the federation may not do",
        epsilon=None,
        fit=lambda seed: [bench.pool(bench.learner(seed), seed=seed)],
    )  # fmt: skip
    yield _seeded(
        bench, setup, tick,
        name="each site alone, no DP",
        what="mean over the sites' own models, each judged on the held-out records of all",
        epsilon=None,
        fit=lambda seed: [
            bench.federate(bench.learner(seed), sites=[site], epsilon=None, seed=seed)
            for site in sites
        ],
    )  # fmt: skip
    yield _unseeded(
        bench, tick, "logistic regression, pooled",
        "on the raw columns of all sites, no text, no DP", [bench.logistic(sites)],
    )  # fmt: skip
    yield _unseeded(
        bench, tick, "logistic regression, alone",
        "mean over the sites, each on its own raw columns, no DP",
        [bench.logistic([site]) for site in sites],
    )  # fmt: skip


def _epsilons(charter: Charter, setup: ComparisonSetup) -> list[float]:
    return sorted({*setup.epsilons, charter.privacy.training.epsilon}, reverse=True)


def _seeded(
    bench: Bench,
    setup: ComparisonSetup,
    tick: Tick,
    *,
    name: str,
    what: str,
    epsilon: float | None,
    fit: Callable[[int], Sequence[Fit]],
) -> Comparison:
    judged: list[Judged] = []
    for seed in setup.seeds:
        fits = fit(seed)
        judged.append(_mean([judge(one, bench.records) for one in fits]))
        for _ in fits:
            tick(name)
    return _row(name, what, epsilon, setup.seeds, judged)


def _unseeded(bench: Bench, tick: Tick, name: str, what: str, fits: Sequence[Fit]) -> Comparison:
    judged = _mean([judge(one, bench.records) for one in fits])
    for _ in fits:
        tick(name)
    return _row(name, what, None, (0,), [judged])


def _row(
    name: str, what: str, epsilon: float | None, seeds: tuple[int, ...], judged: list[Judged]
) -> Comparison:
    return Comparison(
        name=name,
        what=what,
        epsilon=epsilon,
        seeds=seeds,
        roc_auc=tuple(one.roc_auc for one in judged),
        accuracy=tuple(one.accuracy for one in judged),
        worst_site_auc=tuple(one.worst_site_auc for one in judged),
    )


def judge(fit: Fit, records: Mapping[str, Split]) -> Judged:
    """Judge one fit on the held-out records of every site, exactly, at threshold 0.5."""
    labels = {site: split.held_out.labels for site, split in records.items()}
    pooled_labels = np.concatenate(list(labels.values()))
    pooled_scores = np.concatenate([fit.scores[site] for site in labels])
    own = [_auc(labels[site], fit.scores[site]) for site in labels]
    return Judged(
        roc_auc=_auc(pooled_labels, pooled_scores),
        accuracy=float(np.mean((pooled_scores >= 0.5) == pooled_labels)),
        worst_site_auc=float(np.nanmin(own)),
    )


def _auc(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(roc_auc_score(labels, scores))


def _mean(judged: Sequence[Judged]) -> Judged:
    return Judged(
        roc_auc=float(np.mean([one.roc_auc for one in judged])),
        accuracy=float(np.mean([one.accuracy for one in judged])),
        worst_site_auc=float(np.mean([one.worst_site_auc for one in judged])),
    )
