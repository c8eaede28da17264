"""The arms of the comparison: other ways of learning, and how each is judged.

Each arm is run with each seed and judged on the held-out records of every site, exactly and
without noise, which only a simulation can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.model import Charter
from fedethics.data.records import Targets
from simulations.baselines import Bench, Fit
from simulations.gaps import pooled_gap

NO_DP = "federation, no DP"
ALONE_OWN = "alone, own patients"
ALONE_ALL = "alone, everyone's patients"
LOGISTIC = "logistic regression, pooled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """How one arm does with one seed.

    Attributes:
        roc_auc, accuracy: over the held-out records of all sites, threshold 0.5. Of several
            classes: the mean area of each class against all others, and the class with the
            highest score.
        worst_site_auc: the lowest AUC among sites whose held-out records have two labels.
        gap: the charter's first difference between groups; None where it has none.
    """

    roc_auc: float
    accuracy: float
    worst_site_auc: float
    gap: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the comparison: its name, what was done, and its epsilon if it has one."""

    name: str
    what: str
    epsilon: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One arm: the rows it yields, and a function of (bench, seed) that runs it."""

    rows: tuple[Row, ...]
    run: Callable[[Bench, int], tuple[Judged, ...]]
    seeded: bool = True


def arms(charter: Charter, epsilons: Sequence[float]) -> tuple[Arm, ...]:
    """Return every arm, the charter's own first among the private ones."""
    own = charter.privacy.training.epsilon
    tried = sorted({*epsilons, own}, reverse=True)
    return (
        *(_federated(epsilon, own) for epsilon in tried),
        _federated(None, own),
        Arm(
            rows=(
                Row(
                    name="pooled, no DP",
                    what="all records in one place, which is not allowed in practice",
                ),
            ),
            run=lambda bench, seed: (judge(bench.pool(bench.learner(seed), seed=seed), bench),),
        ),
        Arm(
            rows=(
                Row(
                    name=ALONE_OWN,
                    what="each site trains alone without DP and serves its own patients; pooled "
                    "AUC also rewards knowing each site's base rate",
                ),
                Row(
                    name=ALONE_ALL,
                    what="the same models, each serving the patients of all sites; mean over sites",
                ),
            ),
            run=_alone,
        ),
        Arm(
            rows=(
                Row(name=LOGISTIC, what="on the raw columns of all sites, no text, no DP"),
                Row(
                    name="logistic regression, own patients",
                    what="each site's own raw columns for its own patients, no DP",
                ),
            ),
            run=_logistic,
            seeded=False,
        ),
    )


def judge(fit: Fit, bench: Bench) -> Judged:
    """Judge one fit on the held-out records of every site."""
    labels = {site: split.held_out.labels for site, split in bench.records.items()}
    pooled_labels = np.concatenate(list(labels.values()))
    pooled_scores = np.concatenate([fit.scores[site] for site in labels])
    own = [_auc(labels[site], fit.scores[site]) for site in labels]
    return Judged(
        roc_auc=_auc(pooled_labels, pooled_scores),
        accuracy=float(np.mean(_decided(pooled_scores) == pooled_labels)),
        worst_site_auc=float(np.nanmin(own)),
        gap=pooled_gap(bench.charter, bench.records, fit.scores),
    )


def _federated(epsilon: float | None, own: float) -> Arm:
    if epsilon is None:
        row = Row(name=NO_DP, what="the same rounds and clipping without noise")
    else:
        what = "the charter's terms" if epsilon == own else "the same with another budget"
        row = Row(name=f"federation, epsilon {epsilon:g}", what=what, epsilon=epsilon)

    def run(bench: Bench, seed: int) -> tuple[Judged, ...]:
        sites = tuple(bench.records)
        fit = bench.federate(bench.learner(seed), sites=sites, epsilon=epsilon, seed=seed)
        return (judge(fit, bench),)

    return Arm(rows=(row,), run=run)


def _alone(bench: Bench, seed: int) -> tuple[Judged, ...]:
    learner = bench.learner(seed)
    fits = {
        site: bench.federate(learner, sites=[site], epsilon=None, seed=seed)
        for site in bench.records
    }
    return _own(fits, bench), _mean([judge(fit, bench) for fit in fits.values()])


def _logistic(bench: Bench, _seed: int) -> tuple[Judged, ...]:
    fits = {site: bench.logistic([site]) for site in bench.records}
    return judge(bench.logistic(tuple(bench.records)), bench), _own(fits, bench)


def _own(fits: Mapping[str, Fit], bench: Bench) -> Judged:
    return judge(Fit(scores={site: fit.scores[site] for site, fit in fits.items()}), bench)


def _mean(judged: Sequence[Judged]) -> Judged:
    gaps = [one.gap for one in judged if one.gap is not None]
    return Judged(
        roc_auc=float(np.mean([one.roc_auc for one in judged])),
        accuracy=float(np.mean([one.accuracy for one in judged])),
        worst_site_auc=float(np.mean([one.worst_site_auc for one in judged])),
        gap=float(np.mean(gaps)) if len(gaps) == len(judged) else None,
    )


def _decided(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    if scores.ndim == 1:
        return (scores >= 0.5).astype(np.intp)
    chosen: NDArray[np.intp] = scores.argmax(axis=1)
    return chosen


def _auc(labels: Targets, scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")  # one label only: no ranking to judge
    if scores.ndim == 1:
        return float(roc_auc_score(labels, scores))
    return float(np.mean([roc_auc_score(labels == k, scores[:, k]) for k in present]))
