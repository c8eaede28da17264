"""What the comparisons teach, in sentences that follow from their numbers and flatter nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedethics.charter.model import Charter
from fedethics.data.split import Split
from fedethics.release.comparisons import Comparison
from simulations.ways import ALONE_ALL, ALONE_OWN, LOGISTIC, NO_DP

# Differences of AUC below this are not worth a claim on a few hundred held-out records.
_NOTICEABLE = 0.02


def lessons(
    rows: Sequence[Comparison], charter: Charter, records: Mapping[str, Split]
) -> Iterator[str]:
    """Yield one sentence for each question a reader will ask."""
    by_name = {row.name: row for row in rows}
    private = sorted(
        (row for row in rows if row.epsilon is not None), key=lambda row: row.epsilon or 0.0
    )
    own = next(row for row in private if row.epsilon == charter.privacy.training.epsilon)
    yield _cost(by_name[NO_DP], own, records)
    yield _against_alone(own, by_name[ALONE_OWN], by_name[ALONE_ALL], records)
    yield _usefulness(private, _auc(by_name[ALONE_ALL]))
    yield _against_columns(by_name[LOGISTIC], own)
    yield (
        "These comparisons hold all records in one process, which the federation never does. The "
        "held-out records are the same for all and the figures carry no noise; the seeds vary the "
        "adapter's start, the batches and the noise, not the split. The charter's learning rate, "
        "rounds and clipping were chosen on the training side of this public data set; no epsilon "
        "here covers that choice."
    )


def _cost(free: Comparison, own: Comparison, records: Mapping[str, Split]) -> str:
    cost = _auc(free) - _auc(own)
    size = (
        f"costs {cost:.3f} AUC"
        if cost >= _NOTICEABLE
        else f"costs too little AUC to tell from chance here ({cost:+.3f})"
    )
    sizes = ", ".join(f"{site} {len(split.train)}" for site, split in records.items())
    return (
        f"Privacy at epsilon {own.epsilon:g} {size} against the same federation without noise. "
        "Each site adds its noise once a step, so it weighs more the fewer its training records: "
        f"{sizes}."
    )


def _against_alone(
    own: Comparison, own_patients: Comparison, everyone: Comparison, records: Mapping[str, Split]
) -> str:
    rates = ", ".join(
        f"{site} {100 * float(np.mean(split.train.labels)):.0f} %"
        for site, split in records.items()
    )
    gain = _auc(own) - _auc(own_patients)
    verdict = (
        "beats"
        if gain >= _NOTICEABLE
        else "does no better than"
        if gain > -_NOTICEABLE
        else "does worse than"
    )
    return (
        f"The private federation (AUC {_auc(own):.3f}) {verdict} a site's own model without "
        f"privacy on that site's own patients ({_auc(own_patients):.3f}), where knowing the "
        f"site's share of disease helps (training records: {rates}). On everyone's patients a "
        f"site's own model reaches {_auc(everyone):.3f}: that is what a shared model is for."
    )


def _usefulness(private: Sequence[Comparison], alone: float) -> str:
    useful = [row for row in private if _auc(row) > alone + _NOTICEABLE]
    if not useful:
        return (
            "At no epsilon tried does the private federation beat the mean of the sites' own "
            f"models on everyone's patients (AUC {alone:.3f}): at these sizes it is not useful."
        )
    least = useful[0]
    lower = [row for row in private if (row.epsilon or 0.0) < (least.epsilon or 0.0)]
    below = (
        f"at epsilon {lower[-1].epsilon:g} it is {_auc(lower[-1]):.3f}"
        if lower
        else "no smaller epsilon was tried"
    )
    return (
        f"It stops being useful below epsilon {least.epsilon:g}: there a shared private model "
        f"(AUC {_auc(least):.3f}) still beats the mean of the sites' own models on everyone's "
        f"patients ({alone:.3f}); {below}."
    )


def _against_columns(columns: Comparison, own: Comparison) -> str:
    ahead = _auc(columns) - _auc(own)
    verdict = (
        "is behind" if ahead < -_NOTICEABLE else "is as good" if ahead < _NOTICEABLE else "wins"
    )
    return (
        f"Plain logistic regression on the pooled raw columns {verdict} (AUC {_auc(columns):.3f} "
        f"against {_auc(own):.3f}). On a table turned into text a language model has little to "
        "add; this data set is here because its four hospitals are real."
    )


def _auc(row: Comparison) -> float:
    return float(np.mean(row.roc_auc))
