"""Subgroup areas under the ROC curve (Borkan et al. 2019, arXiv 1903.04561, section 3).

BPSN: positives of the background against negatives of the subgroup; low where the model scores the
subgroup's negatives too high. BNSP: negatives of the background against positives of the subgroup;
low where it scores the subgroup's positives too low. The background is every other group shown.
The area within the subgroup alone is `roc_auc_score` by group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from fedethics.fairness.auc import area_bands
from fedethics.fairness.estimate import Bands
from fedethics.fairness.partition import FloatArray, Partition


def crossed_area_bands(
    partition: Partition, *, background: Literal["positives", "negatives"], z: float
) -> Bands:
    """Return each group's BPSN (`background="positives"`) or BNSP area, arrays of shape (G,).

    Undefined, as for a single group, gives NaN without limits.
    """
    label = 1 if background == "positives" else 0
    groups = len(partition.groups)
    crossed = replace(
        partition,
        counts=_with_background(partition.counts, label),
        histogram=_with_background(partition.scores, label),
        # One side adds up the noise of all other groups; taking it for both overstates a little.
        histogram_variance=partition.histogram_variance * max(groups - 1, 1),
    )
    return area_bands(crossed, z=z)


def _with_background(block: FloatArray, label: int) -> FloatArray:
    """Return the block with the other groups' sums where y is `label`."""
    mixed = np.array(block, copy=True)
    mixed[:, label] = block[:, label].sum(axis=0) - block[:, label]
    return mixed
