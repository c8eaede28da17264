"""What the comparisons teach, in sentences that follow from their numbers and flatter nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fedethics.charter.model import Charter
from fedethics.data.split import Split
from fedethics.release.comparisons import Comparison

# Differences of AUC below this are not worth a claim on a few hundred held-out records.
_NOTICEABLE = 0.01


def lessons(
    rows: Sequence[Comparison], charter: Charter, records: dict[str, Split]
) -> Iterator[str]:
    """Yield one sentence for each question a reader will ask."""
    by_name = {row.name: row for row in rows}
    private = sorted(
        (row for row in rows if row.epsilon is not None), key=lambda row: row.epsilon or 0.0
    )
    alone = _mean(by_name["each site alone, no DP"])
    yield _cost(by_name["federation, no DP"], private, charter, records)
    yield _usefulness(private, alone)
    yield _simple(by_name["logistic regression, pooled"], private, charter)
    yield (
        "These comparisons hold all records in one process, which the federation itself never "
        "does; the held-out split is the same for all, and each figure is without noise."
    )


def _cost(
    free: Comparison, private: Sequence[Comparison], charter: Charter, records: dict[str, Split]
) -> str:
    own = next(row for row in private if row.epsilon == charter.privacy.training.epsilon)
    cost = _mean(free) - _mean(own)
    sizes = ", ".join(f"{site} {len(split.train)}" for site, split in records.items())
    size = (
        f"costs {cost:.3f} AUC" if cost >= _NOTICEABLE else f"costs no noticeable AUC ({cost:+.3f})"
    )
    return (
        f"Privacy at epsilon {own.epsilon:g} {size} against the same federation without it. Noise "
        "is added once for each site, so its weight falls with the number of training records: "
        f"{sizes}."
    )


def _usefulness(private: Sequence[Comparison], alone: float) -> str:
    useful = [row for row in private if _mean(row) > alone + _NOTICEABLE]
    if not useful:
        return (
            f"At no epsilon tried does the private federation beat what a site reaches alone "
            f"without privacy (mean AUC {alone:.3f}): at these sizes it is not worth joining."
        )
    least = useful[0]
    lower = [row for row in private if (row.epsilon or 0.0) < (least.epsilon or 0.0)]
    below = (
        f"at epsilon {lower[-1].epsilon:g} it no longer does (AUC {_mean(lower[-1]):.3f})"
        if lower
        else "it was still so at the smallest epsilon tried"
    )
    return (
        f"It stops being useful below epsilon {least.epsilon:g}: there the federation still beats "
        f"a site alone without privacy (AUC {_mean(least):.3f} against {alone:.3f}); {below}."
    )


def _simple(simple: Comparison, private: Sequence[Comparison], charter: Charter) -> str:
    own = next(row for row in private if row.epsilon == charter.privacy.training.epsilon)
    gap = _mean(simple) - _mean(own)
    verdict = "as good as or better than" if gap > -_NOTICEABLE else "worse than"
    return (
        f"Plain logistic regression on the pooled raw columns (AUC {_mean(simple):.3f}) is "
        f"{verdict} the adapter here ({_mean(own):.3f}): on columns turned into text a language "
        "model has nothing to add, and this data set is here because its four hospitals are real."
    )


def _mean(row: Comparison) -> float:
    return float(np.mean(row.roc_auc))
