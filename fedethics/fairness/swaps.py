"""Rates of what a swapped word changes, by group.

A counterfactual-swap test of the model, not of the world: Garg et al. (2019), "Counterfactual
Fairness in Text Classification through Robustness" (the counterfactual token fairness gap, here
`swap_shift`). Kusner et al. (2017) ask for a causal counterfactual; a swapped word is none.
"""

from __future__ import annotations

from typing import NamedTuple

from fedethics.errors import FairnessError
from fedethics.fairness.bounded_mean import bounded_mean
from fedethics.fairness.estimate import Bands
from fedethics.fairness.explained import SwapSums
from fedethics.fairness.partition import Partition


class _Entries(NamedTuple):
    """Which entries of a group a rate adds up, and whether they are flips or shifts."""

    flips: bool
    columns: tuple[int, ...]


SWAPS = {
    "flip_rate": _Entries(True, (0, 1)),
    "flip_to_positive_rate": _Entries(True, (0,)),
    "flip_to_negative_rate": _Entries(True, (1,)),
    "swap_shift": _Entries(False, (0, 1)),
    "swap_fall": _Entries(False, (0,)),
    "swap_rise": _Entries(False, (1,)),
}


def swap_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return a rate in `SWAPS` for each group, arrays of shape (G,); its base is all of the group.

    Raises:
        FairnessError: no words were swapped for these groups.
    """
    sums: SwapSums | None = partition.swap
    if sums is None:
        raise FairnessError(
            f"no words were swapped for the groups {', '.join(partition.groups)}; "
            "ethics.explanation.swap of the charter names the features they are swapped for"
        )
    entries = SWAPS[metric]
    block, noise, most = (
        (sums.flips, sums.flips_variance, 1.0)
        if entries.flips
        else (sums.shifts, sums.shifts_variance, sums.most)
    )
    return bounded_mean(
        block[:, list(entries.columns)].sum(axis=1),
        partition.sizes,
        total_noise=noise * len(entries.columns),
        people_noise=partition.size_variance,
        most=most,
        z=z,
        step=0.0 if entries.flips else sums.step,
    )
